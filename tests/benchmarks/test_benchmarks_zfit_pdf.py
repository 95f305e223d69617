"""The benchmark of the zfit PDF: its pieces measure what they say, and see what is wrong."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import zfit
import zfit_pdf as benchmark
import zfit_pdf_toys as toys

from zfit_egmm import Density, EventSample, MixtureSettings, Observable, TrainingConfig, train
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.demo import toy
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.families.egmm.networks import SmoothNetwork
from zfit_egmm.pdf import EGMM


@pytest.fixture(scope="module")
def small_density() -> Density:
    """The observables of the toy, small networks with random weights."""
    rng = np.random.default_rng(4)
    sample = toy.grid_sample(100, seed=1)
    network, ranges = SmoothNetwork((6, 4), 3), ((-5.0, 5.0),) * 4
    scaling = ThetaScaling.from_values(sample.theta)
    projections = tuple(build_projection(one, sample.column(one.name)) for one in sample.observables)
    autoregressive = Autoregressive(sample.observables, network, scaling.n_theta, ranges, projections)
    weights = autoregressive.initial_weights(rng)
    return MixtureDensity(
        sample.observables,
        sample.theta_names,
        scaling,
        network=network,
        projections=projections,
        latent_ranges=ranges,
        weights=[{name: value + 0.1 * rng.normal(size=value.shape) for name, value in one.items()} for one in weights],
    )


@pytest.fixture
def small_pdf(small_density) -> EGMM:
    params = toys.parameters(small_density, benchmark.POINT, "small")
    return EGMM(small_density, params=params, tolerance=1e-3)


@pytest.fixture(scope="module")
def shift_density() -> Density:
    """Two correlated observables that theta shifts, learned."""
    rng = np.random.default_rng(2)
    theta = rng.uniform(-1, 1, 6000)
    first = rng.normal(0.8 * theta, 0.8)
    x = np.stack([first, rng.normal(0.5 * first + 0.3 * theta, 0.7)], axis=1)
    is_inside = np.all(np.abs(x) < 4, axis=1)
    observables = [Observable("a", -4, 4), Observable("b", -4, 4)]
    sample = EventSample(observables, x[is_inside], theta=theta[is_inside, np.newaxis], theta_names=("shift",))
    return train(
        sample,
        TrainingConfig.preset("fast", seed=1, epochs=8, model=MixtureSettings(SmoothNetwork((12,), 4))),
        progress=False,
    )


def test_times_are_medians_of_turns():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.02)

    fast_s, slow_s = benchmark.median_times([lambda: calls.append("fast"), slow], 4)
    assert calls == ["fast", "slow"] + ["fast", "slow", "slow", "fast"] * 2
    assert fast_s < 0.005
    assert slow_s >= 0.02


def test_overhead_compares_equal_densities(small_density, small_pdf, monkeypatch):
    x = small_density.sample(200, benchmark.POINT, seed=1)
    result = benchmark.overhead(small_pdf, x, 3)
    assert result["difference"] < 1e-9
    assert 0 < result["bare_s"] < 1
    assert result["ratio"] == pytest.approx(result["pdf_s"] / result["bare_s"])

    own = small_pdf.pdf
    monkeypatch.setattr(small_pdf, "pdf", lambda data: 1.01 * own(data))
    assert benchmark.overhead(small_pdf, x, 1)["difference"] == pytest.approx(0.01)


def test_the_fallback_of_zfit_finds_the_same_integral_with_other_points(small_density, small_pdf):
    zfit.settings.set_verbosity(-1)
    small_pdf.update_integration_options(max_draws=100_000, tol=1e-3)
    result = benchmark.integral_speed(small_pdf, toys.sub_space(small_density, *toys.SUB_BOX), 1)
    assert 0 < abs(result["integral_difference"]) < 0.01
    assert result["integral_speedup"] == pytest.approx(result["numeric_integral_s"] / result["integral_s"])
    assert result["integral_stated_error"] < 1e-3
    assert result["integral_n_points"] >= 256


def test_boxes_hold_fractions_of_all_sizes(small_density):
    boxes = list(benchmark.random_boxes(small_density, benchmark.POINT, 12, seed=3))
    counted = benchmark.counted_fractions(small_density, benchmark.POINT, boxes, 200_000, seed=1)
    expected = np.geomspace(benchmark.LARGEST_FRACTION, benchmark.SMALLEST_FRACTION, 12)
    is_large = expected > 1e-3
    assert np.all(np.abs(np.log(counted[is_large] / expected[is_large])) < np.log(1.3))
    assert np.all(counted[expected < 1e-5] < 1e-4)
    limits = np.array([one.limits for one in small_density.observables])
    for low, high in boxes:
        assert np.all((limits[:, 0] <= low) & (low < high) & (high <= limits[:, 1]))


def test_counts_do_not_depend_on_the_box_and_differ_between_chunks(small_density, monkeypatch):
    monkeypatch.setattr(benchmark, "CHUNK", 1000)
    low, high = np.array([one.limits for one in small_density.observables]).T
    half = np.median(small_density.sample(20_000, benchmark.POINT, seed=5)[:, 0])
    boxes = [(low, high), (low, np.array([half, *high[1:]]))]
    fractions = benchmark.counted_fractions(small_density, benchmark.POINT, boxes, 10_500, seed=1)
    assert fractions[0] == 1
    # Equal chunks would be a sample of a thousand, whose share is a multiple of a thousandth.
    assert fractions[1] == pytest.approx(0.5, abs=0.03)
    assert (fractions[1] * 10_500) % 10.5 > 0


def test_pulls_of_integrals_see_an_error(small_pdf, monkeypatch):
    monkeypatch.setattr(benchmark, "cut_patterns", lambda n: [np.arange(n) >= 2])
    right = benchmark.integral_pulls(small_pdf, 4, 100_000, seed=2)
    assert max(right["pulls"]) < 4.5
    assert 0 < right["worst_relative_error"] < 1e-3
    assert right["n_above_tolerance"] == 0
    own = small_pdf.integral_with_error

    def off(limits):
        found = own(limits)
        return SimpleNamespace(value=0.95 * found.value, error=found.error, n_points=found.n_points)

    monkeypatch.setattr(small_pdf, "integral_with_error", off)
    assert max(benchmark.integral_pulls(small_pdf, 4, 100_000, seed=2)["pulls"]) > 10


def test_a_pull_combines_both_errors():
    assert benchmark.pull(0.5, 0.0, 0.5 + 3 * 0.005, 10_000) == pytest.approx(3)
    assert benchmark.pull(0.5, 0.005, 0.5 - 3 * 0.005, 10_000) == pytest.approx(3 / np.sqrt(2))
    assert benchmark.pull(1e-9, 0.0, 0.0, 10_000) < 1e-3


def test_eight_observables_are_correlated_and_follow_theta():
    sample = benchmark.eight_sample(20_000, 0)
    assert sample.x.shape[1] == benchmark.N_EIGHT
    assert sample.n_events > 19_000
    correlations = np.corrcoef(sample.x, rowvar=False)
    assert correlations[1, 2] == pytest.approx(0.6, abs=0.03)
    assert np.corrcoef(sample.x[:, 0], sample.theta[:, 0])[0, 1] > 0.2


def test_toys_of_a_truncated_pdf(shift_density):
    result = toys.fit_toys(shift_density, (0.2,), 6, 0, tolerance=1e-3, limits=((-1.5, -2.0), (2.0, 1.8)))
    assert 0.5 < result["truncated_fraction"] < 0.99
    assert (result["n_failed"], result["n_at_limit"]) == (0, {"shift": 0})
    mean, error = result["truncated_pull_mean"]["shift"]
    width, width_error = result["truncated_pull_width"]["shift"]
    assert abs(mean) < 2
    assert error == pytest.approx(width / np.sqrt(6))
    assert width_error == pytest.approx(width / np.sqrt(10))
    # Equal toys would have no width.
    assert 0.2 < width < 2.5
    assert result["traces_of_first"] > 0
    assert result["retraces_after_first"] == 0
    assert abs(result["memory_growth_mb_per_toy"]) < 20


def test_traces_are_counted_and_python_in_between_as_well(shift_density):
    x, theta = tf.zeros((5, 2), tf.float64), tf.zeros(1, tf.float64)
    traced = tf.function(shift_density.log_prob_tensor, autograph=False)
    with toys.TraceCounter(shift_density) as counter:
        counts = []
        for events in (x, x, x[:3]):
            traced(events, theta)
            counts.append(counter.count)
        assert counts == [1, 1, 2]
        shift_density.log_prob_tensor(x, theta)
        assert counter.count == 3
    shift_density.log_prob_tensor(x, theta)
    assert counter.count == 3


def test_growth_is_that_of_the_second_half():
    assert toys.growth([0, 50, 90, 100, 102, 104, 106, 108]) == pytest.approx(2)
    assert toys.resident_mb() > 50


def test_pulls_need_an_error_and_limits_are_seen():
    parameter = zfit.Parameter("at_limit", 0.5, -1, 1)
    for value, entry, expected in [
        (0.5, {"hesse": {"error": 0.1}}, 3.0),
        (0.999, {}, None),
        (0.5, {"hesse": {"error": None}}, None),
    ]:
        result = SimpleNamespace(params={parameter: {"value": value, **entry}})
        (pull,) = toys.pulls_of(result, [parameter], [0.2])
        assert np.isnan(pull) if expected is None else pull == pytest.approx(expected)
        assert toys.is_at_limit(result, parameter) == (value == 0.999)
