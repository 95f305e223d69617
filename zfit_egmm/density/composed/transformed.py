"""TransformedDensity: a density of some observables, learned in functions of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zfit_egmm.coordinates.rotation import Rotated
from zfit_egmm.coordinates.steps import TINY
from zfit_egmm.coordinates.transformation import Transformation, steps_of_text
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.base import Density, Uniform
from zfit_egmm.density.conditionals import Conditionals
from zfit_egmm.density.factors import Factor, Part
from zfit_egmm.density.state import State


class TransformedDensity(Density, kind="transformed"):
    """Density of the user's observables, from one of the observables that a transformation makes of them.

    It is zero beyond the limits that the steps of the transformation state, and normalised exactly inside: where
    limits depend on other observables, every conditional distribution is divided by its mass between them.

    Args:
        base: Density of the observables ``transformation.target``.
        transformation: The transformation.

    Raises:
        ValueError: If the base has other observables, or if a step has limits that depend on others and the base
            has no conditional distributions that could be divided by their mass.
    """

    def __init__(self, base: Density, transformation: Transformation | Rotated) -> None:
        if base.observables != transformation.target:
            raise ValueError(
                f"the base describes {', '.join(base.axes.names)}, but the transformation makes "
                f"{', '.join(observable.name for observable in transformation.target)}, or their ranges differ"
            )
        self.base, self.transformation = base, transformation
        steps = transformation.by_axis if isinstance(transformation, Transformation) else ()
        self._leaking = [axis for axis, step in enumerate(steps) if step is not None and step.has_own_limits]
        if self._leaking and not base.has_conditionals:
            names = ", ".join(transformation.observables[axis].name for axis in self._leaking)
            raise ValueError(
                f"the limits of {names} depend on other observables, and {base!r} has no conditional distributions "
                "that could be divided by their mass between them; use Fraction instead of Difference and Ratio"
            )
        super().__init__(Axes(transformation.observables, base.theta_names, base.theta_range))

    @property
    def training(self) -> dict[str, Any]:
        """Record of the training of the base."""
        return self.base.training

    def state(self) -> State:
        """See :meth:`Density.state`."""
        if isinstance(self.transformation, Rotated):
            return State({"rotation": self.transformation.as_text()}, self.transformation.arrays(), (self.base,))
        return State({"steps": self.transformation.as_text()}, members=(self.base,))

    @classmethod
    def from_state(cls, axes: Axes, state: State, training: Mapping[str, Any]) -> TransformedDensity:
        """See :meth:`Density.from_state`."""
        del training
        (base,) = state.members
        transformation: Transformation | Rotated
        if "rotation" in state.manifest:
            transformation = Rotated.of_text(axes.observables, state.manifest["rotation"], state.arrays)
        else:
            transformation = Transformation(axes.observables, steps_of_text(state.manifest["steps"]))
        density = cls(base, transformation)
        if density.axes != axes:
            raise ValueError(f"the base describes p({density.axes}), not p({axes}) in these ranges")
        return density

    @property
    def has_conditionals(self) -> bool:
        """Whether the base has them; a rotation mixes them up."""
        return self.base.has_conditionals and isinstance(self.transformation, Transformation)

    def conditionals(self, theta: tf.Tensor) -> Conditionals:
        """See :meth:`Density.conditionals`."""
        if not isinstance(self.transformation, Transformation):
            return super().conditionals(theta)
        return _TransformedConditionals(self.base.conditionals(theta), self.transformation)

    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        y, log_slope, is_valid = self.transformation.forward(x)
        is_inside, safe = self.base.axes.inside(y)
        is_valid &= is_inside
        value = self.base._log_prob(safe, theta) + log_slope
        if self._leaking:
            value -= self._log_masses(x, safe, theta)
        return tf.where(is_valid, value, tf.constant(-np.inf, tf.float64))

    def _log_masses(self, x: tf.Tensor, y: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Log of the masses between limits that depend on other observables, of all axes together."""
        assert isinstance(self.transformation, Transformation)
        conditionals = self.base.conditionals(theta)
        seen: list[Any] = []
        columns: dict[str, tf.Tensor] = {}
        total = tf.zeros_like(x[:, 0])
        for axis in range(max(self._leaking) + 1):
            allowed = self.transformation.allowed(axis, columns)
            if allowed is not None:
                total += _log_mass(conditionals.factor(axis, seen), allowed)
            seen.append(conditionals.see(axis, seen, y[:, axis]))
            columns[self.transformation.names[axis]] = x[:, axis]
        return total

    def _sampling_conditionals(self, theta: tf.Tensor) -> Conditionals:
        assert isinstance(self.transformation, Transformation)
        return _TransformedConditionals(self.base._sampling_conditionals(theta), self.transformation)

    def _sample(self, n: Any, theta: tf.Tensor, uniform: Uniform) -> tf.Tensor:
        if self._leaking:
            return super()._sample(n, theta, uniform)
        return self.transformation.inverse(self.base._sample(n, theta, uniform))


class _Seen(NamedTuple):
    """What later factors know of an axis: its value, and what the factors of the base are to know."""

    x: tf.Tensor
    base: Any


@dataclass(frozen=True)
class _TransformedConditionals(Conditionals):
    base: Conditionals
    transformation: Transformation

    def factor(self, axis: int, seen: Sequence[_Seen]) -> Factor:
        factor = self.base.factor(axis, [one.base for one in seen])
        if self.transformation.by_axis[axis] is None:
            return factor
        return _TransformedFactor(factor, self.transformation, axis, self._columns(seen))

    def see(self, axis: int, seen: Sequence[_Seen], x: tf.Tensor) -> _Seen:
        y = self.transformation.forward_axis(axis, x, self._columns(seen)).y
        return _Seen(x, self.base.see(axis, [one.base for one in seen], y))

    def _columns(self, seen: Sequence[_Seen]) -> dict[str, tf.Tensor]:
        return {name: one.x for name, one in zip(self.transformation.names, seen, strict=False)}


@dataclass(frozen=True)
class _TransformedFactor(Factor):
    """Distribution of an observable, from that of a function of it and of observables before."""

    base: Factor
    transformation: Transformation
    axis: int
    columns: Mapping[str, tf.Tensor]

    def log_density(self, x: tf.Tensor) -> tf.Tensor:
        """See :meth:`Factor.log_density`."""
        y, log_slope, is_valid = self._forward(x)
        value = self.base.log_density(self._clipped(y)) + log_slope
        if self._allowed is not None:
            value -= _log_mass(self.base, self._allowed)
        return tf.where(is_valid, value, tf.constant(-np.inf, tf.float64))

    def cumulative(self, x: tf.Tensor) -> tf.Tensor:
        """See :meth:`Factor.cumulative`."""
        y = self._clipped(self._forward(x).y)
        if self._allowed is None:
            return self.base.cumulative(y)
        low, high = self._allowed
        inside = tf.clip_by_value(y, low, tf.maximum(low, high))
        return tf.clip_by_value(self.base.mass((low + tf.zeros_like(y), inside)) / self._mass_allowed(), 0.0, 1.0)

    def mass(self, part: Part) -> tf.Tensor:
        """See :meth:`Factor.mass`."""
        inside = self._part(part)
        assert inside is not None
        mass = self.base.mass(inside)
        return mass if self._allowed is None else mass / self._mass_allowed()

    def quantile(self, fraction: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """See :meth:`Factor.quantile`."""
        return self._inverse(self.base.quantile(fraction, self._part(part)))

    def sample(self, uniform: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """See :meth:`Factor.sample`."""
        return self._inverse(self.base.sample(uniform, self._part(part)))

    def tiled(self, tile: Callable[[tf.Tensor], tf.Tensor]) -> _TransformedFactor:
        """See :meth:`Factor.tiled`."""
        columns = {name: tile(column) for name, column in self.columns.items()}
        return _TransformedFactor(self.base.tiled(tile), self.transformation, self.axis, columns)

    @property
    def _allowed(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        return self.transformation.allowed(self.axis, self.columns)

    def _mass_allowed(self) -> tf.Tensor:
        assert self._allowed is not None
        return tf.exp(_log_mass(self.base, self._allowed))

    def _forward(self, x: tf.Tensor) -> Any:
        return self.transformation.forward_axis(self.axis, x, self.columns)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self.transformation.inverse_axis(self.axis, y, self.columns)

    def _clipped(self, y: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(y, *self.transformation.target[self.axis].limits)

    def _part(self, part: Part | None) -> Part | None:
        """A part of the range as one of the new observable, between its limits."""
        if part is None:
            return self._allowed
        # Ends may lie beyond the limits of an event; the step is increasing, so both move to the nearer limit.
        ends = tf.unstack(tf.stack([self._clipped(self._forward(_as_tensor(end)).y) for end in part]), num=2)
        if self._allowed is None:
            return ends[0], ends[1]
        low, high = self._allowed
        start, stop = (tf.clip_by_value(end, low, tf.maximum(low, high)) for end in ends)
        return start, stop


def _log_mass(factor: Factor, part: Part) -> tf.Tensor:
    """Log of the mass of a part, finite also where it is empty."""
    low, high = part
    return tf.math.log(tf.maximum(factor.mass((low, tf.maximum(low, high))), TINY))


def _as_tensor(value: tf.Tensor | float) -> tf.Tensor:
    return tf.convert_to_tensor(value, tf.float64)
