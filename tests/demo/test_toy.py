"""The toy's own density and sampler, checked against each other and against published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from zfit_egmm.demo import toy

MEAN_LOG_DENSITY = {(0, 0): -13.6405, (0.8, 0.8): -13.8943, (-0.8, 0): -13.9136, (0.25, 0.25): -13.7368}


@pytest.mark.parametrize(("point", "expected"), MEAN_LOG_DENSITY.items())
def test_mean_log_density(point, expected):
    value = toy.log_prob(toy.sample(400_000, point, 1), np.array(point))
    assert value.mean() == pytest.approx(expected, abs=4 * (0.0013 + value.std() / np.sqrt(400_000)))


@pytest.mark.parametrize("point", [(0.0, 0.0), (-1.5, 0.7)])
def test_integrates_to_one(point):
    # Sampling x0 and x1 from a strip around the diagonal keeps the estimate precise.
    u = qmc.Sobol(4, seed=2).random_base2(18)
    t0 = u[:, 0]
    half = 0.3
    low, high = np.maximum(t0 - half, 0), np.minimum(t0 + half, 1)
    t1 = low + u[:, 1] * (high - low)
    x = np.stack([100 + 700 * t0, 100 + 700 * t1, np.pi * (2 * u[:, 2] - 1), toy.X3_LIMIT * (2 * u[:, 3] - 1)], axis=1)
    volume = 700 * 700 * (high - low) * 2 * np.pi * 2 * toy.X3_LIMIT
    assert np.mean(volume * np.exp(toy.log_prob(x, np.array(point)))) == pytest.approx(1, abs=2e-3)


def test_sampler_follows_the_density():
    # Importance weights of the sampler at one point with the density at another average to one.
    a, b = np.array([0.4, -0.3]), np.array([0.2, -0.1])
    x = toy.sample(400_000, a, 3)
    ratio = np.exp(toy.log_prob(x, b) - toy.log_prob(x, a))
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(len(ratio)))
    assert ratio.std() > 0.03
    moments = [(x**2 * ratio[:, None]).mean(0), (toy.sample(400_000, b, 4) ** 2).mean(0)]
    assert np.allclose(*moments, rtol=0.01)
