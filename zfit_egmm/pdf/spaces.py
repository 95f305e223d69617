"""Between zfit spaces and limits of a density, in the order of the density's observables."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import zfit

from zfit_egmm.density.base import Density
from zfit_egmm.density.region import SAME_LIMIT
from zfit_egmm.zfit_compat import CannotConvertToNumpyError


@dataclass(frozen=True, eq=False)
class Limits:
    """One box: lower and upper limits, each of shape ``(n_observables,)``; arrays, or tensors inside graphs."""

    low: Any
    high: Any

    @property
    def is_symbolic(self) -> bool:
        """Whether the limits are tensors."""
        return tf.is_tensor(self.low) or tf.is_tensor(self.high)

    def overlap(self, other: Limits) -> Limits | None:
        """What both contain; ``None`` if that is known to be nothing."""
        if self.is_symbolic or other.is_symbolic:
            low, high = tf.maximum(self.low, other.low), tf.minimum(self.high, other.high)
            return Limits(low, tf.maximum(low, high))
        low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
        return Limits(low, high) if np.all(low < high) else None

    def contains(self, x: tf.Tensor) -> tf.Tensor:
        """Which events are inside, from coordinates of shape ``(n_events, n_observables)``."""
        return tf.reduce_all((x >= self.low) & (x <= self.high), axis=-1)


def box(density: Density, obs: Sequence[str] | None = None) -> zfit.Space:
    """The space on which a density is normalised.

    Args:
        density: The density.
        obs: Names of the observables in another order. Default: the order of the density.

    Returns:
        A space with the limits of the observables; a discrete one reaches half a unit beyond its
        lowest and highest integer.
    """
    limits = {observable.name: observable.limits for observable in density.observables}
    return space_of_ranges({name: limits[name] for name in (limits if obs is None else obs)})


def space_of_ranges(ranges: Mapping[str, tuple[float, float]]) -> zfit.Space:
    """A space from lower and upper limits by the names of observables."""
    spaces = [zfit.Space(name, *limits) for name, limits in ranges.items()]
    return functools.reduce(operator.mul, spaces)


def ranges_of(space: zfit.Space) -> dict[str, tuple[float, float]]:
    """Lower and upper limits of a space with one box, by the names of its observables."""
    low, high = (np.ravel(end) for end in space.rect_limits_np)
    return {name: (float(a), float(b)) for name, a, b in zip(space.obs, low, high, strict=True)}


def box_limits(density: Density) -> Limits:
    """The box of a density."""
    low, high = np.array([observable.limits for observable in density.observables]).T
    return Limits(low, high)


def limits_of(density: Density, *spaces: zfit.Space) -> Limits:
    """Limits of spaces that together may name some of the observables; the others are not limited.

    Args:
        density: The density.
        spaces: With one box each.

    Raises:
        ValueError: If a limit of a discrete observable is not half way between two integers.
    """
    own = box_limits(density)
    low, high = list(own.low), list(own.high)
    names = [observable.name for observable in density.observables]
    is_symbolic = False
    for space in spaces:
        try:
            lower, upper = (np.ravel(end) for end in space.rect_limits_np)
        except CannotConvertToNumpyError:
            lower, upper = (tf.unstack(tf.reshape(end, (-1,)), num=space.n_obs) for end in space.rect_limits)
            is_symbolic = True
        for name, a, b in zip(space.obs, lower, upper, strict=True):
            axis = names.index(name)
            low[axis], high[axis] = a, b
    if is_symbolic:
        return Limits(*(tf.stack([tf.cast(end, tf.float64) for end in ends]) for ends in (low, high)))
    _check_discrete(density, np.array(low, dtype=float), np.array(high, dtype=float))
    return Limits(np.array(low, dtype=float), np.array(high, dtype=float))


def support_of(density: Density, spaces: Iterable[zfit.Space]) -> tuple[Limits, ...]:
    """Boxes outside of which a PDF is zero.

    Raises:
        ValueError: If a box reaches out of that of the density, is empty, or overlaps with another.
    """
    own = box_limits(density)
    result: list[Limits] = []
    margin = SAME_LIMIT * (own.high - own.low)
    names = [observable.name for observable in density.observables]
    for space in spaces:
        limits = limits_of(density, space)
        is_outside = (limits.low < own.low - margin) | (limits.high > own.high + margin)
        if is_outside.any() or np.any(limits.low >= limits.high):
            got = _described(names, limits)
            raise ValueError(
                f"the limits {got} are not a part of the box of the density: {_described(names, own)}. The density "
                "knows nothing beyond its box: cut the data to it, or train with wider ranges"
            )
        snapped = Limits(
            np.where(limits.low < own.low + margin, own.low, limits.low),
            np.where(limits.high > own.high - margin, own.high, limits.high),
        )
        if any(snapped.overlap(other) is not None for other in result):
            raise ValueError(f"the limits {_described(names, limits)} overlap with others; give each region once")
        result.append(snapped)
    return tuple(result)


def checked_space(density: Density, obs: Any) -> zfit.Space:
    """The space of a PDF: the observables of the density in any order, with their limits if none are given.

    Raises:
        ValueError: If the observables are not those of the density.
    """
    own = [observable.name for observable in density.observables]
    if obs is None:
        return box(density)
    names = [obs] if isinstance(obs, str) else list(obs.obs if hasattr(obs, "obs") else obs)
    if sorted(names) != sorted(own):
        raise ValueError(
            f"the space has observables {names}, but the density describes {own}; give a space with exactly these, "
            "in any order, or leave obs out"
        )
    if not hasattr(obs, "obs") or not obs.has_limits:
        return box(density, names)
    return obs


def _check_discrete(density: Density, low: np.ndarray, high: np.ndarray) -> None:
    for observable, *ends in zip(density.observables, low, high, strict=True):
        if not observable.is_discrete:
            continue
        for end in ends:
            if np.isfinite(end) and abs(end - np.floor(end) - 0.5) > 1e-6:
                first, last = np.ceil(ends[0]), np.floor(ends[1])
                raise ValueError(
                    f"the limits [{ends[0]:g}, {ends[1]:g}] of the discrete observable {observable.name!r} must lie "
                    f"half way between integers, since the integer k covers [k - 1/2, k + 1/2]: for {first:g} to "
                    f"{last:g} give [{first - 0.5:g}, {last + 0.5:g}]"
                )


def _described(names: Sequence[str], limits: Limits) -> str:
    return ", ".join(f"{n} [{a:g}, {b:g}]" for n, a, b in zip(names, limits.low, limits.high, strict=True))
