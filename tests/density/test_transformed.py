"""Densities learned in functions of the observables: exact at diagonal boundaries, and normalised."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorflow as tf
from box_integral import integral_over_the_box
from scipy.stats import kstest, qmc

from zfit_egmm import (
    Density,
    Difference,
    EventSample,
    Fraction,
    Log,
    Observable,
    Ratio,
    Rotation,
    SmoothNetwork,
    TrainingConfig,
    archive,
    train,
)
from zfit_egmm.archive import ModelFileError
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.coordinates.transformation import Transformation
from zfit_egmm.density.composed.transformed import TransformedDensity
from zfit_egmm.density.files import FORMAT_VERSION
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.density import MixtureDensity

OBSERVABLES = (Observable("m", 5, 15, unit="GeV"), Observable("a", 1, 15), Observable("b", 1, 15))
STEPS = {
    "fraction": (Fraction("a", high="m - 1"), Fraction("b", high="m - a")),
    "difference": (Fraction("a", high="0.9 * m"), Difference("b", "m", high=0)),
    "ratio": (Log("m"), Ratio("a", "m", high=1), Ratio("b", "a")),
}
BEYOND = {
    "fraction": lambda m, a, b: (a > m - 1) | (b > m - a),
    "difference": lambda m, a, b: (a > 0.9 * m) | (b > m),
    "ratio": lambda m, a, _: a > m,
}
THETA = [0.3]


def mixture_of(observables, seed: int) -> MixtureDensity:
    """A mixture with random weights and nearly straight maps to the latent axes."""
    rng = np.random.default_rng(seed)
    network = SmoothNetwork(hidden=(6, 5), n_components=3)
    scaling = ThetaScaling(((-1.0, 1.0),))
    projections = tuple(build_projection(one, rng.uniform(one.low, one.high, 3000)) for one in observables)
    ranges = ((-4.5, 4.5),) * len(observables)
    networks = Autoregressive(tuple(observables), network, 1, ranges, projections)
    weights = [
        {name: value + 0.3 * rng.normal(size=value.shape).astype(np.float32) for name, value in part.items()}
        for part in networks.initial_weights(rng)
    ]
    return MixtureDensity(
        observables, ("t",), scaling, network=network, projections=projections, latent_ranges=ranges, weights=weights
    )


@pytest.fixture(scope="module", params=list(STEPS))
def case(request) -> tuple[str, TransformedDensity]:
    transformation = Transformation(OBSERVABLES, STEPS[request.param])
    return request.param, TransformedDensity(mixture_of(transformation.target, 1), transformation)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """Points that fill the box evenly."""
    low, high = np.array([one.limits for one in OBSERVABLES]).T
    return low + (high - low) * qmc.Sobol(3, rng=1).random_base2(17)


VOLUME = 10 * 14 * 14
LOW, HIGH = np.array([8.0, 2.0, 1.0]), np.array([12.0, 7.0, 4.0])


def test_nothing_lies_beyond_and_the_integral_is_one(case, points):
    name, density = case
    p = np.exp(density.log_prob(points, THETA))
    assert np.all(p[BEYOND[name](*points.T)] == 0)
    estimates = [integral_over_the_box(density, THETA, 14, seed) for seed in range(4)]
    # A density without the masses between limits misses by more than a tenth.
    assert np.mean(estimates) == pytest.approx(1, abs=max(4 * np.std(estimates), 5e-3))
    assert np.std(estimates) < 0.01
    events = density.sample(20_000, THETA, seed=1)
    assert not BEYOND[name](*events.T).any()
    low, high = density.axes.box
    assert np.all((events >= low) & (events <= high))


def test_without_the_masses_between_limits_the_integral_is_wrong(monkeypatch):
    transformation = Transformation(OBSERVABLES, STEPS["difference"])
    density = TransformedDensity(mixture_of(transformation.target, 1), transformation)
    monkeypatch.setattr(density, "_leaking", [])
    assert abs(integral_over_the_box(density, THETA, 14, 0) - 1) > 0.1


def test_parts_of_the_box_marginals_and_events_follow_the_density(case, points):
    _, density = case
    p = np.exp(density.log_prob(points, THETA)) * VOLUME
    expected = np.mean(p * np.all((points >= LOW) & (points <= HIGH), axis=1))
    found = density.box_mass(LOW, HIGH, THETA, tolerance=1e-3)
    assert found.error < 2e-3 * found.value
    assert float(found.value) == pytest.approx(expected, abs=3e-3)
    events = density.sample(20_000, THETA, seed=2)
    share = np.all((events >= LOW) & (events <= HIGH), axis=1).mean()
    assert abs(share - float(found.value)) < 4 * np.sqrt(share / 20_000)
    marginal = density.marginal_prob(["b"], [[3.0]], THETA, tolerance=1e-2)
    at = points.copy()
    at[:, 2] = 3.0
    reference = np.exp(density.log_prob(at, THETA)).mean() * VOLUME / 14
    assert float(marginal.value[0]) == pytest.approx(reference, rel=0.03)


def test_events_in_a_region_stay_in_it_and_beyond_no_limit(case):
    name, density = case
    rng = np.random.default_rng(0)
    region = density.region(LOW, HIGH)
    events = region.sample(3000, tf.constant(THETA, tf.float64), lambda shape: tf.constant(rng.random(shape))).numpy()
    assert np.all((events >= LOW) & (events <= HIGH))
    assert not BEYOND[name](*events.T).any()


@pytest.mark.statistical
def test_events_map_to_uniform_numbers(case):
    _, density = case
    events = density.sample(10_000, THETA, seed=3)
    uniform = density.to_uniform(events, THETA)
    assert min(kstest(column, "uniform").pvalue for column in uniform.T) > 1e-3
    # A shift of all events by a hundredth of their range is seen.
    shifted = density.to_uniform(np.clip(events - [0, 0, 0.14], *density.axes.box), THETA)
    assert kstest(shifted[:, 2], "uniform").pvalue < 1e-3


def test_gradients_are_those_of_differences(case):
    _, density = case
    x = tf.constant(density.sample(500, THETA, seed=4))
    point = tf.constant(THETA, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = tf.reduce_sum(density.log_prob_tensor(x, point))
    step = 1e-5
    up, down = (density.log_prob(x.numpy(), [THETA[0] + s]).sum() for s in (step, -step))
    assert float(tape.gradient(value, point)[0]) == pytest.approx((up - down) / (2 * step), rel=1e-5)


def test_files_pickles_and_fingerprints(case, tmp_path):
    _, density = case
    events = density.sample(200, THETA, seed=5)
    for other in (Density.load(density.save(tmp_path / "model.egmm")), pickle.loads(pickle.dumps(density))):
        assert other.fingerprint == density.fingerprint
        assert np.array_equal(other.log_prob(events, THETA), density.log_prob(events, THETA))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((Fraction("b", high="m - a"),), r"no value of b is allowed where m = .*; limit these observables too"),
        ((Fraction("a", high="m - b"),), r"b must come before a"),
        ((Fraction("a", high="m - x"),), r"no observable 'x'; there are: m, a, b"),
        ((Log("a"), Ratio("a", "m")), r"'a' is replaced by two steps"),
        ((Log("a", offset=2),), r"undefined at the lower end 1 of its range"),
        ((Ratio("b", "a", low=20),), r"the range \[20, 15\] of Ratio"),
        ((), r"at least one step"),
    ],
)
def test_steps_that_make_no_sense_are_refused(steps, message):
    with pytest.raises(ValueError, match=message):
        Transformation(OBSERVABLES, steps)


@pytest.mark.parametrize("text", ["m a", "m ** 2", "m - ", "(m)", "2 m m"])
def test_limits_that_are_no_sums_are_refused(text):
    with pytest.raises(ValueError, match="is no sum of observables and numbers"):
        Fraction("b", high=text)


def test_events_beyond_a_limit_are_named():
    x = np.array([[10.0, 4.0, 3.0], [10.0, 4.0, 7.0]])
    with pytest.raises(ValueError, match=r"1 of 2 events lie beyond .*, the first at row 1 with m = 10, a = 4, b = 7"):
        Transformation(OBSERVABLES, STEPS["fraction"]).check(x)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"kind": "exec", "name": "a"}], r"unknown transformation 'exec'; there are: log, fraction"),
        ([{"kind": "log", "name": "a", "shift": 1}], "shift"),
        ([{"kind": "fraction", "name": "a", "high": "m - 2"}], "the base describes"),
    ],
)
def test_files_with_other_steps_are_refused(steps, message, tmp_path):
    density = TransformedDensity(
        mixture_of(Transformation(OBSERVABLES, (Log("a"),)).target, 1), Transformation(OBSERVABLES, (Log("a"),))
    )
    manifest, arrays = archive.read(density.save(tmp_path / "a.egmm"), kind="density", version=FORMAT_VERSION)
    manifest["state"]["steps"] = steps
    for key in ("producer", "kind", "format_version"):
        manifest.pop(key)
    path = archive.write(tmp_path / "b.egmm", manifest, arrays, kind="density", version=FORMAT_VERSION)
    with pytest.raises(ModelFileError, match=message):
        Density.load(path)


# With trainings


@pytest.mark.statistical
def test_z_masses_below_the_mass_of_four_leptons(h4l_mass_events):
    """The boundary is exact, and the held-out likelihood better by what lay beyond it."""
    held, training = h4l_mass_events.split(0.3, 0.7, seed=1)
    config = TrainingConfig.preset("fast", seed=1, epochs=6)
    steps = (Fraction("mz1", high="m4l - 12"), Fraction("mz2", high="m4l - mz1"))
    plain, exact = (
        train(training, TrainingConfig.preset("fast", seed=1, epochs=6, transform=transform), progress=False)
        for transform in ((), steps)
    )
    assert exact.observables == plain.observables == h4l_mass_events.observables
    assert exact.training["config"]["seed"] == config.seed
    beyond = {}
    for name, density in (("plain", plain), ("exact", exact)):
        m4l, mz1, mz2 = density.sample(50_000, seed=2).T
        beyond[name] = np.mean(mz1 + mz2 > m4l)
    assert beyond["exact"] == 0 < beyond["plain"]
    assert exact.log_prob([[120.0, 100.0, 25.0]])[0] == -np.inf < plain.log_prob([[120.0, 100.0, 25.0]])[0]
    gain = exact.log_prob(held.x) - plain.log_prob(held.x)
    assert gain.mean() > -2 * gain.std() / np.sqrt(len(gain))


@pytest.fixture(scope="module")
def h4l_mass_events() -> EventSample:
    from importlib.resources import files

    observables = [
        Observable("m4l", 105, 140, unit="GeV", linear_fraction=0.2),
        Observable("mz1", 40, 120, unit="GeV", linear_fraction=0.2),
        Observable("mz2", 12, 65, unit="GeV"),
    ]
    path = str(files("zfit_egmm") / "data" / "h4l_demo.root")
    sample = EventSample.from_root(path, "signal", observables, cut="(mz2 < 65) & (mz1 + mz2 < m4l)")
    return sample.select(slice(0, 20_000))


@pytest.mark.statistical
def test_a_rotation_takes_out_correlations_and_keeps_ends():
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0], [[1, 0.98], [0.98, 1]], 8000)
    x = np.stack([np.tanh(z[:, 0]), np.exp(0.3 * z[:, 1]).clip(0, 4)], axis=1)
    sample = EventSample([Observable("u", -1, 1), Observable("v", 0, 4)], x)
    rotation = Rotation(("u", "v")).fitted(sample.observables, sample.x, sample.weights)
    y, log_slope, _ = (part.numpy() for part in rotation.forward(tf.constant(x)))
    assert abs(np.corrcoef(y.T)[0, 1]) < 1e-9
    assert rotation.inverse(tf.constant(y)).numpy() == pytest.approx(x, abs=1e-6)
    with tf.GradientTape() as tape:
        point = tf.constant(x[:50])
        tape.watch(point)
        moved = rotation.forward(point).y
    jacobian = tape.batch_jacobian(moved, point).numpy()
    assert log_slope[:50] == pytest.approx(np.log(np.abs(np.linalg.det(jacobian))), abs=1e-6)
    config = TrainingConfig.preset("fast", seed=1, epochs=4, transform=Rotation(("u", "v")))
    density = train(sample, config, progress=False)
    events = density.sample(20_000, seed=1)
    assert np.all((events >= [-1, 0]) & (events <= [1, 4]))
    assert np.corrcoef(events.T)[0, 1] == pytest.approx(np.corrcoef(x.T)[0, 1], abs=0.06)
    with pytest.raises(TypeError, match="no conditional distributions"):
        density.to_uniform(events)


def test_a_difference_needs_conditionals():
    transformation = Transformation(OBSERVABLES, (Difference("b", "m", high=0),))
    base = mixture_of(transformation.target, 1)
    rotation = Rotation(("m", "a")).fitted(base.observables, base.sample(2000, THETA, seed=1), np.ones(2000))
    without = TransformedDensity(mixture_of(rotation.target, 2), rotation)
    with pytest.raises(ValueError, match=r"the limits of b depend on other observables.*use Fraction"):
        TransformedDensity(without, transformation)
