from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import cumulative_trapezoid

from zfit_egmm import Observable
from zfit_egmm.coordinates.latent_target import ALPHA, BETA, GAMMA, LatentTarget
from zfit_egmm.coordinates.projection import Projection, build_projection

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
    assert np.abs(LatentTarget().cdf(u) - cdf / cdf[-1]).max() < 1e-7
    assert np.allclose(LatentTarget().density(u), published / cdf[-1], rtol=1e-6)


TARGETS = [LatentTarget(low, high) for low in (False, True) for high in (False, True)]


@pytest.mark.parametrize("target", TARGETS)
def test_target_quantile_inverts_the_cdf(target):
    u = np.linspace(-5, 5, 10_001)
    assert np.abs(target.quantile(target.cdf(u)) - u).max() < 1e-9
    assert np.allclose(target.cdf(np.array([-5.0, 5.0])), [0, 1], rtol=0, atol=1e-15)


@pytest.mark.parametrize("target", TARGETS)
def test_target_density_is_the_derivative_of_its_cdf(target):
    u = np.linspace(-5, 5, 20_001)
    cdf = cumulative_trapezoid(target.density(u), u, initial=0)
    assert np.abs(cdf - target.cdf(u)).max() < 1e-7


@pytest.mark.parametrize("target", TARGETS)
def test_target_falls_off_only_where_it_is_soft(target):
    low, middle, high = target.density(np.array([-5.0, 0.0, 5.0]))
    assert (low < 1e-2 * middle) == target.is_soft_low
    assert (high < 1e-2 * middle) == target.is_soft_high
    assert np.isclose(target.density(np.array([-1.0]))[0], middle, rtol=1e-3)


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
    x = -np.log(1 - rng.random(N) * -np.expm1(-3)) / 3
    u = build_projection(observable, x, kind=kind).latent(x)[0].numpy()
    counts, edges = np.histogram(u, bins=20, range=(-5, 5))
    is_published = kind == "linear"
    expected = N * np.diff(LatentTarget(is_published, is_published).cdf(edges))
    inner = expected > 0.8 * expected.max()
    assert np.abs(counts[inner] / expected[inner] - 1).max() < 0.1


@pytest.mark.parametrize("n", [400, 5_000, N])
@pytest.mark.parametrize(
    ("quantile", "is_soft"),
    [
        (lambda i: i, (False, False)),
        (np.sqrt, (True, False)),
        (lambda i: 1 - np.sqrt(i), (False, True)),
        (lambda i: 0.3 + 0.4 * i, (False, False)),
    ],
    ids=["flat", "rises from zero", "falls to zero", "far from the ends"],
)
def test_ends_are_soft_where_the_density_vanishes_just_there(quantile, is_soft, n):
    x = quantile((np.arange(n) + 0.5) / n)
    projection = build_projection(Observable("x", 0, 1, linear_fraction=0.5), x)
    share = np.diff(np.interp([-5, -4.5, 4.5, 5], projection.knots_u, projection.knots_x))[[0, 2]]
    # A soft end squeezes the last tenth of the latent axis into far less than a hundredth of the range.
    assert ((share < 0.01) == is_soft).all()


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
