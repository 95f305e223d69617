"""minimise: Minuit in coordinates whose unit is the natural step of each parameter.

Minuit has absolute lengths inside: first steps, the curve of a limit, the precision of a coordinate. In natural steps
they mean the same whatever the units of the parameters. Limits out of reach are left out, so that they change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import iminuit
import numpy as np

from zfit_egmm.inference.likelihood.natural_steps import Evaluated, natural_steps

ERRORDEF = 0.5
TOLERANCE = 1e-4
GOAL = 0.002 * TOLERANCE * ERRORDEF
"""Of Minuit: ln L is within about 1e-7 of its maximum, and parameters within 5e-4 of an error of their best fit."""

OUT_OF_REACH = 1e3
"""A limit so many natural steps from the start is not told to Minuit, unless the fit gets there."""

OFF_LIMIT = 0.3
"""Distance from a limit at which fits start, where they can go both ways: in natural steps, or of the allowed range."""


@dataclass(frozen=True, eq=False)
class Found:
    """Where Minuit ended.

    Args:
        at: All parameters, shape ``(n_parameters,)``.
        errors: Rough errors of those that floated.
        steps: Natural steps of the same at the start.
        is_valid: Whether Minuit calls it a minimum.
        start_nll: Negative log-likelihood at the start.
        n_undescribed: Events that no term of a model describes at the start.
    """

    at: np.ndarray
    errors: np.ndarray
    steps: np.ndarray
    is_valid: bool
    start_nll: float = math.inf
    n_undescribed: int = 0


def minimise(
    likelihood: Evaluated, start: np.ndarray, floating: Sequence[str], guesses: Mapping[str, float] | None = None
) -> Found:
    """Minimise some parameters with Minuit and exact gradients.

    Args:
        likelihood: The likelihood.
        start: All parameters, inside their limits.
        floating: The parameters to minimise, at least one.
        guesses: Expected errors of parameters.
    """
    start_nll, n_undescribed = likelihood.value(start, floating), likelihood.n_undescribed
    ended = _attempt(likelihood, start, floating, guesses or {}, 0)
    if not ended.is_valid:
        # Where it ended the likelihood may bend over quite other lengths than at the start.
        better = ended.at if likelihood.value(ended.at, floating) < start_nll else start
        ended = replace(_attempt(likelihood, better, floating, {}, 1), steps=ended.steps)
    return replace(ended, start_nll=start_nll, n_undescribed=n_undescribed)


def _attempt(
    likelihood: Evaluated, start: np.ndarray, floating: Sequence[str], guesses: Mapping[str, float], strategy: int
) -> Found:
    steps = natural_steps(likelihood, start, floating, [guesses.get(name) for name in floating])
    rows = [likelihood.names.index(name) for name in floating]
    limits = np.array([likelihood.limits[name] for name in floating])
    first = np.array(start, dtype=float)
    first[rows] = _off_limits(first[rows], steps, limits)
    scaled = (limits - first[rows, np.newaxis]) / steps[:, np.newaxis]
    in_reach = np.where(np.abs(scaled) < OUT_OF_REACH, scaled, np.copysign(np.inf, scaled))
    minuit = _migrad(likelihood, first, rows, steps, in_reach, strategy)
    ended = np.array(minuit.values)
    if np.any((ended <= scaled[:, 0]) | (ended >= scaled[:, 1])):
        minuit = _migrad(likelihood, first, rows, steps, scaled, strategy)
    at = first.copy()
    at[rows] = np.clip(first[rows] + steps * np.array(minuit.values), *limits.T)
    return Found(at, steps * np.array(minuit.errors), steps, bool(minuit.valid))


def _migrad(
    likelihood: Evaluated,
    first: np.ndarray,
    rows: Sequence[int],
    steps: np.ndarray,
    limits: np.ndarray,
    strategy: int,
) -> iminuit.Minuit:
    floating = [likelihood.names[row] for row in rows]
    low, high = np.array([likelihood.limits[name] for name in floating]).T

    def full(at: np.ndarray) -> np.ndarray:
        result = first.copy()
        result[rows] = np.clip(first[rows] + steps * at, low, high)
        return result

    def value(at: np.ndarray) -> float:
        return likelihood.value(full(at), floating)

    def gradient(at: np.ndarray) -> np.ndarray:
        return steps * likelihood.value_and_gradient(full(at), floating)[1][rows]

    minuit = iminuit.Minuit(value, np.zeros(len(rows)), grad=gradient, name=floating)
    minuit.errordef = ERRORDEF
    minuit.tol = TOLERANCE
    minuit.strategy = strategy
    minuit.limits = limits.tolist()
    minuit.errors = np.ones(len(rows))
    return minuit.migrad()


def _off_limits(values: np.ndarray, steps: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Values with those at a limit moved inside a little."""
    low, high = limits.T
    distance = OFF_LIMIT * np.minimum(steps, high - low)
    is_near = np.minimum(values - low, high - values) < 0.1 * distance
    return np.where(is_near, np.clip(values, low + distance, high - distance), values)
