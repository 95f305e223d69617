"""Pairs of simulated theta, and the log likelihood ratio between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import ThetaGroup, theta_groups
from zfit_egmm.events.sample import EventSample

Pairs = Sequence[tuple[ArrayLike, ArrayLike]]


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
    position = (theta - theta.mean(axis=0)) / np.maximum(theta.std(axis=0), 1e-300)
    middle = int(np.argmin(np.sum(position**2, axis=1)))
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
