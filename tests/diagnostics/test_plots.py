from __future__ import annotations

import io

import numpy as np
import pytest
from gaussian_density import GaussianDensity, events
from matplotlib.figure import Figure

from zfit_egmm.diagnostics import (
    plot_classifier,
    plot_highest_density_coverage,
    plot_pair_pulls,
    plot_pull_frequencies,
    plot_spectra,
    plot_theta_ratios,
    plot_transforms,
)
from zfit_egmm.diagnostics.shapes.classifier import classifier_test
from zfit_egmm.diagnostics.shapes.coverage import highest_density_coverage
from zfit_egmm.diagnostics.shapes.pulls import pair_pulls, pull_frequencies
from zfit_egmm.diagnostics.shapes.spectra import spectra
from zfit_egmm.diagnostics.shapes.spectrum_ratios import theta_ratios
from zfit_egmm.diagnostics.shapes.transforms import calibration

DENSITIES = {
    "three": GaussianDensity(3, correlation=0.3),
    "one": GaussianDensity(1),
    "twelve": GaussianDensity(12),
    "wrong": GaussianDensity(3, width=2.5),
}


@pytest.fixture(scope="module")
def sample():
    return {name: events(GaussianDensity(d.n_observables), 2000, 1, kind="negative") for name, d in DENSITIES.items()}


def _check(figure, n_axes):
    assert isinstance(figure, Figure)
    assert sum(axes.get_visible() for axes in figure.axes) == n_axes
    # Drawing raises what layout or fonts have to complain about.
    target = io.BytesIO()
    figure.savefig(target, dpi=40)
    assert target.tell() > 1000


@pytest.mark.parametrize("name", DENSITIES)
def test_figures_of_spectra_and_transforms(name, sample):
    density, own = DENSITIES[name], sample[name]
    n = density.n_observables
    _check(plot_spectra(spectra(density, own)), 2 * n)
    _check(plot_transforms(calibration(density, own)), n)


@pytest.mark.parametrize("name", ["three", "wrong", "twelve"])
def test_figures_of_pulls(name, sample):
    density, own = DENSITIES[name], sample[name]
    pairs = pair_pulls(density, own, n_bins=8)
    n = density.n_observables
    _check(plot_pair_pulls(pairs), n * (n - 1) // 2 + 1)
    _check(plot_pull_frequencies(pull_frequencies(pairs)), 1)


def test_a_single_observable_has_no_pulls_to_draw():
    with pytest.raises(ValueError, match="no pairs"):
        plot_pair_pulls(())


def test_pulls_are_drawn_along_the_right_axes(sample):
    pairs = pair_pulls(DENSITIES["three"], sample["three"], n_bins=6)
    panel = next(axes for axes in plot_pair_pulls(pairs).axes if axes.get_ylabel() == "x1 [GeV]")
    drawn = panel.images[0].get_array()
    # Rows of an image are the vertical axis.
    is_close = np.abs(pairs[0].pull) < 1
    green = np.all(np.isclose(drawn, drawn[is_close.T][0]), axis=-1)
    np.testing.assert_array_equal(green, is_close.T)
    assert not np.array_equal(is_close, is_close.T)


def test_figures_of_theta_ratios():
    density = GaussianDensity(2)
    ratios = theta_ratios(density, events(density, 3000, 1, kind="grid"), [0.0], n_bins=6, n_events=2000)
    figure = plot_theta_ratios(ratios, "x1")
    _check(figure, 4)
    assert [axes.get_title() for axes in figure.axes[::2]] == ["theta = -1", "theta = 1"]
    with pytest.raises(ValueError, match="no ratios of 'mass'"):
        plot_theta_ratios(ratios, "mass")


@pytest.mark.parametrize("name", ["three", "wrong"])
def test_figure_of_a_classifier(name, sample):
    found = classifier_test(DENSITIES[name], sample[name], classifier="network", n_folds=2)
    _check(plot_classifier(found), 3)


@pytest.mark.parametrize("name", ["three", "wrong"])
def test_figure_of_the_coverage(name, sample):
    found = highest_density_coverage(DENSITIES[name], sample[name], copies=3)
    figure = plot_highest_density_coverage(found)
    _check(figure, 1)
    assert len(figure.axes[0].get_legend().get_texts()) == 2 + 5
    without = GaussianDensity(1, has_theta=False)
    _check(plot_highest_density_coverage(highest_density_coverage(without, events(without, 100, 1), copies=3)), 1)
