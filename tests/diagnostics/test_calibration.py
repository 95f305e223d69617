from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from builders import random_density
from gaussian_density import GaussianDensity, events
from known_density import KnownDensity
from scipy import stats
from scipy.integrate import cumulative_trapezoid

from zfit_egmm import EventSample, Observable
from zfit_egmm.density.axes import Axes
from zfit_egmm.diagnostics.shapes.coverage import highest_density_coverage
from zfit_egmm.diagnostics.shapes.transforms import calibration
from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare, smallest_of
from zfit_egmm.diagnostics.statistics.slices import theta_slices
from zfit_egmm.diagnostics.statistics.smooth import polynomials, uniformity_test

RIGHT = GaussianDensity(correlation=0.3)
DISTORTED = {
    "width 5 %": (RIGHT, GaussianDensity(correlation=0.3, width=1.05)),
    "shift 2 %": (RIGHT, GaussianDensity(correlation=0.3, shift=0.02)),
    "correlation 0.05": (GaussianDensity(correlation=0.35), RIGHT),
    "tail 1 %": (GaussianDensity(correlation=0.3, tail=0.01), RIGHT),
    "slope 10 %": (RIGHT, GaussianDensity(correlation=0.3, slope=0.45)),
}


# The transform itself.


def _integrated(density, row, axis, theta):
    """Probability below the value of the last axis given those before, by an integral of the density itself."""
    # A grid that is equidistant on the latent axis resolves the ends of the range.
    grid = density.projections[axis].physical(np.linspace(-5, 5, 40_001)).numpy()
    rows = np.tile(row, (len(grid), 1))
    rows[:, axis] = grid
    cdf = cumulative_trapezoid(np.exp(density.log_prob(rows, theta)), grid, initial=0)
    return np.interp(row[axis], grid, cdf / cdf[-1])


def test_the_transform_is_the_integral_of_the_density(plain_density):
    x = np.array([[0.3], [2.0], [5.5], [9.9]])
    expected = [_integrated(plain_density, row, 0, None) for row in x]
    np.testing.assert_allclose(plain_density.to_uniform(x)[:, 0], expected, atol=1e-6)


def test_the_transform_of_the_last_observable_is_a_conditional_integral():
    density = random_density()
    x = density.sample(5, [0.7], seed=1)
    expected = [_integrated(density, row, 2, [0.7]) for row in x]
    np.testing.assert_allclose(density.to_uniform(x, [0.7])[:, 2], expected, atol=1e-6)


def test_discrete_values_take_a_random_place_in_their_jump():
    density = random_density()
    x = np.tile([130.0, 2.0, 0.1], (4000, 1))
    grid = np.linspace(-2, 2, 4001)
    shares = []
    for jets in range(4):
        rows = np.column_stack([np.full((4001, 1), 130.0), np.full((4001, 1), float(jets)), grid])
        shares.append(np.trapezoid(np.exp(density.log_prob(rows, [0.7])), grid))
    edges = np.cumsum(shares) / np.sum(shares)
    u = density.to_uniform(x, [0.7], seed=1)[:, 1]
    assert stats.kstest(u, stats.uniform(edges[1], edges[2] - edges[1]).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(u, density.to_uniform(x, [0.7], seed=1)[:, 1])
    assert not np.any(u == density.to_uniform(x, [0.7], seed=2)[:, 1])


def test_transforms_of_own_events_are_uniform_and_theta_may_differ_per_event():
    density = random_density()
    theta = np.random.default_rng(1).uniform(-0.9, 2.9, (20_000, 1))
    # The same seed, as both are likely to be zero.
    x = density.sample(20_000, theta, seed=3)
    u = density.to_uniform(x, theta, seed=3)
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    one = density.to_uniform(x[:3], theta[1], seed=3)
    np.testing.assert_allclose(one[1, [0, 2]], u[1, [0, 2]], atol=1e-12)
    # The theta of another event gives transforms that are not uniform.
    assert stats.kstest(density.to_uniform(x, theta[::-1], seed=3)[:, 0], "uniform").pvalue < 1e-6


@pytest.mark.parametrize(
    ("x", "theta", "message"),
    [
        (np.zeros((2, 2)), [0.0], "expected x of shape"),
        ([[99.0, 0.0, 0.0]], [0.0], "'mass': 1 of 1 values"),
        ([[120.0, 0.0, np.nan]], [0.0], "1 of 1 events hold NaN"),
        ([[120.0, 0.0, 0.0]], None, "depends on coupling; pass theta"),
        ([[120.0, 0.0, 0.0]], [[0.0], [1.0]], "expected theta"),
    ],
)
def test_bad_events_are_refused(x, theta, message):
    with pytest.raises(ValueError, match=message):
        random_density().to_uniform(x, theta)


def test_a_density_without_factors_is_refused():
    class Flat(KnownDensity):
        def _log_prob(self, x, theta):
            del theta
            return tf.zeros_like(x[:, 0])

    with pytest.raises(TypeError, match=r"Flat\(x\) has no conditional distributions"):
        Flat(Axes((Observable("x", 0, 1),))).to_uniform(np.zeros((1, 1)))


# The pieces of the tests.


def test_chi_square_of_means_leaves_out_what_is_certain():
    covariance = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    found = ChiSquare.of_means(np.array([1.0, 1.0, 2.0]), covariance)
    assert found.ndf == 2
    assert found.value == pytest.approx(2.0)
    assert found.p_value == pytest.approx(np.exp(-1.0))
    assert ChiSquare.of(0.0, 0).p_value == 1.0


def test_the_smallest_p_value_counts_how_many_there_were():
    assert smallest_of([0.3, 0.01, 0.8]) == pytest.approx(1 - 0.99**3)
    assert smallest_of([1e-300, 0.5]) == pytest.approx(2e-300)
    assert smallest_of([]) == smallest_of([1.0]) == 1.0


def test_polynomials_are_orthonormal():
    u = (np.arange(200_000) + 0.5) / 200_000
    values = polynomials(u, 6)
    np.testing.assert_allclose(values.T @ values / len(u), np.eye(6), atol=1e-6)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)


def test_known_and_estimated_covariance_agree():
    u, weights = np.random.default_rng(1).random(50_000), np.ones(50_000)
    known, estimated = (uniformity_test(u, weights, is_weighted=flag) for flag in (False, True))
    assert known.ndf == estimated.ndf == 8
    assert estimated.value == pytest.approx(known.value, rel=0.1)
    # Few events do not test tails.
    assert uniformity_test(u[:2000], weights[:2000], is_weighted=False).ndf == 6


def test_slices_are_grid_values_or_equal_parts():
    grid, free = (theta_slices(events(RIGHT, 3000, 1, kind=kind)) for kind in ("grid", "plain"))
    assert [part.label for part in grid] == ["theta = -1", "theta = 0", "theta = 1"]
    assert [part.mask.sum() for part in free] == [600] * 5
    assert np.all(sum(part.mask.astype(int) for part in free) == 1)
    assert free[0].label.startswith("theta -0.998 to -0.6")
    assert theta_slices(events(GaussianDensity(has_theta=False), 10, 1)) == ()


# The calibration.


@pytest.mark.parametrize("kind", ["plain", "grid", "weighted", "negative"])
@pytest.mark.parametrize("name", DISTORTED)
def test_a_right_model_passes_and_a_slightly_wrong_one_fails(name, kind):
    # With 100,000 events; the smallest excess is that of the shift, 0.02^2 * 100,000 = 40 for 8 degrees of freedom.
    # Of the weighted ones 60,000 remain, with the power of 40,000.
    truth, wrong = DISTORTED[name]
    sample = events(truth, 200_000 if kind == "weighted" else 100_000, 1, kind=kind)
    assert calibration(truth, sample).p_value > 0.01
    assert calibration(wrong, sample).p_value < 1e-3


def test_each_distortion_shows_where_it_is():
    found = {name: calibration(wrong, events(truth, 100_000, 2)) for name, (truth, wrong) in DISTORTED.items()}
    width, shift = (found[name].factors[0] for name in ("width 5 %", "shift 2 %"))
    assert width.width == pytest.approx(1 / 1.05, abs=4 * width.width_error)
    assert width.width_error < 0.004
    assert shift.shift == pytest.approx(-0.02, abs=4 * shift.shift_error)
    assert shift.binned.p_value < 0.05
    pair = found["correlation 0.05"].pairs[0]
    assert tuple(o.name for o in pair.observables) == ("x0", "x1")
    # The missing part of the correlation, in units of the conditional width.
    assert pair.correlation == pytest.approx(0.05, abs=4 * pair.error)
    assert pair.test.p_value < 1e-20
    assert found["correlation 0.05"].factors[0].smooth.p_value > 1e-3
    tail = found["tail 1 %"].factors[0]
    assert tail.tails[1] == pytest.approx(0.0195, abs=4 * tail.tail_errors[1] + 1e-3)
    assert tail.tails[0] == pytest.approx(0.01, abs=4 * tail.tail_errors[0])
    assert tail.smooth.p_value < 1e-20
    slope = found["slope 10 %"].thetas
    assert [(one.observable.name, one.theta_name) for one in slope] == [(f"x{k}", "theta") for k in range(3)]
    assert slope[0].test.p_value < 1e-10
    assert slope[1].test.p_value > 1e-3
    slices = [one for one in found["slope 10 %"].slices if one.observable.name == "x0"]
    # A fifth of the events each, with a shift of 0.05 times their mean theta of 0.8: about five errors.
    assert slices[0].shift < -3 * slices[0].shift_error
    assert slices[-1].shift > 3 * slices[-1].shift_error


def test_histograms_add_up_and_their_errors_are_binomial():
    sample = events(RIGHT, 10_000, 3)
    done = []
    factor = calibration(RIGHT, sample, progress=done.append).factors[1]
    assert factor.histogram.sum() == pytest.approx(1)
    np.testing.assert_allclose(factor.histogram_error, np.sqrt(0.05 * 0.95 / 10_000))
    assert factor.binned.ndf == 19
    # Without weights the binned test is Pearson's.
    pearson = stats.chisquare(10_000 * factor.histogram)
    assert (factor.binned.value, factor.binned.p_value) == pytest.approx((pearson.statistic, pearson.pvalue))
    assert done[-1] == 1
    assert done == sorted(done)


def test_weights_restore_a_distribution_that_is_not_uniform_without_them():
    sample = events(RIGHT, 20_000, 4, kind="weighted")
    bare = EventSample(sample.observables, sample.x, theta=sample.theta, theta_names=sample.theta_names)
    assert calibration(RIGHT, sample).p_value > 0.01
    assert calibration(RIGHT, bare).p_value < 1e-10


@pytest.mark.parametrize("n_observables", [1, 12])
def test_one_and_twelve_observables(n_observables):
    density = GaussianDensity(n_observables)
    found = calibration(density, events(density, 5000, 5))
    assert len(found.factors) == n_observables
    assert len(found.pairs) == n_observables * (n_observables - 1) // 2
    assert found.p_value > 0.01


def test_no_theta_and_a_single_theta_have_no_tests_of_theta():
    without = GaussianDensity(has_theta=False)
    found = calibration(without, events(without, 2000, 6))
    assert found.thetas == found.slices == ()
    one = EventSample(
        RIGHT.observables, RIGHT.sample(2000, [0.5], seed=1), theta=np.full((2000, 1), 0.5), theta_names=("theta",)
    )
    found = calibration(RIGHT, one)
    assert found.thetas == ()
    assert [part.slice.label for part in found.slices] == ["theta = 0.5"] * 3


def test_a_learned_density_is_calibrated_for_its_own_events(mixed_density, mixed_sample):
    x = mixed_density.sample(len(mixed_sample), mixed_sample.theta, seed=1)
    own = EventSample(mixed_sample.observables, x, theta=mixed_sample.theta, theta_names=mixed_sample.theta_names)
    found = calibration(mixed_density, own, seed=2)
    assert found.p_value > 0.01
    # A histogram of the discrete observable is uniform too.
    assert found.factors[1].binned.p_value > 1e-3


# Highest-density regions.


@pytest.mark.parametrize("kind", ["plain", "grid", "weighted", "negative"])
def test_coverage_is_right_for_a_right_model_and_wrong_for_a_narrow_one(kind):
    # With 20,000 events a width wrong by 10 % in one of three observables moves the middle coverage by 0.015.
    sample = events(RIGHT, 20_000, 7, kind=kind)
    done = []
    right, *parts = highest_density_coverage(RIGHT, sample, copies=9, seed=1, progress=done.append)
    assert right.slice is None
    assert right.test.p_value > 0.01
    assert np.all(np.abs(right.observed - right.levels) < 4.5 * right.error)
    assert len(parts) == (3 if kind == "grid" else 5)
    assert min(part.test.p_value for part in parts) > 1e-3
    assert done[-1] == 1
    narrow = highest_density_coverage(GaussianDensity(correlation=0.3, width=0.9), sample, copies=9, seed=1)[0]
    assert narrow.test.p_value < 1e-3
    assert narrow.observed[9] < 0.5 - 3 * narrow.error[9]


def test_coverage_in_slices_finds_where_in_theta_the_model_is_too_narrow():
    class NarrowAbove(GaussianDensity):
        def _gaussian(self, axis, x, theta):
            mean, width = super()._gaussian(axis, x, theta)
            return mean, tf.where(theta[..., 0] > 0.5, tf.constant(0.7, tf.float64), 1.0) * width

    sample = events(RIGHT, 12_000, 8, kind="grid")
    _, low, middle, high = highest_density_coverage(NarrowAbove(correlation=0.3), sample, copies=9, seed=1)
    assert min(low.test.p_value, middle.test.p_value) > 1e-3
    assert high.test.p_value < 1e-10


def test_levels_must_be_probabilities():
    with pytest.raises(ValueError, match="levels must lie in"):
        highest_density_coverage(RIGHT, events(RIGHT, 100, 1), levels=(0.5, 68.3))
