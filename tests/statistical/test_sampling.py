"""Samples follow the density: probability integral transforms by numerical integration of the density itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import cumulative_trapezoid

from zfit_egmm import Observable
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.families.egmm.networks import SmoothNetwork

N_GRID = 201
RANGES = ((-5.0, 5.0),) * 3


def _first(density: MixtureDensity, k: int) -> MixtureDensity:
    """Exact marginal of the first k observables: the later factors are left out."""
    return MixtureDensity(
        density.observables[:k],
        density.theta_names,
        density.scaling,
        network=density.autoregressive.network,
        projections=density.projections[:k],
        latent_ranges=density.autoregressive.latent_ranges[:k],
        weights=density.weights[:k],
    )


def _transforms(density: MixtureDensity, x: np.ndarray, theta: np.ndarray, number: int) -> np.ndarray:
    """P(x_i < observed | x_<i), from a one-dimensional integral of the density at every event."""
    marginal = _first(density, number + 1)
    # A grid that is equidistant on the latent axis resolves narrow regions.
    grid = density.projections[number].physical(np.linspace(-5, 5, N_GRID)).numpy()
    rows = np.repeat(x[:, : number + 1], N_GRID, axis=0)
    rows[:, number] = np.tile(grid, len(x))
    values = np.exp(marginal.log_prob(rows, theta)).reshape(len(x), N_GRID)
    cdf = cumulative_trapezoid(values, grid, axis=1, initial=0)
    return np.array([np.interp(v, grid, c / c[-1]) for v, c in zip(x[:, number], cdf, strict=True)])


@pytest.mark.statistical
@pytest.mark.parametrize("number", range(4))
def test_samples_of_a_trained_density_have_uniform_transforms(toy_density, number):
    theta = np.array([0.3, -0.4])
    x = toy_density.sample(3000, theta, seed=21)
    assert stats.kstest(_transforms(toy_density, x, theta, number), "uniform").pvalue > 1e-3


def _gaussians(width_factor: float) -> MixtureDensity:
    """One Gaussian per observable whose mean follows theta and the observables before."""
    rng = np.random.default_rng(2)
    observables = [Observable(name, 0, 10) for name in "abc"]
    network = SmoothNetwork((16, 16), n_components=1, width_fraction=0.15)
    scaling = ThetaScaling.from_values(rng.uniform(-1, 1, (100, 1)))
    projections = tuple(build_projection(o, rng.uniform(0, 10, 5000)) for o in observables)
    autoregressive = Autoregressive(tuple(observables), network, scaling.n_theta, RANGES, projections)
    weights = autoregressive.initial_weights(rng)
    start = 0.15 * 10.0
    for factor in weights:
        factor["kernel_out"] *= np.array([1, 8, 0], np.float32)
        # softplus(bias + log(expm1(start))) = factor * start
        factor["bias_out"][2] = np.log(np.expm1(width_factor * start)) - np.log(np.expm1(start))
    return MixtureDensity(
        observables,
        ["t"],
        scaling,
        network=network,
        projections=projections,
        latent_ranges=RANGES,
        weights=weights,
    )


@pytest.mark.statistical
@pytest.mark.parametrize("number", [0, 2])
def test_a_width_wrong_by_ten_percent_is_caught(number):
    # The Kolmogorov-Smirnov test of 12,000 events catches a 10 % wrong width with p below 1e-3.
    theta = np.array([0.5])
    right = _gaussians(1.0)
    x = right.sample(12_000, theta, seed=3)
    assert stats.kstest(_transforms(right, x, theta, number), "uniform").pvalue > 0.01
    for wrong in (_gaussians(1.1), _gaussians(0.9)):
        assert stats.kstest(_transforms(wrong, x, theta, number), "uniform").pvalue < 1e-3
