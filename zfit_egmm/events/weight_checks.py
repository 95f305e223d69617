"""Where the weights of events sum to nothing positive: there is no density there, and a loss has no minimum."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from zfit_egmm.events.sample import EventSample

ROWS_PER_POINT = 20
"""Rows per theta on average, below which theta counts as continuous and is judged in cells."""

ROWS_PER_CELL, MOST_SPLITS = 400, 6

FALSE_ALARMS = 1e-2
"""Probability that chance alone makes one of all regions of a sample look negative whose totals are zero; it is far
smaller where they are positive."""

MOST_BINS, ROWS_PER_BIN, MOST_PAIR_BINS = 256, 50, 12
MOST_POINTS = 100
"""Points of a grid whose spectra are judged one by one."""


class Negative(NamedTuple):
    """A region whose weights sum to a negative number.

    Args:
        place: Which, in words.
        total: Sum of the weights.
        error: Its statistical error.
        n_rows: Rows in the region.
    """

    place: str
    total: float
    error: float
    n_rows: int


def check_weights(sample: EventSample) -> None:
    """Check that the weights sum to positive numbers wherever a density has to be learned.

    These are the simulated values of theta, the values of discrete observables, and parts of the range of one or two
    observables. For parts of ranges, and where theta is continuous, the sum must be negative by far more than chance.

    Raises:
        ValueError: If they do not; it names the places.
    """
    if not np.any(sample.weights < 0):
        return
    found = [*_points(sample), *_categories(sample)] or list(_regions(sample))
    if found:
        worst = sorted(found, key=lambda entry: entry.total / max(entry.error, 1e-300))
        shown = "; ".join(
            f"{entry.total:.4g} +- {entry.error:.2g} in {entry.n_rows} events at {entry.place}" for entry in worst[:3]
        )
        more = f", and at {len(worst) - 3} more places" if len(worst) > 3 else ""
        raise ValueError(
            f"the weights do not sum to a positive number everywhere, but to {shown}{more}. A density cannot be "
            "negative, and one trained with these events would be wrong elsewhere, too: correct the weights, add "
            "events until the sums are positive, or cut these places away"
        )


def _points(sample: EventSample) -> Iterator[Negative]:
    """Simulated values of theta, or cells of them."""
    if not sample.theta_names:
        return
    points, index = np.unique(sample.theta, axis=0, return_inverse=True)
    if ROWS_PER_POINT * len(points) <= sample.n_events:
        names = [", ".join(f"{n} = {v:g}" for n, v in zip(sample.theta_names, point, strict=True)) for point in points]
        yield from _totals(sample.weights, index.reshape(-1), names, least_sigma=0.0)
        return
    n_splits = int(np.clip(np.log2(sample.n_events / ROWS_PER_CELL), 0, MOST_SPLITS))
    for rows in _cells(sample.theta, np.arange(sample.n_events), n_splits):
        ends = zip(sample.theta_names, sample.theta[rows].min(axis=0), sample.theta[rows].max(axis=0), strict=True)
        place = ", ".join(f"{name} from {low:.4g} to {high:.4g}" for name, low, high in ends)
        least = float(norm.isf(FALSE_ALARMS / 2**n_splits))
        yield from _totals(sample.weights[rows], np.zeros(len(rows), dtype=int), [place], least_sigma=least)


def _cells(theta: np.ndarray, rows: np.ndarray, n_splits: int) -> list[np.ndarray]:
    """Halve the events again and again, each time along the parameter with the largest spread."""
    if n_splits == 0:
        return [rows]
    spread = theta[rows].std(axis=0) / np.maximum(theta.std(axis=0), 1e-300)
    order = rows[np.argsort(theta[rows, int(np.argmax(spread))], kind="stable")]
    return [cell for half in np.array_split(order, 2) for cell in _cells(theta, half, n_splits - 1)]


def _categories(sample: EventSample) -> Iterator[Negative]:
    """Values of discrete observables; one without events is no fault."""
    for observable, column in zip(sample.observables, sample.x.T, strict=True):
        if observable.is_discrete:
            values, index = np.unique(column, return_inverse=True)
            names = [f"{observable.name} = {value:g}" for value in values]
            yield from _totals(sample.weights, index.reshape(-1), names, least_sigma=0.0)


def _regions(sample: EventSample) -> Iterator[Negative]:
    """Parts of the ranges of one observable, at all theta and at each, and of two."""
    spectra = [(sample, "")]
    if sample.theta_names:
        points, index = np.unique(sample.theta, axis=0, return_inverse=True)
        if len(points) <= min(MOST_POINTS, sample.n_events // ROWS_PER_BIN):
            for number, point in enumerate(points):
                where = ", ".join(f"{n} = {v:g}" for n, v in zip(sample.theta_names, point, strict=True))
                spectra.append((sample.select(index.reshape(-1) == number), f" and {where}"))
    found: list[Negative] = []
    n_regions = 0
    for part, where in spectra:
        for bins, names in _partitions(part):
            n_regions += len(names)
            found += _totals(_by_event(part), bins, [name + where for name in names], least_sigma=0.0)
    least = float(norm.isf(FALSE_ALARMS / max(n_regions, 1)))
    yield from (entry for entry in found if entry.total < -least * entry.error)


def _by_event(sample: EventSample) -> np.ndarray:
    """Weights of the rows; those of all rows of an event at the first one, since their fluctuations are one."""
    if not sample.has_copies:
        return sample.weights
    _, first = np.unique(sample.event_numbers, return_index=True)
    weights = np.zeros(sample.n_events)
    weights[first] = np.bincount(sample.event_numbers, sample.weights)
    return weights


def _partitions(sample: EventSample) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Bins of every row with their names: of one observable in several sizes, and of two."""
    n_fine = int(np.clip(sample.n_events // ROWS_PER_BIN, 1, MOST_BINS))
    n_each = int(np.clip(np.sqrt(sample.n_events / ROWS_PER_BIN), 1, MOST_PAIR_BINS))
    axes = [(o.name, o.is_discrete, column) for o, column in zip(sample.observables, sample.x.T, strict=True)]
    for name, is_discrete, column in axes:
        for n_bins in {1} if is_discrete else {max(n_fine // coarser, 1) for coarser in (1, 4, 16, 64)}:
            yield _bins(column, n_bins, name, is_discrete)
    for n_bins in {n_each, max(n_each // 2, 1)}:
        bins = [_bins(column, n_bins, name, is_discrete) for name, is_discrete, column in axes]
        for (first, first_names), (second, second_names) in itertools.combinations(bins, 2):
            names = [f"{one} and {other}" for one in first_names for other in second_names]
            yield first * len(second_names) + second, names


def _bins(column: np.ndarray, n_bins: int, name: str, is_discrete: bool) -> tuple[np.ndarray, list[str]]:
    if is_discrete:
        values, index = np.unique(column, return_inverse=True)
        return index.reshape(-1), [f"{name} = {value:g}" for value in values]
    edges = np.unique(np.quantile(column, np.linspace(0, 1, n_bins + 1)))
    index = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, max(len(edges) - 2, 0))
    return index, [f"{name} from {a:.4g} to {b:.4g}" for a, b in itertools.pairwise(edges)] or [name]


def _totals(weights: np.ndarray, index: np.ndarray, names: list[str], *, least_sigma: float) -> Iterator[Negative]:
    """Groups of rows whose weights sum to nothing positive, by so many standard deviations."""
    totals, n = np.bincount(index, weights, len(names)), np.bincount(index, minlength=len(names))
    errors = np.sqrt(np.bincount(index, weights**2, len(names)))
    for k in np.flatnonzero((n > 0) & (totals <= -least_sigma * errors)):
        yield Negative(names[k], float(totals[k]), float(errors[k]), int(n[k]))
