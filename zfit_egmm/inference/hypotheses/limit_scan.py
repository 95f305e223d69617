"""Which values to test for an upper limit: found from the data, so that nobody has to choose them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

N_VALUES, N_TOY_VALUES = 14, 10
MOST_STEPS = 40

ENOUGH, TOO_MUCH = 0.7, 0.05
"""A scan ends where the largest CLs is between these parts of one minus the level."""

BELOW, ABOVE = 0.6, 1.3
"""Toys are made this far beyond the smallest and the largest asymptotic limit."""


def asymptotic_scan(
    curves_at: Callable[[float], np.ndarray], first: float, high: float, *, alternative: float, level: float
) -> np.ndarray:
    """Equidistant values from the alternative up to where all curves of CLs are below one minus the level.

    Args:
        curves_at: Observed and expected CLs at a value, shape ``(6,)``.
        first: A guess of the last value.
        high: Upper limit of the parameter, where the scan ends in any case.
        alternative: Value of the parameter without a signal.
        level: Confidence level.
    """
    distance, has_grown = first - alternative, False
    for _ in range(MOST_STEPS):
        last = min(alternative + distance, high)
        largest = np.max(curves_at(last)) / (1 - level)
        if largest > ENOUGH and last < high:
            distance, has_grown = 1.4 * distance, True
        elif largest < TOO_MUCH and not has_grown:
            distance = (last - alternative) / 1.5
        else:
            break
    return np.linspace(alternative, last, N_VALUES + 1)[1:]


def toy_scan(limits: np.ndarray, high: float, alternative: float) -> np.ndarray:
    """Fewer values, around asymptotic limits of shape ``(6,)``, NaN where they are beyond the parameter's own limit."""
    distances = np.where(np.isfinite(limits), limits, high) - alternative
    first, last = alternative + BELOW * distances.min(), min(alternative + ABOVE * distances.max(), high)
    return np.linspace(first, last, N_TOY_VALUES)
