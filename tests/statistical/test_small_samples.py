"""Trainings on 2,000 events beat classical estimates of the density, and their verdict tells of over-fitting.

The differences of held-out log-likelihoods have errors of 0.003 nats per event with background events of H -> 4l. So
the smallest deficit that is caught is 0.01. The training is better by 0.02. For the toy, and for a truth that is nearly
a Gaussian copula, where the copula wins, see benchmarks/small_samples.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from classical import Classical
from small_samples import CASES, compare

from zfit_egmm import EventSample, MixtureSettings, Observable, SmoothNetwork, TrainingConfig, train

N_EVENTS, N_HELD_OUT = 2000, 10_000


def _case(name: str) -> tuple[EventSample, EventSample]:
    return CASES[name](N_EVENTS, N_HELD_OUT, np.random.default_rng([0, 5]))[:2]


@pytest.mark.statistical
def test_a_small_sample_is_described_no_worse_than_by_classical_estimates():
    training, held_out = _case("h4l_background")
    result = compare(train(training, progress=False), training, held_out)
    for difference, error in result["advantage"].values():
        assert difference > -3 * error


@pytest.mark.statistical
def test_a_network_that_is_too_large_is_worse_than_the_copula_and_told_to_over_fit():
    training, held_out = _case("gaussian")
    config = TrainingConfig(
        model=MixtureSettings(SmoothNetwork((96, 96), n_components=20)),
        weight_decay=0.0,
        average_decay=0.0,
        learning_rate=2e-2,
        batch_size=32,
        epochs=12,
        validation_fraction=0.5,
    )
    density = train(training, config, progress=False)
    difference = density.log_prob(held_out.x) - Classical(training).copula(held_out)
    assert difference.mean() < -3 * difference.std() / np.sqrt(N_HELD_OUT)
    assert "Over-fitting" in density.training["summary"]["verdict"]


def test_the_classical_estimates_are_normalised_for_every_theta():
    rng = np.random.default_rng(1)
    theta = rng.choice([-1.0, 0.0, 1.0], 600)
    x = np.stack([rng.beta(0.8, 2, 600), rng.normal(0.5 * theta, 0.4).clip(-2, 2)], axis=1)
    observables = [Observable("a", 0, 1), Observable("b", -2, 2)]
    classical = Classical(EventSample(observables, x, theta=theta, theta_names=["t"]))
    # Midpoints, denser towards the ends, with the sizes of their cells.
    edges = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 301))
    centres, sizes = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    points = np.stack(np.meshgrid(0.5 + 0.5 * centres, 2 * centres, indexing="ij"), axis=-1).reshape(-1, 2)
    for value in (-1.0, 0.5):
        grid = EventSample(observables, points, theta=np.full(len(points), value), theta_names=["t"])
        for estimate in (classical.copula, classical.kde):
            integral = np.exp(estimate(grid)) @ np.outer(0.5 * sizes, 2 * sizes).ravel()
            assert integral == pytest.approx(1, abs=3e-3)
