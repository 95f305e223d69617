"""What every density must satisfy, whatever its observables, parameters and network."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import tensorflow as tf
from box_integral import integral_over_the_box
from scipy.integrate import quad

from zfit_egmm import EventSample, Observable, SmoothNetwork, TrainingConfig, train
from zfit_egmm.families.egmm.networks import categorical_conditioner, mixture_conditioner


def _box(density):
    return np.array([observable.limits for observable in density.observables])


def test_integrates_to_one_by_quadrature_in_one_dimension(plain_density):
    knots = plain_density.projections[0].knots_x
    pieces = itertools.pairwise([*knots[:-1:8], knots[-1]])
    total = sum(quad(lambda x: np.exp(plain_density.log_prob([[x]])[0]), a, b, epsabs=1e-13)[0] for a, b in pieces)
    assert abs(total - 1) < 1e-8


@pytest.mark.statistical
@pytest.mark.parametrize(("name", "m"), [("toy", 18), ("h4l", 14), ("mixed", 15)])
def test_integrates_to_one_by_quasi_monte_carlo(name, m, request):
    density = request.getfixturevalue(f"{name}_density")
    theta = [0.6 * low + 0.4 * high for low, high in density.theta_range]
    estimates = [integral_over_the_box(density, theta, m, seed) for seed in range(8)]
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    # The error of a few scramblings is itself uncertain where the density has spikes at the ends of a range.
    assert error < 5e-4
    assert abs(np.mean(estimates) - 1) < min(1e-3, max(4 * error, 5e-4))


def test_integrates_to_one_on_a_grid(mixed_density):
    # Points placed on the latent axes resolve the ends of the ranges, where Sobol points are too few.
    first, last = mixed_density.projections[0], mixed_density.projections[2]
    n = 500
    u, step = (5 * values for values in np.polynomial.legendre.leggauss(n))
    x, z = first.physical(u).numpy(), last.physical(u).numpy()
    element = np.outer(step, step) / np.exp(first.latent(x)[1].numpy()[:, None] + last.latent(z)[1].numpy())
    total = 0.0
    for jets in range(4):
        rows = np.stack([np.repeat(x, n), np.full(n * n, float(jets)), np.tile(z, n)], axis=1)
        total += np.sum(np.exp(mixed_density.log_prob(rows, [-0.2])) * element.ravel())
    assert abs(total - 1) < 1e-6


def test_an_event_has_the_same_density_alone_in_a_batch_and_in_chunks(density, theta):
    x = density.sample(3000, theta, seed=1)
    together = density.log_prob(x, theta)
    alone = np.array([density.log_prob(x[[row]], theta)[0] for row in range(5)])
    point = tf.constant(theta)
    chunked = density.log_prob_tensor(tf.constant(x), point, chunk_size=700).numpy()
    assert np.allclose(alone, together[:5], atol=1e-12, rtol=0)
    assert np.allclose(chunked, together, atol=1e-12, rtol=0)


def test_theta_per_event_equals_theta_for_all(density, theta):
    x = density.sample(100, theta, seed=1)
    if not len(theta):
        pytest.skip("this density has no parameters")
    rows = np.tile(theta, (100, 1))
    assert np.allclose(density.log_prob(x, rows), density.log_prob(x, theta), atol=1e-12, rtol=0)
    # Events are drawn with networks in single precision.
    assert np.allclose(density.sample(100, rows, seed=4), density.sample(100, theta, seed=4), rtol=1e-4)


def test_events_are_drawn_from_nearly_the_density_that_is_evaluated(density, theta):
    # Drawn with networks in single precision, evaluated in double; the densities differ by what this asks for.
    x = density.sample(5000, theta, seed=1)
    single = [{name: tf.cast(value, tf.float32) for name, value in factor.items()} for factor in density._constants]
    u, log_jacobian = density.latent(tf.constant(x))
    inputs, places = density.inputs(tf.constant(theta)), tf.constant(density.latent_map.places(x))
    log_prob = sum(density.autoregressive.log_densities(single, inputs, u, places)) + log_jacobian
    difference = log_prob.numpy() - density.log_prob(x, theta)
    assert 0 < np.sqrt(np.mean(difference**2)) < 1e-5


def test_theta_changes_the_density(density, theta):
    if not len(theta):
        pytest.skip("this density has no parameters")
    x = density.sample(200, theta, seed=1)
    other = [low for low, _ in density.theta_range]
    assert np.abs(density.log_prob(x, theta) - density.log_prob(x, other)).max() > 1e-3


@pytest.mark.parametrize("chunk_size", [10_000, 300])
def test_gradients_agree_with_finite_differences(density, theta, chunk_size):
    if not len(theta):
        pytest.skip("this density has no parameters")
    x = tf.constant(density.sample(1000, theta, seed=2))
    point = tf.constant(theta)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = tf.reduce_sum(density.log_prob_tensor(x, point, chunk_size=chunk_size))
    slope = tape.gradient(value, point).numpy()
    for number, (low, high) in enumerate(density.theta_range):
        step = 1e-4 * (high - low)
        up, down = (np.where(np.arange(len(theta)) == number, theta + s, theta) for s in (step, -step))
        numerical = (density.log_prob(x.numpy(), up).sum() - density.log_prob(x.numpy(), down).sum()) / (2 * step)
        assert slope[number] == pytest.approx(numerical, rel=1e-5, abs=1e-4)


def test_gradient_per_event_in_chunks_equals_the_direct_one(toy_density):
    rows = tf.constant(np.random.default_rng(0).uniform(-1, 1, (500, 2)))
    x = tf.constant(toy_density.sample(500, rows.numpy(), seed=3))
    slopes = []
    for chunk_size in (1000, 130):
        with tf.GradientTape() as tape:
            tape.watch([rows, x])
            value = toy_density.log_prob_tensor(x, rows, chunk_size=chunk_size)
        slopes.append([slope.numpy() for slope in tape.gradient(value, [rows, x])])
    for direct, chunked in zip(*slopes, strict=True):
        assert np.allclose(direct, chunked, atol=1e-10)


def test_public_log_prob_is_differentiable_with_tensors(toy_density):
    point = tf.constant([0.1, -0.2], tf.float64)
    x = toy_density.sample(10, [0.1, -0.2], seed=1)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = toy_density.log_prob(x, point)
    assert tf.is_tensor(value)
    assert np.allclose(value.numpy(), toy_density.log_prob(x, point.numpy()), atol=1e-12)
    assert np.all(np.isfinite(tape.gradient(value, point).numpy()))


def test_compiles_with_xla_with_its_gradient(density, theta):
    x = tf.constant(density.sample(300, theta, seed=1))

    @tf.function(jit_compile=True)
    def value_and_slope(x, point):
        with tf.GradientTape() as tape:
            tape.watch(point)
            value = density.log_prob(x, point)
        return value, tape.gradient(value, point, unconnected_gradients="zero")

    value, slope = value_and_slope(x, tf.constant(theta))
    assert np.allclose(value.numpy(), density.log_prob(x.numpy(), theta), atol=1e-9)
    assert np.all(np.isfinite(slope.numpy()))


def test_is_minus_infinity_outside_and_finite_at_the_edges(density, theta):
    low, high = _box(density).T
    inside = density.sample(1, theta, seed=1)
    for number in range(len(low)):
        for edge, step in ((low, -1e-6), (high, 1e-6)):
            x = inside.copy()
            x[0, number] = edge[number]
            assert np.isfinite(density.log_prob(x, theta)).all()
            x[0, number] += step * (high - low)[number]
            assert density.log_prob(x, theta)[0] == -np.inf


def test_samples_lie_inside_and_repeat_with_the_seed(density, theta):
    x = density.sample(5000, theta, seed=7)
    for column, observable in zip(x.T, density.observables, strict=True):
        assert not observable.outside(column).any()
        if observable.is_discrete:
            assert np.array_equal(column, np.round(column))
    assert np.array_equal(x, density.sample(5000, theta, seed=7))
    assert not np.array_equal(x, density.sample(5000, theta, seed=8))
    assert density.sample(0, theta).shape == (0, len(density.observables))


def test_saved_and_loaded_density_is_the_same(density, theta, tmp_path):
    path = density.save(tmp_path / "model.egmm")
    loaded = type(density).load(path)
    x = density.sample(500, theta, seed=1)
    assert np.abs(loaded.log_prob(x, theta) - density.log_prob(x, theta)).max() < 1e-12
    assert loaded.observables == density.observables
    assert loaded.theta_names == density.theta_names
    assert loaded.theta_range == density.theta_range


@pytest.mark.parametrize(
    ("x", "theta", "message"),
    [
        (np.zeros(4), [0, 0], "shape"),
        (np.zeros((2, 3)), [0, 0], r"\(n_events, 4\)"),
        (np.full((2, 4), np.nan), [0, 0], "NaN"),
        (np.zeros((2, 4)), None, "cx, cy"),
        (np.zeros((2, 4)), [0], "cx"),
        (np.zeros((2, 4)), np.zeros((3, 2)), "expected theta"),
        (np.zeros((2, 4)), [np.inf, 0], "infinite"),
    ],
)
def test_bad_input_is_explained(toy_density, x, theta, message):
    with pytest.raises(ValueError, match=message):
        toy_density.log_prob(x, theta)


def test_extrapolation_warns_once(toy_density):
    density = pickle.loads(pickle.dumps(toy_density))
    x = density.sample(2, [0, 0], seed=1)
    with pytest.warns(UserWarning, match=r"trained range \[-1, 1\]"):
        density.log_prob(x, [3.0, 0.0])
    density.log_prob(x, [3.0, 0.0])


def test_paper_network_has_the_published_size_and_trains(toy_sample):
    config = TrainingConfig.preset("paper-toy", epochs=1, batch_size=2000)
    density = train(toy_sample.select(slice(0, None, 2)), config, progress=False)
    sizes = [sum(value.size for value in factor.values()) for factor in density.weights]
    assert sizes == [18_090, 54_770, 68_940, 84_750]
    x = density.sample(200, [0.1, 0.1], seed=1)
    assert np.all(np.isfinite(density.log_prob(x, [0.1, 0.1])))


def test_twelve_observables():
    rng = np.random.default_rng(0)
    sample = EventSample([Observable(f"x{n}", 0, 1) for n in range(12)], rng.random((2000, 12)))
    density = train(sample, TrainingConfig.preset("fast", epochs=5), progress=False)
    assert np.mean(density.log_prob(rng.random((2000, 12)))) == pytest.approx(0, abs=1.0)


def test_the_first_observable_has_one_layer():
    network = SmoothNetwork(hidden=(8, 7, 6, 5), n_components=3)
    first, second = (mixture_conditioner(network, 1, n, (-5.0, 5.0)).layers.hidden for n in (0, 1))
    assert (first, second) == ((8,), (8, 7, 6, 5))
    assert categorical_conditioner(network, 1, 0, 4).hidden == (8,)
