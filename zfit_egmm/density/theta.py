"""Scaling of the parameters theta to inputs of the networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zfit_egmm.density.conditioners import INPUT_LIMIT


@dataclass(frozen=True)
class ThetaScaling:
    """Linear map from the trained range of each parameter to network inputs in ``[-2, 2]``.

    Args:
        trained_range: Lowest and highest trained value of each parameter.
    """

    trained_range: tuple[tuple[float, float], ...]

    @classmethod
    def from_values(cls, theta: np.ndarray) -> ThetaScaling:
        """Derive the scaling from the trained values, shape ``(n_events, n_theta)``."""
        return cls(tuple((float(column.min()), float(column.max())) for column in theta.T))

    @property
    def n_inputs(self) -> int:
        """Number of network inputs."""
        return len(self.trained_range)

    def __call__(self, theta: tf.Tensor) -> tf.Tensor:
        """Network inputs.

        Args:
            theta: Parameters in their units, float64, shape ``(n, n_theta)``.

        Returns:
            Float64, shape ``(n, n_inputs)``.
        """
        if not self.trained_range:
            return tf.zeros((tf.shape(theta)[0], 0), tf.float64)
        low, high = (tf.constant(side) for side in np.asarray(self.trained_range, dtype=float).T)
        return INPUT_LIMIT * (2 * (theta - low) / (high - low) - 1)
