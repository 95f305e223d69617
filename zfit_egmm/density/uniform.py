"""UniformDensity: the same probability everywhere in the box, the guide of last resort."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from zfit_egmm.density.axes import Axes
from zfit_egmm.density.base import Density
from zfit_egmm.density.conditionals import Conditionals
from zfit_egmm.density.factors import CategoricalFactor, Factor, Part
from zfit_egmm.density.state import State
from zfit_egmm.observables import Observable


class UniformDensity(Density, kind="uniform"):
    """Constant density over the box of its observables."""

    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        del theta
        low, high = self.axes.box
        return tf.zeros_like(x[:, 0]) - float(sum(math.log(width) for width in high - low))

    def state(self) -> State:
        """Nothing but the axes."""
        return State()

    @classmethod
    def from_state(cls, axes: Axes, state: State, training: Mapping[str, Any]) -> UniformDensity:
        """See :meth:`Density.from_state`."""
        del state
        return cls(axes, training)

    def conditionals(self, theta: tf.Tensor) -> Conditionals:
        """Independent uniform factors."""
        del theta
        return _UniformConditionals(self.observables)


@dataclass(frozen=True)
class _UniformConditionals(Conditionals):
    observables: tuple[Observable, ...]

    def factor(self, axis: int, seen: Sequence[Any]) -> Factor:
        del seen
        observable = self.observables[axis]
        if observable.is_discrete:
            return CategoricalFactor(tf.zeros((1, observable.n_categories), tf.float64), observable.low)
        return UniformFactor(*observable.limits)


@dataclass(frozen=True)
class UniformFactor(Factor):
    """Constant density between two ends."""

    low: float
    high: float

    def log_density(self, x: tf.Tensor) -> tf.Tensor:
        """See :meth:`Factor.log_density`."""
        return tf.zeros_like(x) - math.log(self.high - self.low)

    def cumulative(self, x: tf.Tensor) -> tf.Tensor:
        """See :meth:`Factor.cumulative`."""
        return (x - self.low) / (self.high - self.low)

    def mass(self, part: Part) -> tf.Tensor:
        """See :meth:`Factor.mass`."""
        start, stop = (tf.convert_to_tensor(end, tf.float64) for end in part)
        return tf.reshape((stop - start) / (self.high - self.low), (-1,))

    def quantile(self, fraction: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """See :meth:`Factor.quantile`."""
        start, stop = (self.low, self.high) if part is None else part
        return start + fraction * (stop - start)

    def tiled(self, tile: Callable[[tf.Tensor], tf.Tensor]) -> UniformFactor:
        """See :meth:`Factor.tiled`."""
        del tile
        return self
