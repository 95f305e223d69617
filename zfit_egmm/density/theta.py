"""Scaling of the parameters theta to inputs of the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zfit_egmm.density.conditioners import INPUT_LIMIT


@dataclass(frozen=True)
class ThetaScaling:
    """Smooth map from parameters in their own units to network inputs in about ``[-2, 2]``.

    Every parameter enters linearly. With ``with_core`` it enters a second time through a function
    that resolves the middle of its trained values and saturates far out, which helps when trained
    values range over orders of magnitude.

    Args:
        trained_range: Lowest and highest trained value of each parameter.
        core: Median of the trained values and of their distance to it, per parameter.
        with_core: Whether the second input is used.
    """

    trained_range: tuple[tuple[float, float], ...]
    core: tuple[tuple[float, float], ...]
    with_core: bool

    @classmethod
    def from_values(cls, theta: np.ndarray, *, with_core: bool) -> ThetaScaling:
        """Derive the scaling from the trained values, shape ``(n_events, n_theta)``."""
        trained_range = tuple((float(column.min()), float(column.max())) for column in theta.T)
        core = []
        for column in theta.T:
            points = np.unique(column)
            centre = float(np.median(points))
            spread = float(np.median(np.abs(points - centre)))
            core.append((centre, spread if spread > 0 else float(np.ptp(points)) / 2))
        return cls(trained_range, tuple(core), with_core)

    @property
    def n_inputs(self) -> int:
        """Number of network inputs."""
        return len(self.trained_range) * (2 if self.with_core else 1)

    def __call__(self, theta: tf.Tensor) -> tf.Tensor:
        """Network inputs.

        Args:
            theta: Parameters in their units, float64, shape ``(n, n_theta)``.

        Returns:
            Float64, shape ``(n, n_inputs)``.
        """
        if not self.trained_range:
            return tf.zeros((tf.shape(theta)[0], 0), tf.float64)
        low, high = _columns(self.trained_range)
        inputs = [INPUT_LIMIT * (2 * (theta - low) / (high - low) - 1)]
        if self.with_core:
            centre, spread = _columns(self.core)
            pull = (theta - centre) / spread
            inputs.append(INPUT_LIMIT * pull / tf.sqrt(1 + tf.square(pull)))
        return tf.concat(inputs, axis=-1)


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[tf.Tensor, tf.Tensor]:
    values = np.asarray(pairs, dtype=float)
    return tf.constant(values[:, 0]), tf.constant(values[:, 1])
