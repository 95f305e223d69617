"""Projections: data in bins of one or two observables, and what a model expects there."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

PAIR_BINS = 4
FEWEST_BINS, MOST_BINS = 4, 20
EVENTS_PER_BIN = 25

RARE = 5.0
"""Bins with fewer expected events are joined."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Bins of one or two observables.

    Args:
        name: Names of the observables.
        axes: Their columns.
        edges: Inner edges of the bins for each.
        bin_of_cell: Number of the bin of every cell of the grid of edges; rare cells share one.
    """

    name: str
    axes: tuple[int, ...]
    edges: tuple[np.ndarray, ...]
    bin_of_cell: np.ndarray

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(self.bin_of_cell.max()) + 1

    def bins(self, x: np.ndarray) -> np.ndarray:
        """Bin of each event, shape ``(n_events,)``."""
        return self.bin_of_cell[_cells(x, self.axes, self.edges)]


def projections_of(x: np.ndarray, weights: np.ndarray, names: tuple[str, ...], n_events: int) -> list[Projection]:
    """Bins of about equal probability of all observables, and coarse ones of all pairs.

    Args:
        x: Events that follow a model, shape ``(n, n_observables)``.
        weights: Their weights, shape ``(n,)``.
        names: Names of the observables.
        n_events: Events of the data, which decide on the number of bins.

    Returns:
        Projections with at least two bins.
    """
    n_bins = int(np.clip(n_events // EVENTS_PER_BIN, FEWEST_BINS, MOST_BINS))
    singles = [(axis,) for axis in range(len(names))]
    found = []
    for axes in [*singles, *itertools.combinations(range(len(names)), 2)]:
        edges = tuple(_edges(x[:, axis], weights, n_bins if len(axes) == 1 else PAIR_BINS) for axis in axes)
        n_cells = int(np.prod([len(one) + 1 for one in edges]))
        expected = np.bincount(_cells(x, axes, edges), weights, n_cells)
        numbers = _joined(expected * n_events / weights.sum())
        if numbers.max() > 0:
            found.append(Projection(" and ".join(names[axis] for axis in axes), axes, edges, numbers))
    return found


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    """Pearson's chi-square of counts, shape ``(n_bins,)``."""
    return float(np.sum(np.square(observed - expected) / np.maximum(expected, 0.1)))


def _cells(x: np.ndarray, axes: tuple[int, ...], edges: tuple[np.ndarray, ...]) -> np.ndarray:
    cells = np.zeros(len(x), dtype=int)
    for axis, inner in zip(axes, edges, strict=True):
        cells = cells * (len(inner) + 1) + np.searchsorted(inner, x[:, axis], side="right")
    return cells


def _edges(values: np.ndarray, weights: np.ndarray, n_bins: int) -> np.ndarray:
    """Inner edges of bins of about equal weight; fewer where many events have the same value."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    rows = np.searchsorted(below, np.arange(1, n_bins) / n_bins)
    return np.unique(values[order][np.minimum(rows, len(values) - 1)])


def _joined(expected: np.ndarray) -> np.ndarray:
    """Numbers of bins: one for each cell with enough expected events, and one for all others together."""
    is_rare = expected < RARE
    if is_rare.any() and expected[is_rare].sum() < RARE and not is_rare.all():
        # Too few even together: they join the smallest of the others.
        is_rare |= expected == expected[~is_rare].min()
    numbers = np.cumsum(~is_rare) - 1
    numbers[is_rare] = numbers.max() + 1
    return np.unique(numbers, return_inverse=True)[1]
