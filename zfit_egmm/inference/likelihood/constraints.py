"""Constraints whose auxiliary measurements can be replaced, and drawn anew for every toy."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import zfit

from zfit_egmm.zfit_compat import has_observation, observation_of, parameters_of, with_variable_observation


class Auxiliary:
    """Constraint terms of a likelihood, with observations that are variables of the graph.

    Args:
        constraints: zfit constraints. Those that are functions of parameters only, without an observation, stay
            as they are in every toy.
    """

    def __init__(self, constraints: Sequence[Any]) -> None:
        self._entries = list(constraints)
        self._plain = [entry for entry in constraints if not has_observation(entry)]
        pairs = [with_variable_observation(entry) for entry in constraints if has_observation(entry)]
        self._measured, self._observations = [entry for entry, _ in pairs], [variables for _, variables in pairs]
        self.original = self.observations

    @property
    def observations(self) -> list[np.ndarray]:
        """Current observations, an array for each constraint."""
        return [np.array([float(value) for value in values]) for values in self._observations]

    def set(self, observations: Sequence[np.ndarray]) -> None:
        """Replace the observations."""
        for variables, values in zip(self._observations, observations, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def is_of(self, constraints: Sequence[Any]) -> bool:
        """Whether these are the constraints that it was made of."""
        return len(constraints) == len(self._entries) and all(map(operator.is_, constraints, self._entries))

    def follow(self) -> None:
        """Take over observations of the constraints themselves that have changed since the last call."""
        now = [np.array(observation_of(entry)) for entry in self._entries if has_observation(entry)]
        current = self.observations
        if not all(map(np.array_equal, now, self.original)):
            pairs = zip(now, self.original, current, strict=True)
            self.set([own if np.array_equal(new, old) else new for new, old, own in pairs])
            self.original = now

    def information(self, parameters: Sequence[Any]) -> np.ndarray:
        """Second derivatives of the constraint terms at the current parameters, shape ``(n, n)``."""
        result = np.zeros((len(parameters), len(parameters)))
        if self._entries:
            with tf.GradientTape(persistent=True) as outer:
                with tf.GradientTape() as inner:
                    total = self.value()
                slopes = inner.gradient(total, parameters, unconnected_gradients="zero")
                stacked = tf.stack(slopes)
            rows = outer.jacobian(stacked, parameters, unconnected_gradients="zero", experimental_use_pfor=False)
            result = np.stack([row.numpy() for row in rows], axis=1)
        return 0.5 * (result + result.T)

    def value(self) -> tf.Tensor:
        """Sum of the constraint terms, at the current parameters."""
        total = tf.zeros((), tf.float64)
        for entry in [*self._plain, *self._measured]:
            total += tf.convert_to_tensor(entry.value(), tf.float64)
        return total

    def draw(self, rng: np.random.Generator | None) -> list[np.ndarray]:
        """Observations as they fluctuate around the current parameters, or their means without random numbers.

        Raises:
            TypeError: If a constraint is not Gaussian, Poisson or log-normal.
        """
        return [_draw(entry, rng) for entry in self._measured]


def _draw(constraint: Any, rng: np.random.Generator | None) -> np.ndarray:
    centre = np.array([float(parameter.value()) for parameter in parameters_of(constraint)])
    if isinstance(constraint, zfit.constraint.GaussianConstraint):
        return centre if rng is None else rng.multivariate_normal(centre, np.asarray(constraint.covariance))
    if isinstance(constraint, zfit.constraint.PoissonConstraint):
        return centre if rng is None else rng.poisson(centre).astype(float)
    if isinstance(constraint, zfit.constraint.LogNormalConstraint):
        # The observation is the logarithm of the median.
        width = np.array([float(value) for value in constraint.dist_params(constraint.observation)["scale"]])
        return np.log(centre) if rng is None else rng.normal(np.log(centre), width)
    raise TypeError(
        f"toys need to know how the measurement behind {type(constraint).__name__} fluctuates; use a Gaussian, "
        "Poisson or LogNormal constraint, or a function of the parameters for one that does not fluctuate"
    )
