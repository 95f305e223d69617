"""Weights that sum to nothing positive: named before a training, and not where chance or cancellation explains them."""

from __future__ import annotations

import numpy as np
import pytest

from zfit_egmm import EventSample, Observable, train
from zfit_egmm.events.weight_checks import check_weights

AXES = (Observable("a", -5, 5), Observable("b", -5, 5))
JETS = Observable("jets", 0, 3, kind="discrete")
N = 20_000


def sample(is_negative, share: float = 0.7, *, x=None, observables=AXES, theta=None, seed: int = 0) -> EventSample:
    """Events of which a share has weight minus one at some places."""
    rng = np.random.default_rng([seed, 1])
    weights = np.where(is_negative & (rng.random(len(is_negative)) < share), -1.0, 1.0)
    names = () if theta is None else ("c",)
    return EventSample(observables, _x() if x is None else x, theta=theta, theta_names=names, weights=weights)


def _x(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, 2)).clip(-4.9, 4.9)


def test_a_simulated_theta_with_a_negative_total():
    theta = np.random.default_rng(4).choice([-1.0, 0.0, 1.0], N)
    events = sample(theta == 1, 0.6, theta=theta)
    total = events.weights[theta == 1].sum()
    with pytest.raises(
        ValueError, match=rf"but to {total:.4g} \+- .* in {np.sum(theta == 1)} events at c = 1. A density"
    ):
        train(events, progress=False)


def test_a_category_with_a_negative_total():
    jets = np.random.default_rng(5).integers(0, 4, N)
    x = np.stack([_x()[:, 0], jets], axis=1)
    with pytest.raises(ValueError, match=r"at jets = 3. A density.*cut these places away"):
        check_weights(sample(jets == 3, x=x, observables=(AXES[0], JETS)))


def test_a_part_of_a_continuous_theta_with_a_negative_total():
    theta = np.random.default_rng(6).uniform(-1, 1, N)
    with pytest.raises(ValueError, match=r"at c from 0\.[89].* to 0\.9"):
        check_weights(sample(theta > 0.8, theta=theta))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda x: x[:, 0] > 1.5, "at a from 1.5"),
        (lambda x: np.abs(x[:, 1] - 0.3) < 0.1, "at b from 0.2"),
        (lambda x: (x[:, 0] > 1) & (x[:, 1] < -1), "at a from [01].* and b from -4"),
    ],
)
def test_parts_of_ranges_with_a_negative_total(place, message):
    with pytest.raises(ValueError, match=message):
        check_weights(sample(place(_x())))


def test_a_tail_with_a_negative_total_at_one_theta_only():
    theta = np.random.default_rng(7).choice([-1.0, 0.0, 1.0], N)
    with pytest.raises(ValueError, match=r"at a from 1.5.* and c = 1"):
        check_weights(sample((theta == 1) & (_x()[:, 0] > 1.5), 0.8, theta=theta))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("is_grid", [True, False])
def test_negative_weights_that_cancel_everywhere_are_fine(share, is_grid):
    # Three samples with thousands of regions each; totals are positive everywhere.
    for seed in range(3):
        rng = np.random.default_rng([seed, 2])
        theta = rng.choice([-1.0, 0.0, 1.0], N) if is_grid else rng.uniform(-1, 1, N)
        check_weights(sample(np.ones(N, dtype=bool), share, x=_x(seed), theta=theta, seed=seed))


def test_copies_of_an_event_are_no_evidence_of_their_own():
    # Nine rows of each event: a fluctuation by two standard deviations would look like one by six.
    for seed in range(4):
        x = np.tile(_x(seed)[:1000], (9, 1))
        weights = np.tile(np.where(np.random.default_rng(seed).random(1000) < 0.45, -1.0, 1.0), 9)
        theta = np.repeat(np.arange(9.0), 1000)
        check_weights(EventSample(AXES, x, theta=theta, theta_names=("c",), weights=weights))
