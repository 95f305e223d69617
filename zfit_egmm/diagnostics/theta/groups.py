"""Held-out events grouped by their theta; means of groups, with errors and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.comparison import check_match
from zfit_egmm.events.sample import EventSample

FEWEST_EVENTS = 50
EVENTS_PER_CELL, MOST_SPLITS = 2000, 4
SMALLEST_EIGENVALUE = 1e-9


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


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of values of events, with the covariance matrix of the mean.

    Args:
        values: Shape ``(n_events, k)``.
        weights: Shape ``(n_events,)``, of any sign, with a positive sum.

    Returns:
        Mean, shape ``(k,)``, and covariance, shape ``(k, k)``.
    """
    share = weights / weights.sum()
    mean = share @ values
    residuals = share[:, np.newaxis] * (values - mean)
    n = len(values)
    return mean, residuals.T @ residuals * n / max(n - 1, 1)


def chi2_of(mean: np.ndarray, covariance: np.ndarray) -> tuple[float, int]:
    """Squared length of a vector in units of its errors, and the number of its independent directions."""
    scale = np.sqrt(np.diag(covariance))
    used = scale > 0
    if not used.any():
        return 0.0, 0
    correlation = covariance[np.ix_(used, used)] / np.outer(scale[used], scale[used])
    values, vectors = np.linalg.eigh(correlation)
    good = values > SMALLEST_EIGENVALUE
    along = vectors.T[good] @ (mean[used] / scale[used])
    return float(np.sum(along**2 / values[good])), int(good.sum())


def joint_p_values(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, float]:
    """p-values that vectors with given covariances are zero: one by one, and all together."""
    tests = np.array([chi2_of(mean, covariance) for mean, covariance in found])
    chi2, n_dof = tests.T
    return stats.chi2.sf(chi2, np.maximum(n_dof, 1)), float(stats.chi2.sf(chi2.sum(), max(n_dof.sum(), 1)))


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Results of all groups in one array, groups first."""
    return np.stack([np.asarray(row) for row in rows])
