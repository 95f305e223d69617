"""Steps compiled with XLA, as large samples have them, train the same density."""

from __future__ import annotations

import numpy as np
import pytest

from zfit_egmm import EventSample, MixtureSettings, Observable, SmoothNetwork, TrainingConfig, train


@pytest.fixture(scope="module")
def sample() -> EventSample:
    """Three parameters, each of which moves another observable; one is discrete."""
    rng = np.random.default_rng(3)
    theta = rng.uniform(-1, 1, (3000, 3))
    x = rng.normal(theta[:, 0], 1).clip(-4.9, 4.9)
    k = rng.binomial(3, 0.3 + 0.2 * theta[:, 1])
    y = rng.normal(0.5 * x + theta[:, 2], 1).clip(-5.9, 5.9)
    observables = [Observable("x", -5, 5), Observable("k", 0, 3, kind="discrete"), Observable("y", -6, 6)]
    weights = np.where(rng.random(3000) < 0.1, -0.5, 1.0)
    return EventSample(
        observables, np.stack([x, k, y], axis=1), theta=theta, theta_names=("a", "b", "c"), weights=weights
    )


CONFIG = TrainingConfig(model=MixtureSettings(SmoothNetwork((8,), 3)), seed=1, epochs=6, batch_size=250)


@pytest.mark.filterwarnings("ignore:Doubtful events")
def test_compiled_and_plain_steps_train_the_same_density_of_three_parameters(sample, monkeypatch):
    plain = train(sample, CONFIG, progress=False)
    monkeypatch.setattr("zfit_egmm.training.train.XLA_PAYS", 0)
    compiled = train(sample, CONFIG, progress=False)
    for one, other in zip(plain.weights, compiled.weights, strict=True):
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=2e-3)
    point = np.array([0.8, -0.5, 0.3])
    x = plain.sample(500, point, seed=1)
    difference = compiled.log_prob(x, point) - plain.log_prob(x, point)
    assert np.abs(difference).max() < 0.01
    # Each parameter moves its own observable; half of a width is seen.
    high, low = (plain.sample(20_000, [s, s, s], seed=2).mean(axis=0) for s in (0.9, -0.9))
    assert np.all(high - low > [0.5, 0.3, 0.5])
