"""Figures of the inference: what they show, and that they can be written without a display."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scan_models as models
from scipy.stats import norm

from zfit_egmm.inference.plots import plot_contours, plot_coverage, plot_limits, plot_profile
from zfit_egmm.inference.scans.contours import contour, trace_contour
from zfit_egmm.inference.scans.profile import profile
from zfit_egmm.inference.toys.coverage import Coverage, Estimate, PointCoverage


def texts(figure):
    """All text of a figure."""
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def written(figure, folder):
    for suffix in ("png", "pdf"):
        path = folder / f"figure.{suffix}"
        figure.savefig(path)
        assert path.stat().st_size > 3000


def test_a_profile_shows_its_curve_levels_and_best_fit(tmp_path):
    found = profile(models.gaussian_mean(), "mu", n_points=9, progress=False)
    figure = plot_profile(found, true_value=0.3)
    (axes,) = figure.axes
    curve = max((line.get_xydata() for line in axes.lines), key=len)
    # Smooth between nine points, and zero at the best fit.
    np.testing.assert_allclose(curve[:, 1], 50 * (curve[:, 0] - 0.4) ** 2 / 4, atol=0.02)
    assert axes.get_xlabel() == "mu"
    shown = texts(figure)
    assert {"best fit 0.4", "truth 0.3", "1 σ", "2 σ"} <= set(shown)
    heights = [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert {1.0, 4.0} <= set(heights)
    written(figure, tmp_path)


def test_several_profiles_are_told_apart_and_failed_fits_are_marked(tmp_path):
    found = [profile(models.gaussian_mean(mean=mean), "mu", n_points=9, progress=False) for mean in (0.4, 0.5)]
    figure = plot_profile(found, labels=["model", "truth"], axis_label="mean [GeV]")
    assert {"model, best fit 0.4", "truth, best fit 0.5", "mean [GeV]"} <= set(texts(figure))
    assert "fit not valid" not in texts(figure)
    written(figure, tmp_path)
    failed = SimpleNamespace(**{**vars(found[0]), "is_valid": np.arange(9) != 2})
    assert "fit not valid" in texts(plot_profile([failed]))
    with pytest.raises(ValueError, match="there are 2 objects to draw, but 1 labels"):
        plot_profile(found, labels=["model"])
    other = profile(models.gaussian_plane()[0], "a", n_points=3, progress=False)
    with pytest.raises(ValueError, match=r"one figure is for the same parameters, got \['a', 'mu'\]"):
        plot_profile([found[0], other])


def test_contours_show_every_region_the_best_fits_and_the_truth(tmp_path):
    loss, best, _ = models.gaussian_plane()
    found = contour(loss, ("a", "b"), n_points=9, progress=False)
    traced = trace_contour(loss, ("a", "b"), n_points=8, progress=False)
    figure = plot_contours(found, true_point=(0.4, -0.8))
    (axes,) = figure.axes
    # A line and a filled area for each of two levels.
    assert len(axes.patches) == 4
    assert {"68.27 %", "95.45 %", "truth", "a", "b"} <= set(texts(figure))
    low, high = axes.get_xlim()
    ring = found.regions[1].rings[0]
    assert low < ring[:, 0].min()
    assert high > ring[:, 0].max()
    written(figure, tmp_path)
    figure = plot_contours([found, traced], labels=["grid", "rays"], axis_labels=["first", "second"])
    assert len(figure.axes[0].patches) == 3
    assert {"grid best fit", "rays best fit", "first", "second"} <= set(texts(figure))
    marked = [line.get_xydata()[0] for line in figure.axes[0].lines if len(line.get_xydata()) == 1]
    np.testing.assert_allclose(marked, [best, best], atol=2e-3)


@pytest.mark.parametrize("has_errors", [False, True])
def test_limits_show_observed_and_expected_with_the_line_of_the_level(tmp_path, has_errors):
    values = np.linspace(0, 20, 21)

    def cls(shift):
        return norm.sf(values / 4 - shift) / norm.cdf(shift)

    observed = cls(0.7)
    limits = SimpleNamespace(
        parameter="n_signal",
        values=values,
        observed=observed,
        expected=np.array([cls(shift) for shift in (-2, -1, 0, 1, 2)]),
        errors=0.1 * observed if has_errors else None,
        level=0.9,
        observed_limit=9.2,
        expected_limits=np.array([2.0, 4.0, 6.6, 10.0, np.nan]),
    )
    figure = plot_limits(limits, axis_label="signal events")
    (axes,) = figure.axes
    assert {"observed", "expected median", "expected ± 1 σ", "expected ± 2 σ", "10 %", "signal events"} <= set(
        texts(figure)
    )
    assert "90 % limit: 9.2 observed, 6.6 expected" in texts(figure)
    assert axes.get_yscale() == "log"
    horizontal = [line.get_ydata()[0] for line in axes.lines if len(line.get_ydata()) == 2]
    assert any(np.isclose(height, 0.1) for height in horizontal)
    written(figure, tmp_path)


def points_of(n):
    def estimates(number):
        return {level: Estimate(level + 0.01 * number, 0.02) for level in (0.6827, 0.9545)}

    places = [{"cx": 0.1 * number, "cy": 0.0, "nuisance": 1.0} for number in range(n)]
    return [
        PointCoverage(place, 300, 0, estimates(number), {"cx": estimates(0), "cy": estimates(0)}, {}, {}, {})
        for number, place in enumerate(places)
    ]


def test_coverage_has_a_panel_for_each_level_and_a_place_for_each_point(tmp_path):
    *points, overall = points_of(4)
    figure = plot_coverage(Coverage(("cx", "cy"), (0.6827, 0.9545), tuple(points), overall))
    assert [axes.get_ylabel() for axes in figure.axes] == ["coverage (95.45 %)", "coverage (68.27 %)"]
    labels = [label.get_text() for label in figure.axes[1].get_xticklabels()]
    # What is neither of interest nor varied is left out.
    assert labels == ["cx = 0\ncy = 0", "cx = 0.1\ncy = 0", "cx = 0.2\ncy = 0", "all"]
    assert {"joint region", "cx", "cy"} <= set(texts(figure))
    drawn = np.array(figure.axes[1].containers[0].lines[0].get_ydata(), dtype=float)
    np.testing.assert_allclose(drawn, [0.6827, 0.6927, 0.7027, 0.7127])
    written(figure, tmp_path)


def test_coverage_of_one_parameter_at_one_point(tmp_path):
    (point,) = points_of(1)
    alone = PointCoverage({"mu": 1.0}, 300, 0, point.region, {}, {}, {}, {})
    figure = plot_coverage(Coverage(("mu",), (0.6827,), (alone,), alone))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mu = 1"]
    assert "interval of mu" in texts(figure)
    written(figure, tmp_path)


def test_the_contour_of_a_learned_density_can_be_drawn(toy_density, tmp_path):
    likelihood, _ = models.learned_toy(toy_density)
    found = trace_contour(likelihood, ("cx", "cy"), n_points=8, progress=False)
    written(plot_contours(found, true_point=(0.5, -0.4)), tmp_path)
