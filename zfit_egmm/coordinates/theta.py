"""Scaling of the parameters theta to inputs of the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

INPUT_LIMIT = 2.0
"""Inputs of networks are scaled to ``[-INPUT_LIMIT, INPUT_LIMIT]``."""


class Stretch(NamedTuple):
    """The map ``asinh((theta - centre) / width)``: a parameter is followed more finely around the centre.

    Args:
        centre: In the parameter's units.
        width: Distance from the centre up to which the map is nearly linear, positive.
    """

    centre: float
    width: float


class Bend(NamedTuple):
    """A further input, ``sqrt((theta - value)**2 + radius**2)``: a kink of the density at a value of a parameter.

    Args:
        parameter: Position of the parameter.
        value: Where the kink is, in the parameter's units.
        radius: Distance within which it is rounded, positive.
    """

    parameter: int
    value: float
    radius: float


@dataclass(frozen=True)
class ThetaScaling:
    """Map from the trained range of each parameter to a network input in ``[-2, 2]``, and the bends.

    Args:
        trained_range: Lowest and highest trained value of each parameter.
        stretches: One per parameter, or ``None`` for a linear map. Empty: all are linear.
        bends: Inputs for kinks. The networks may not use them.
    """

    trained_range: tuple[tuple[float, float], ...]
    stretches: tuple[Stretch | None, ...] = ()
    bends: tuple[Bend, ...] = ()

    @classmethod
    def from_values(cls, theta: np.ndarray) -> ThetaScaling:
        """Linear maps of the trained values, shape ``(n_events, n_theta)``."""
        return cls(tuple((float(column.min()), float(column.max())) for column in theta.T))

    @classmethod
    def of_text(cls, trained_range: Sequence[tuple[float, float]], text: Mapping[str, Any]) -> ThetaScaling:
        """From what :meth:`as_text` gives.

        Raises:
            ValueError: If it makes no sense.
        """
        stretches = tuple(None if pair is None else Stretch(*map(float, pair)) for pair in text["stretches"])
        bends = tuple(Bend(int(number), float(value), float(radius)) for number, value, radius in text["bends"])
        if stretches and len(stretches) != len(trained_range):
            raise ValueError(f"{len(stretches)} stretches for {len(trained_range)} parameters")
        if not all(one is None or (one.width > 0 and np.isfinite(one).all()) for one in stretches):
            raise ValueError("a stretch of theta has a width that is not positive, or is not finite")
        for bend in bends:
            if not (0 <= bend.parameter < len(trained_range) and bend.radius > 0 and np.isfinite(bend).all()):
                raise ValueError("the bends of theta do not fit the parameters")
        scaling = cls(tuple(trained_range), stretches, bends)
        low, high = np.array(trained_range, dtype=float).reshape(-1, 2).T
        points = low + np.linspace(0, 1, 9)[:, np.newaxis] * (high - low)
        if not np.isfinite(scaling(tf.constant(points))).all():
            raise ValueError("the inputs of the networks are not finite in the trained range of theta")
        return scaling

    def as_text(self) -> dict[str, Any]:
        """Stretches and bends as plain data that JSON can hold."""
        return {
            "stretches": [None if stretch is None else list(stretch) for stretch in self.stretches],
            "bends": [list(bend) for bend in self.bends],
        }

    @property
    def n_theta(self) -> int:
        """Number of parameters, each of which is one input of the networks."""
        return len(self.trained_range)

    def __call__(self, theta: tf.Tensor) -> tf.Tensor:
        """Network inputs.

        Args:
            theta: Parameters in their units, float64, shape ``(n, n_theta)``.

        Returns:
            Float64, shape ``(n, n_theta + n_bends)``: the parameters, then the bends.
        """
        if not self.trained_range:
            return tf.zeros((tf.shape(theta)[0], 0), tf.float64)
        inputs = self._scaled(theta)
        if not self.bends:
            return inputs
        number, value, radius = (np.array(column) for column in zip(*self.bends, strict=True))
        low, high = np.array(self.trained_range).T[:, number]
        distance = tf.sqrt(tf.square(tf.gather(theta, number, axis=1) - value) + np.square(radius))
        return tf.concat([inputs, INPUT_LIMIT * (2 * distance / (high - low) - 0.5)], axis=1)

    def _scaled(self, theta: tf.Tensor) -> tf.Tensor:
        low, high = np.array(self.trained_range, dtype=float).T
        if any(self.stretches):
            is_straight = np.array([stretch is None for stretch in self.stretches])
            centre, width = np.array([stretch or Stretch(0.0, 1.0) for stretch in self.stretches]).T
            low, high = (np.where(is_straight, end, np.arcsinh((end - centre) / width)) for end in (low, high))
            theta = tf.where(is_straight, theta, tf.asinh((theta - centre) / width))
        return INPUT_LIMIT * (2 * (theta - low) / (high - low) - 1)
