"""Bins of observables, and the fractions of weighted events in them."""

from __future__ import annotations

import numpy as np

from zfit_egmm.observables import Observable


def equal_edges(observable: Observable, n_bins: int) -> np.ndarray:
    """Edges of bins of equal width; of a discrete observable one bin per integer, whatever ``n_bins`` is."""
    low, high = observable.limits
    return np.linspace(low, high, (observable.n_categories if observable.is_discrete else n_bins) + 1)


def quantile_edges(observable: Observable, values: np.ndarray, n_bins: int) -> np.ndarray:
    """Edges of bins with about equally many events.

    Args:
        observable: Its range.
        values: Events, shape ``(n_events,)``. Weights do not matter: bins are to hold enough events.
        n_bins: Number of bins, less where many events have the same value.

    Returns:
        Increasing, from end to end of the range; of a discrete observable the edges of its integers.
    """
    if observable.is_discrete:
        return equal_edges(observable, n_bins)
    inner = np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1])
    inner = np.unique(inner[(inner > observable.low) & (inner < observable.high)])
    return np.concatenate([[observable.low], inner, [observable.high]])


def bin_numbers(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Bin of each value, from zero; values at the last edge belong to the last bin."""
    return np.searchsorted(edges[1:-1], values, side="right")


def fractions(numbers: np.ndarray, weights: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of the total weight in each bin, and its standard error from the sum of squared weights.

    Args:
        numbers: Bin of each event, shape ``(n_events,)``.
        weights: Shape ``(n_events,)``.
        n_bins: Number of bins.

    Returns:
        Both of shape ``(n_bins,)``. The fluctuation of the total is left out of the error; it matters only to bins
        that hold a large part of the events.
    """
    total = weights.sum()
    content = np.bincount(numbers, weights, n_bins) / total
    return content, np.sqrt(np.bincount(numbers, np.square(weights), n_bins)) / total


def effective_entries(numbers: np.ndarray, weights: np.ndarray, n_bins: int) -> np.ndarray:
    """Events of equal weight that would tell as much, per bin: ``(sum |w|)^2 / sum w^2``."""
    total = np.bincount(numbers, np.abs(weights), n_bins)
    squares = np.bincount(numbers, np.square(weights), n_bins)
    return np.divide(np.square(total), squares, out=np.zeros(n_bins), where=squares > 0)


def ratio_of(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is not positive."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
