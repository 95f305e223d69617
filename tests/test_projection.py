from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import cumulative_trapezoid

from zfit_egmm import Observable
from zfit_egmm.projection import (
    ALPHA,
    BETA,
    GAMMA,
    Projection,
    build_projection,
    target_cdf,
    target_density,
    target_quantile,
)

KINDS = ("smooth", "linear")
N = 50_000


def _events(case: str) -> tuple[Observable, np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(1)
    if case == "steep":
        return Observable("pt", 20, 1000, linear_fraction=0.2), 20 + rng.exponential(40, N) % 980, None
    if case == "peak":
        return Observable("m", 105, 140, linear_fraction=0.2), np.clip(rng.normal(125, 0.3, N), 105, 140), None
    if case == "negative weights":
        x = rng.uniform(-1, 1, N)
        return Observable("c", -1, 1, linear_fraction=0.8), x, np.where(np.abs(x) < 0.1, -1.0, 1.0)
    if case == "spike":
        return Observable("s", 0, 1), np.where(rng.random(N) < 0.9, 0.25, rng.random(N)), None
    return Observable("few", 0, 1), rng.random(20), None


CASES = ("steep", "peak", "negative weights", "spike", "few")


def test_target_is_the_published_function():
    u = np.linspace(-5, 5, 20_001)
    published = 1 / ((1 + np.exp(ALPHA * (u - BETA) - GAMMA)) * (1 + np.exp(-ALPHA * (u + BETA) - GAMMA)))
    cdf = cumulative_trapezoid(published, u, initial=0)
    assert np.abs(target_cdf(u) - cdf / cdf[-1]).max() < 1e-7
    assert np.allclose(target_density(u), published / cdf[-1], rtol=1e-6)


def test_target_quantile_inverts_the_cdf():
    u = np.linspace(-5, 5, 10_001)
    assert np.abs(target_quantile(target_cdf(u)) - u).max() < 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_inverts_and_is_strictly_monotone(case, kind):
    observable, x, weights = _events(case)
    projection = build_projection(observable, x, weights, kind=kind)
    points = np.sort(np.concatenate([np.linspace(observable.low, observable.high, 20_001), x]))
    u, log_slope = (value.numpy() for value in projection.latent(points))
    assert np.all(np.isfinite(log_slope))
    assert u.min() == -5
    assert u.max() == 5
    distinct = np.diff(points) > 1e-9 * (observable.high - observable.low)
    assert np.all(np.diff(u)[distinct] > 0)
    back = projection.physical(u).numpy()
    assert np.abs(back - points).max() < 1e-9 * (observable.high - observable.low)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_slope_is_the_derivative(case, kind):
    observable, x, weights = _events(case)
    projection = build_projection(observable, x, weights, kind=kind)
    points = tf.constant(np.random.default_rng(2).uniform(observable.low, observable.high, 500))
    with tf.GradientTape() as tape:
        tape.watch(points)
        u, log_slope = projection.latent(points)
    assert np.allclose(tape.gradient(u, points).numpy(), np.exp(log_slope.numpy()), rtol=1e-9)


def test_smooth_map_has_a_continuous_slope_and_the_linear_one_has_steps():
    observable, x, _ = _events("steep")
    steps = {}
    for kind in KINDS:
        projection = build_projection(observable, x, kind=kind)
        inner = projection.knots_x[1:-1]
        before, after = (projection.latent(inner + side)[1].numpy() for side in (-1e-7, 1e-7))
        steps[kind] = np.abs(after - before).max()
    assert steps["smooth"] < 1e-3
    assert steps["linear"] > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_latent_density_is_close_to_the_target_for_a_small_linear_fraction(kind):
    rng = np.random.default_rng(4)
    observable = Observable("x", 0, 1, linear_fraction=0.01)
    x = rng.beta(2, 5, N)
    u = build_projection(observable, x, kind=kind).latent(x)[0].numpy()
    counts, edges = np.histogram(u, bins=20, range=(-5, 5))
    expected = N * np.diff(target_cdf(edges))
    inner = expected > 3300
    assert np.abs(counts[inner] / expected[inner] - 1).max() < 0.1


@pytest.mark.parametrize(
    "arrays",
    [
        ([0, 1, 2], [-5, 1, 0], [1, 1, 1]),
        ([0, 2, 1], [-5, 0, 5], [1, 1, 1]),
        ([0, 1, 2], [-5, 0, 5], [1, 0, 1]),
        ([0, 1, 2], [-5, np.nan, 5], [1, 1, 1]),
        ([0, 1], [-5, 0, 5], [1, 1, 1]),
    ],
)
def test_refuses_a_map_that_is_not_monotone(arrays):
    with pytest.raises(ValueError, match=r"monotone|finite|shape"):
        Projection("smooth", *(np.array(a, dtype=float) for a in arrays))
