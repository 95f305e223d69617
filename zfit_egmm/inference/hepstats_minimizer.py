"""NaturalMinimizer: a minimiser of zfit that gets its start and its first steps in natural units.

Where nothing else is said, zfit's first steps are a fixed number: too much for a branching fraction, too little for a
mass in eV. And Minuit itself has absolute lengths inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zfit

from zfit_egmm.inference.components import allowed_range
from zfit_egmm.inference.minuit_fit import minimise
from zfit_egmm.inference.natural_steps import natural_steps


class NaturalMinimizer:
    """A minimiser for hepstats that starts at the minimum, found whatever the units and limits of the parameters.

    Args:
        minimizer: The minimiser that ends the fit.
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
        """Minimise a loss; the step sizes of the parameters are set back afterwards.

        Args:
            loss: A zfit loss.
            **options: As the minimiser takes them.

        Returns:
            The result of the minimiser.
        """
        parameters = list(loss.get_params())
        values = [float(parameter.value()) for parameter in parameters]
        steps = [parameter.stepsize if parameter.has_stepsize else None for parameter in parameters]
        evaluated = _EvaluatedLoss(loss, parameters)
        found = minimise(evaluated, np.array(values), evaluated.names)
        zfit.param.assign_values(parameters, found.at if found.is_valid else values)
        try:
            lengths = found.errors if found.is_valid else found.steps
            for parameter, step in zip(parameters, lengths, strict=True):
                parameter.stepsize = step
            return self.minimizer.minimize(loss=loss, **options)
        finally:
            for parameter, step in zip(parameters, steps, strict=True):
                parameter.stepsize = step


class _EvaluatedLoss:
    """A zfit loss as a function of its free parameters."""

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
