"""Natural steps: how far a parameter moves until the likelihood bends, whatever its unit and its limits.

The step of a parameter is where the negative log-likelihood lies one half above (or below) its tangent: one standard
deviation for a parabola. It is found from values of the likelihood alone, and is never a share of a range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from zfit_egmm.inference.likelihood.loss import Likelihood

BEND = 0.5
"""Of the negative log-likelihood over a step."""

ROUGHLY = 20.0
"""A step whose bend is within this factor is near enough to scale it."""

LARGEST_CHANGE = 1e4
MOST_TRIES = 16


class Evaluated(Protocol):
    """What a fit needs of a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters."""

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Their limits."""

    @property
    def n_undescribed(self) -> int:
        """Events that no term of a model described in the last evaluation."""

    def value(self, at: np.ndarray, floating: Sequence[str] | None = None) -> float:
        """Negative log-likelihood."""

    def value_and_gradient(self, at: np.ndarray, floating: Sequence[str] | None = None) -> tuple[float, np.ndarray]:
        """The same with its gradient."""


class InUnits:
    """A likelihood in units of the typical weight of its events, so that 0.5 is an error; counts its evaluations."""

    def __init__(self, likelihood: Likelihood) -> None:
        self.names, self.limits = likelihood.names, likelihood.limits
        self.n_calls = 0
        self._likelihood, self._unit = likelihood, likelihood.data.unit

    @property
    def n_undescribed(self) -> int:
        """Events that no term of a model described in the last evaluation."""
        return self._likelihood.n_undescribed

    def value(self, at: np.ndarray, floating: Sequence[str] | None = None) -> float:
        """Negative log-likelihood."""
        self.n_calls += 1
        return self._likelihood.value(at, floating) / self._unit

    def value_and_gradient(self, at: np.ndarray, floating: Sequence[str] | None = None) -> tuple[float, np.ndarray]:
        """The same with its gradient."""
        self.n_calls += 1
        value, gradient = self._likelihood.value_and_gradient(at, floating)
        return value / self._unit, gradient / self._unit


def natural_steps(
    likelihood: Evaluated, at: np.ndarray, floating: Sequence[str], guesses: Sequence[float | None]
) -> np.ndarray:
    """Natural steps of parameters.

    Args:
        likelihood: The likelihood.
        at: Values of all parameters in the order of ``likelihood.names``, shape ``(n_parameters,)``.
        floating: The parameters that may change.
        guesses: For each of them a guess of its step if there is one.

    Returns:
        Positive, shape ``(n_floating,)``. If the likelihood does not depend on a parameter, or is no number, nothing
        tells its step; then it is a part of its range, or of its value.
    """
    origin, slopes = likelihood.value_and_gradient(at, floating)
    limits = likelihood.limits
    steps = []
    for name, guess in zip(floating, guesses, strict=True):
        row = likelihood.names.index(name)
        below, above = at[row] - limits[name][0], limits[name][1] - at[row]
        # Downhill, where the fit goes; towards the farther limit if that one is nearer.
        sign = -math.copysign(1.0, slopes[row])
        if (above if sign > 0 else below) < (below if sign > 0 else above):
            sign = -sign
        first = _first(guess, slopes[row], at[row], below + above)

        def bend(step: float, row: int = row, sign: float = sign) -> float:
            there = at.copy()
            there[row] += sign * step
            return abs(likelihood.value(there, floating) - origin - slopes[row] * (there[row] - at[row]))

        known = math.isfinite(origin) and math.isfinite(slopes[row])
        steps.append(natural_step(bend, first, max(below, above)) if known else min(first, below + above))
    return np.array(steps)


def natural_step(bend: Callable[[float], float], first: float, room: float) -> float:
    """The distance over which a function bends by one half.

    Args:
        bend: How far it is from its tangent at a distance; it grows with the square of a small one.
        first: A guess of the distance.
        room: Largest distance allowed.
    """
    too_short, too_far = 0.0, math.inf
    step = min(first, room)
    for _ in range(MOST_TRIES):
        height = bend(step)
        factor = math.sqrt(BEND / height) if 0 < height < math.inf else (LARGEST_CHANGE if height == 0 else 0.1)
        if BEND / ROUGHLY < height < BEND * ROUGHLY:
            return min(step * factor, room)
        if height <= BEND:
            too_short = step
        else:
            too_far = step
        if too_short == room:
            return room
        step *= min(max(factor, 1 / LARGEST_CHANGE), LARGEST_CHANGE)
        if too_short > 0 and not too_short < step < too_far:
            step = math.sqrt(too_short * too_far) if too_far < math.inf else step
        step = min(step, room)
    return too_short if too_far < math.inf and too_short else min(first, room)


def _first(guess: float | None, slope: float, value: float, width: float) -> float:
    """A first guess of a step: only the number of tries depends on it."""
    if guess is not None and math.isfinite(guess) and guess > 0:
        return guess
    lengths = [abs(value), 1 / abs(slope) if slope else math.inf]
    known = [length for length in lengths if 0 < length < math.inf]
    if known:
        return min(known)
    return 0.1 * width if 0 < width < math.inf else 1.0
