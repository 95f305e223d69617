"""Held-out events grouped by their theta, p-values of the means of groups, and pairs of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.samples import check_match
from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare
from zfit_egmm.diagnostics.statistics.slices import scaled_to_spread
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.events.sample import EventSample

Pairs = Sequence[tuple[ArrayLike, ArrayLike]]

FEWEST_EVENTS = 50  # least number of events at a theta, for the error of a mean to be known
EVENTS_PER_CELL, MOST_SPLITS = 2000, 4
"""Where theta differs from event to event: events in a cell, and how often all of them are halved at most."""


@dataclass(frozen=True, eq=False)
class ThetaGroup:
    """Events that share a value of theta, or a cell of values.

    Args:
        theta: The value, or the mean over the events, shape ``(n_theta,)``.
        rows: Row numbers of the events.
    """

    theta: np.ndarray
    rows: np.ndarray


def theta_groups(sample: EventSample) -> tuple[ThetaGroup, ...]:
    """Events of each point if theta takes few values, else of up to 16 cells with equal numbers of events.

    Raises:
        ValueError: If a point has too few events to estimate an error.
    """
    points, index = np.unique(sample.theta, axis=0, return_inverse=True)
    if len(points) * FEWEST_EVENTS > sample.n_events and len(points) > 1:
        n_splits = int(np.clip(np.log2(sample.n_events / EVENTS_PER_CELL), 0, MOST_SPLITS))
        cells = _cells(sample.theta, np.arange(sample.n_events), n_splits)
        return tuple(ThetaGroup(sample.theta[rows].mean(axis=0), rows) for rows in cells)
    order = np.argsort(index.reshape(-1), kind="stable")
    counts = np.bincount(index.reshape(-1))
    if counts.min() < FEWEST_EVENTS:
        point = points[np.argmin(counts)]
        raise ValueError(
            f"theta = {point} has only {counts.min()} held-out events, at least {FEWEST_EVENTS} are needed at every "
            "point; add events or leave the point out with sample.select(mask)"
        )
    parts = np.split(order, np.cumsum(counts)[:-1])
    return tuple(ThetaGroup(point, rows) for point, rows in zip(points, parts, strict=True))


def _cells(theta: np.ndarray, rows: np.ndarray, n_splits: int) -> list[np.ndarray]:
    """Halve the events again and again, each time along the parameter with the largest spread."""
    if n_splits == 0:
        return [rows]
    spread = theta[rows].std(axis=0) / theta.std(axis=0)
    order = rows[np.argsort(theta[rows, int(np.argmax(spread))], kind="stable")]
    halves = np.array_split(order, 2)
    return [cell for half in halves for cell in _cells(theta, half, n_splits - 1)]


def check_sample(density: Density, sample: EventSample) -> None:
    """Check that a density describes the events of a sample, given parameters.

    Raises:
        ValueError: If observables or parameters differ, or there are no parameters.
    """
    check_match(density, sample)
    if not density.theta_names:
        raise ValueError("the density has no parameters, so there is no dependence on theta to test")


def tests_of(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, float]:
    """P-values that means with given covariances vanish: one by one, and all together."""
    tests = [ChiSquare.of_means(mean, covariance) for mean, covariance in found]
    return np.array([test.p_value for test in tests]), ChiSquare.of_all(tests).p_value


def chosen_pairs(sample: EventSample, pairs: Pairs | None) -> list[tuple[ThetaGroup, ThetaGroup]]:
    """Events at each pair of theta.

    Args:
        sample: The events.
        pairs: The pairs. Default: the point nearest to the middle, with its nearest neighbours, two per parameter.

    Raises:
        ValueError: If there are no events at one of them, or theta differs from event to event.
    """
    groups = theta_groups(sample)
    theta = np.array([group.theta for group in groups])
    if any(np.ptp(sample.theta[group.rows], axis=0).any() for group in groups):
        raise ValueError("likelihood ratios need events at the same theta; here theta differs from event to event")
    if pairs is not None:
        return [(_group_at(groups, a), _group_at(groups, b)) for a, b in pairs]
    if len(groups) < 2:
        raise ValueError(f"likelihood ratios need events at two theta at least; all are at {theta[0]}")
    position, middle = scaled_to_spread(theta)
    distance = np.sum((position - position[middle]) ** 2, axis=1)
    nearest = np.argsort(distance, kind="stable")[1 : 1 + 2 * theta.shape[1]]
    return [(groups[middle], groups[number]) for number in nearest]


def log_ratio(derivatives: Derivatives, x: np.ndarray, theta_from: np.ndarray, theta_to: np.ndarray) -> np.ndarray:
    """``log p(x | theta_to) - log p(x | theta_from)`` of events, shape ``(n_events,)``."""
    low, high = (derivatives.log_prob_and_score(x, np.tile(t, (len(x), 1)))[0] for t in (theta_from, theta_to))
    return high - low


def _group_at(groups: Sequence[ThetaGroup], theta: ArrayLike) -> ThetaGroup:
    wanted = np.atleast_1d(np.asarray(theta, dtype=float))
    for group in groups:
        if wanted.shape == group.theta.shape and np.allclose(group.theta, wanted):
            return group
    raise ValueError(f"no events at theta = {wanted}; there are some at {[group.theta.tolist() for group in groups]}")
