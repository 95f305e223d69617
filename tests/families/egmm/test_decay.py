from __future__ import annotations

import numpy as np
import pytest

from zfit_egmm import EventSample, Observable, TrainingConfig, train
from zfit_egmm.families.egmm import decay
from zfit_egmm.families.egmm.decay import decay_factors, marginal_losses


def test_marginal_losses_are_entropies():
    rng = np.random.default_rng(0)
    n = 100_000
    colours = rng.choice([0.0, 1.0, 2.0], n, p=[0.7, 0.2, 0.1])
    u = np.column_stack([rng.uniform(-5, 5, n), rng.normal(0, 0.8, n), colours])
    observables = [Observable("flat", 0, 1), Observable("peak", 0, 1), Observable("colour", 4, 6, kind="discrete")]
    found = marginal_losses(observables, u, np.ones(n))
    entropy = -np.sum(np.array([0.7, 0.2, 0.1]) * np.log([0.7, 0.2, 0.1]))
    # The histogram's own bias is half the number of its bins over the events, 0.001.
    assert found == pytest.approx([np.log(10), 0.5 * np.log(2 * np.pi * np.e * 0.64), entropy], abs=0.006)


def test_marginal_losses_count_weights():
    u = np.array([[0.0]] * 3 + [[1.0]] * 2)
    found = marginal_losses([Observable("colour", 4, 5, kind="discrete")], u, np.array([1.0, 1.0, -1.0, 0.5, 0.5]))
    assert found == pytest.approx([np.log(2)])


def test_the_less_a_factor_learns_the_more_it_decays():
    gain = np.array([0.001, 1.0, 0.15, 0.03, 0.001, -0.01])
    found = decay_factors(0.02, np.full(6, 2.3), 2.3 - gain)
    # The first one knows theta alone.
    assert found == pytest.approx([0.02, 0.02, 0.02, 0.1, 0.2, 0.2], rel=1e-5)
    for smallest, largest in ((0.1, 0.25), (3.0, 3.0)):
        assert decay_factors(smallest, np.full(2, 2.3), np.full(2, 2.3)) == pytest.approx([smallest, largest])


def test_all_start_with_the_smallest_decay_and_none_stays_none():
    assert decay_factors(0.02, np.full(2, 2.3), np.full(2, np.inf)) == pytest.approx([0.02, 0.02])
    assert decay_factors(0.0, np.full(2, 2.3), np.full(2, 2.3)) == pytest.approx([0.0, 0.0])


def test_noise_is_not_taken_for_a_dependence_on_theta(monkeypatch):
    rng = np.random.default_rng(3)
    theta = rng.choice([-1.0, 0.0, 1.0], 10_000)
    observables = [Observable("x", 0, 1), Observable("y", 0, 1)]
    sample = EventSample(observables, rng.uniform(0, 1, (10_000, 2)), theta=theta, theta_names=("t",))
    # At the same x, the ratio varies with y only by what the factor of y learned.
    at = np.column_stack([np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], 99), np.tile(np.linspace(0.01, 0.99, 99), 5)])

    def learned_ratio() -> float:
        # Without held-out events, which would stop the training early, noise is learned to the end.
        config = TrainingConfig(seed=1, weight_decay=0.02, epochs=12, validation_fraction=0.0)
        density = train(sample, config, progress=False)
        ratio = density.log_prob(at, 1.0) - density.log_prob(at, -1.0)
        return np.sqrt(ratio.reshape(5, 99).var(axis=1).mean())

    with_increase = learned_ratio()
    monkeypatch.setattr(decay, "MOST_INCREASE", 1.0)
    assert with_increase < 0.95 * learned_ratio()
