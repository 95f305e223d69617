from __future__ import annotations

import numpy as np
import pytest
from gaussian_density import GaussianDensity, events
from scipy.special import ndtr

from zfit_egmm.diagnostics.shapes.pulls import PULL_EDGES, PairPulls, pair_pulls, pull_frequencies
from zfit_egmm.diagnostics.shapes.spectra import spectra
from zfit_egmm.diagnostics.shapes.spectrum_ratios import theta_ratios

RIGHT = GaussianDensity(correlation=0.3)


def _chi_square(spectrum):
    pull = spectrum.pull[spectrum.simulation * spectrum.model > 0]
    return np.square(pull).sum(), len(pull)


@pytest.mark.parametrize("kind", ["plain", "weighted", "negative"])
def test_spectra_hold_weighted_fractions_with_errors_from_squared_weights(kind):
    sample = events(RIGHT, 5000, 1, kind=kind)
    spectrum = spectra(RIGHT, sample, n_bins=12)[1]
    for low, high, content, error in zip(
        spectrum.edges[:-1], spectrum.edges[1:], spectrum.simulation, spectrum.simulation_error, strict=True
    ):
        inside = sample.weights[(sample.x[:, 1] >= low) & (sample.x[:, 1] < high)]
        assert content == pytest.approx(inside.sum() / sample.weights.sum(), abs=1e-12)
        assert error == pytest.approx(np.sqrt(np.square(inside).sum()) / sample.weights.sum(), abs=1e-12)
    assert spectrum.model.sum() == pytest.approx(1)
    has_simulation = spectrum.simulation > 0
    np.testing.assert_allclose(
        (spectrum.ratio * spectrum.simulation)[has_simulation], spectrum.model[has_simulation], atol=1e-12
    )
    assert np.all(np.isnan(spectrum.ratio[~has_simulation]))


@pytest.mark.parametrize("kind", ["plain", "weighted", "negative"])
def test_spectra_tell_a_width_wrong_by_five_percent(kind):
    # A width wrong by 5 % in 40,000 events adds about 40,000/2 * 2 * 0.05^2 = 100 to the chi square of about 25 bins.
    sample = events(RIGHT, 40_000, 2, kind=kind)
    value, n_bins = _chi_square(spectra(RIGHT, sample, seed=3)[0])
    assert value < n_bins + 4 * np.sqrt(2 * n_bins)
    value, n_bins = _chi_square(spectra(GaussianDensity(correlation=0.3, width=1.05), sample, seed=3)[0])
    assert value > n_bins + 4 * np.sqrt(2 * n_bins)


def test_more_copies_shrink_the_error_of_the_model():
    sample = events(RIGHT, 4000, 2)
    single, many = (spectra(RIGHT, sample, copies=copies)[0] for copies in (1, 16))
    in_bulk = single.simulation > 0.02
    np.testing.assert_allclose(single.model_error[in_bulk] / many.model_error[in_bulk], 4, rtol=0.2)


def test_discrete_observables_have_one_bin_per_integer(mixed_density, mixed_sample):
    spectrum = spectra(mixed_density, mixed_sample)[1]
    np.testing.assert_array_equal(spectrum.edges, [-0.5, 0.5, 1.5, 2.5, 3.5])
    share = [mixed_sample.weights[mixed_sample.x[:, 1] == k].sum() for k in range(4)]
    np.testing.assert_allclose(spectrum.simulation, np.array(share) / mixed_sample.weights.sum())
    pairs = pair_pulls(mixed_density, mixed_sample)
    assert [pair.pull.shape for pair in pairs] == [(20, 4), (20, 20), (4, 20)]


def test_pair_pulls_miss_no_correlation_of_five_percent():
    # With 150,000 events a missing correlation of 0.05 adds n/2 * 0.05^2 = 190 to a chi square of 400 +- 28.
    sample = events(GaussianDensity(correlation=0.05), 150_000, 4)
    right = pair_pulls(GaussianDensity(correlation=0.05), sample, seed=1)
    assert [tuple(o.name for o in pair.observables) for pair in right] == [("x0", "x1"), ("x0", "x2"), ("x1", "x2")]
    assert min(pair.chi_square.p_value for pair in right) > 1e-3
    wrong = pair_pulls(GaussianDensity(), sample, seed=1)
    assert wrong[0].chi_square.p_value < 1e-5
    assert wrong[2].chi_square.p_value > 1e-3


@pytest.mark.parametrize("kind", ["plain", "weighted", "negative"])
def test_frequencies_of_pulls_are_those_of_a_normal_distribution_if_right(kind):
    sample = events(RIGHT, 200_000, 5, kind=kind)
    right = pull_frequencies(pair_pulls(RIGHT, sample, seed=1))
    assert right.observed.sum() == pytest.approx(1)
    assert np.all(np.abs(right.observed - right.expected) < 4 * right.error + 1e-3)
    for level, expected in ((1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)):
        observed, normal = right.beyond(level)
        assert normal == pytest.approx(expected, abs=1e-4)
        assert abs(observed - normal) < 4 * np.sqrt(normal / right.n_bins)
    # A width wrong by 5 % in 200,000 events more than doubles the frequency of pulls beyond three.
    wrong = pull_frequencies(pair_pulls(GaussianDensity(correlation=0.3, width=1.05), sample, seed=1))
    assert wrong.beyond(3.0)[0] > 2 * right.beyond(3.0)[1]
    with pytest.raises(ValueError, match="one of the edges"):
        right.beyond(1.5)


def test_frequencies_count_every_finite_pull_once():
    observables = GaussianDensity(n_observables=2).observables
    pull = np.array([[-9.0, -3.5, -0.5], [0.0, 0.5, 3.99], [4.0, 100.0, np.nan]])
    edges = np.linspace(-6, 6, 4)
    maps = [PairPulls((observables[0], observables[1]), (edges, edges), pull, np.isnan(pull))]
    found = pull_frequencies(maps)
    assert found.n_bins == 8
    np.testing.assert_allclose(8 * found.observed, [1, 1, 0, 0, 1, 2, 0, 0, 1, 2])
    assert len(PULL_EDGES) == 11


def test_one_observable_has_no_pairs_and_no_frequencies():
    one = GaussianDensity(n_observables=1)
    pairs = pair_pulls(one, events(one, 1000, 0))
    assert pairs == ()
    with pytest.raises(ValueError, match="no bin holds"):
        pull_frequencies(pairs)


def test_bins_with_the_model_alone_are_marked():
    sample = events(GaussianDensity(n_observables=2), 4000, 1)
    wide = pair_pulls(GaussianDensity(n_observables=2, width=3.0), sample)[0]
    assert wide.is_model_only.any()
    assert np.isnan(wide.pull[wide.is_model_only]).any() or np.all(wide.pull[wide.is_model_only] > 0)


def _bin_ratio(edges, slope):
    above, below = (np.diff(ndtr(edges - mean)) for mean in (slope, 0.0))
    return above / below


def test_ratios_to_a_reference_follow_the_exact_ones():
    density = GaussianDensity(slope=0.5)
    sample = events(density, 60_000, 6, kind="grid")
    done = []
    ratios = theta_ratios(density, sample, [0.0], n_bins=12, progress=done.append)
    assert [(r.theta[0], r.observable.name) for r in ratios] == [(t, f"x{k}") for t in (-1, 1) for k in range(3)]
    assert done[-1] == 1
    for ratio in ratios:
        expected = _bin_ratio(ratio.edges, 0.5 * ratio.theta[0]) if ratio.observable.name == "x0" else np.ones(12)
        pull = (ratio.model - expected) / ratio.model_error
        # Weights depend on x0 alone: in the others every bin has the same spread of weights.
        assert np.abs(pull).max() < 4.5
        assert np.square((ratio.simulation - expected) / ratio.simulation_error).sum() < 12 + 4 * np.sqrt(24)
        assert np.square((ratio.double_ratio - 1) / ratio.double_ratio_error).sum() < 12 + 4 * np.sqrt(24)
    # E[w]^2 / E[w^2] = exp(-0.5^2) of 100,000 events.
    assert ratios[0].effective_events == pytest.approx(77_880, rel=0.02)


def test_a_dependence_on_theta_wrong_by_ten_percent_is_seen_in_the_double_ratio():
    # A shift by 0.05 widths at theta = +-1 adds n/2 * 0.05^2 = 75 to the chi square, with n = 60,000 events each.
    sample = events(GaussianDensity(slope=0.5), 180_000, 6, kind="grid")
    wrong = theta_ratios(GaussianDensity(slope=0.45), sample, [0.0], n_bins=12)[0]
    assert np.square((wrong.double_ratio - 1) / wrong.double_ratio_error).sum() > 12 + 4 * np.sqrt(24)


def test_ratios_need_a_grid_with_the_reference():
    density = GaussianDensity()
    grid, free = (events(density, 3000, 1, kind=kind) for kind in ("grid", "plain"))
    with pytest.raises(ValueError, match="no event was simulated at the reference"):
        theta_ratios(density, grid, [0.3])
    with pytest.raises(ValueError, match="no event was simulated at the reference"):
        theta_ratios(density, grid, [0.0, 0.0])
    with pytest.raises(ValueError, match="3000 thetas"):
        theta_ratios(density, free, [0.0])
    without = GaussianDensity(has_theta=False)
    with pytest.raises(ValueError, match="no thetas"):
        theta_ratios(without, events(without, 100, 1), [])
