"""Values that occur more often than a continuous observable can have them: spikes, and how likely two events agree."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

FEWEST_IN_SPIKE = 20
LEAST_SHARE = 1e-3
TIMES_TYPICAL, NEIGHBOURS = 10, 11
"""A spike holds at least so many events, such a share of them, and so many times as many as values near it."""

SAME_GAP = 1.5
MOST_BLOCKS, FEWEST_IN_BLOCK, MOST_IN_BLOCK = 20, 10, 1000


def fewest_in_spike(counts: np.ndarray) -> np.ndarray:
    """Events at one value from which on it is a spike: they share it exactly, though events near them do not.

    Args:
        counts: How many events have each of the values that occur, in their order, shape ``(n_values,)``.

    Returns:
        Same shape.
    """
    typical = median_filter(counts, NEIGHBOURS, mode="mirror") if len(counts) > 1 else counts
    return np.maximum(max(FEWEST_IN_SPIKE, LEAST_SHARE * counts.sum()), TIMES_TYPICAL * typical)


def chance_of_agreement(values: np.ndarray, counts: np.ndarray) -> float:
    """Probability that two independent events have the same value because of the finite resolution of the values.

    The resolution, that of single precision or of rounding, is the smallest distance among values near each other.
    Where values occur once at no fixed spacing, the smallest distance overestimates it. Events a resolution apart are
    about twice as frequent as events at the same value.

    Args:
        values: Different values in ascending order, shape ``(n_values,)``.
        counts: How many events have each, same shape.
    """
    n_values, total = len(values), float(counts.sum())
    if n_values < 2:
        return 1.0
    size = int(np.clip(n_values // MOST_BLOCKS, FEWEST_IN_BLOCK, MOST_IN_BLOCK))
    starts = np.arange(0, n_values - 1, size)
    gaps, shares = np.diff(values), counts / total
    smallest = np.minimum.reduceat(gaps, starts)
    is_near = gaps < SAME_GAP * np.repeat(smallest, np.diff(starts, append=n_values - 1))
    ends = np.append(starts[1:], n_values) - 1
    width = values[ends] - values[starts] + smallest
    of_blocks = np.sum(np.add.reduceat(shares, starts) ** 2 * smallest / width)
    of_neighbours = np.sum((shares[1:] * shares[:-1])[is_near])
    return float(max(of_blocks, of_neighbours))
