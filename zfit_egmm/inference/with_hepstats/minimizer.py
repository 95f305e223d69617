"""NaturalMinimizer: fits of hepstats in natural steps of the parameters.

Minuit as zfit calls it has absolute lengths inside, and fails where parameters have very different units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zfit

from zfit_egmm.inference.likelihood.minuit_fit import GOAL, minimise
from zfit_egmm.inference.likelihood.natural_steps import natural_steps
from zfit_egmm.pdf.limits_in_graphs import allowed_range


class NaturalMinimizer:
    """A minimiser for hepstats that works whatever the units and limits of the parameters.

    Args:
        minimizer: The minimiser of zfit for fits that fail here.
    """

    def __init__(self, minimizer: Any) -> None:
        self.minimizer = minimizer

    @property
    def verbosity(self) -> int:
        """How much the minimiser says."""
        return int(self.minimizer.verbosity)

    @verbosity.setter
    def verbosity(self, value: int) -> None:
        self.minimizer.verbosity = value

    def steps(self, loss: Any, parameters: Sequence[Any]) -> np.ndarray:
        """Natural steps of the free parameters of a loss, from their current values, shape ``(n_parameters,)``."""
        evaluated = _EvaluatedLoss(loss, parameters)
        at = np.array([float(parameter.value()) for parameter in parameters])
        try:
            return natural_steps(evaluated, at, evaluated.names, [None] * len(at))
        finally:
            zfit.param.assign_values(list(parameters), at)

    def minimize(self, loss: Any, **options: Any) -> Any:
        """Minimise a loss.

        Args:
            loss: A zfit loss, whose parameters are left at the minimum.
            **options: Of the minimiser of zfit.

        Returns:
            The result as zfit has it.
        """
        parameters = list(loss.get_params())
        evaluated = _EvaluatedLoss(loss, parameters)
        start = np.array([float(parameter.value()) for parameter in parameters])
        found = minimise(evaluated, start, evaluated.names)
        if not found.is_valid:
            zfit.param.assign_values(parameters, start)
            return self.minimizer.minimize(loss=loss, **options)
        value = evaluated.value(found.at)
        return zfit.result.FitResult(
            loss=loss,
            params=dict(zip(parameters, found.at.tolist(), strict=True)),
            minimizer=self.minimizer,
            valid=True,
            converged=True,
            edm=GOAL,
            fminopt=value,
            criterion=None,
        )


class _EvaluatedLoss:
    """A zfit loss as a function of its free parameters; what it does not describe, it does not tell."""

    n_undescribed = 0

    def __init__(self, loss: Any, parameters: Sequence[Any]) -> None:
        self._loss, self._parameters = loss, list(parameters)
        self.names = tuple(parameter.name for parameter in parameters)
        self.limits = {parameter.name: allowed_range(parameter) for parameter in parameters}

    def value(self, at: np.ndarray, floating: Sequence[str] | None = None) -> float:
        del floating
        zfit.param.assign_values(self._parameters, at)
        return float(self._loss.value())

    def value_and_gradient(self, at: np.ndarray, floating: Sequence[str] | None = None) -> tuple[float, np.ndarray]:
        del floating
        zfit.param.assign_values(self._parameters, at)
        value, gradient = self._loss.value_gradient(self._parameters)
        return float(value), np.asarray(gradient, dtype=float)
