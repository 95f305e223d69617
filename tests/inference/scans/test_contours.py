"""Joint regions of two parameters: exact ellipses, grids against rays, several pieces, limits, learned densities."""

from __future__ import annotations

import numpy as np
import pytest
import scan_models as models
from scipy.stats import chi2

from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import fit
from zfit_egmm.inference.scans.contours import contour, trace_contour
from zfit_egmm.inference.scans.joint_region import Region

LEVELS = (0.6827, 0.9545)


def grid(loss, names, **options):
    return contour(loss, names, progress=False, **options)


def rays(loss, names, **options):
    return trace_contour(loss, names, progress=False, **options)


def distances(points, best, covariance):
    """Squared distances in units of the covariance: -2 Delta ln L of a Gaussian."""
    shift = points - best
    return np.einsum("ni,ij,nj->n", shift, np.linalg.inv(covariance), shift)


def test_means_of_gaussians_have_exact_ellipses():
    loss, best, covariance = models.gaussian_plane()
    found = grid(loss, ("a", "b"))
    assert found.parameters == ("a", "b")
    assert found.is_valid
    assert found.notes == ()
    for region, level in zip(found.regions, LEVELS, strict=True):
        threshold = chi2.ppf(level, 2)
        assert region.threshold == pytest.approx(threshold)
        exact = np.pi * threshold * np.sqrt(np.linalg.det(covariance))
        assert found.areas[level] == pytest.approx(exact, rel=5e-4)
        (ring,) = region.rings
        np.testing.assert_allclose(distances(ring, best, covariance), threshold, atol=0.01)
        # The ellipse of one parameter's level, or of a covariance wrong by two per cent, is another one.
        assert abs(chi2.ppf(level, 1) / threshold - 1) > 0.3
        assert np.abs(distances(ring, best, 1.02 * covariance) - threshold).min() > 0.01
    nodes = np.stack(np.meshgrid(found.grid.x, found.grid.y, indexing="ij"), axis=-1).reshape(-1, 2)
    exact = distances(nodes, best, covariance).reshape(41, 41)
    assert np.abs(found.grid.minus2_log_ratio - exact)[found.grid.is_fitted].max() < 1e-3
    assert np.abs(found.grid.minus2_log_ratio - exact)[exact < 6.2].max() < 0.01
    # A parabola needs no fits at the finest nodes.
    assert 121 <= found.grid.is_fitted.sum() < 500


def test_rays_find_the_same_ellipse():
    loss, best, covariance = models.gaussian_plane()
    likelihood = Likelihood(loss)
    before = likelihood.values
    for level in LEVELS:
        found = rays(likelihood, ("a", "b"), level=level)
        assert found.grid is None
        assert found.is_valid
        assert found.notes == ()
        exact = np.pi * chi2.ppf(level, 2) * np.sqrt(np.linalg.det(covariance))
        assert found.areas[level] == pytest.approx(exact, rel=1e-3)
        (ring,) = found.regions[0].rings
        np.testing.assert_allclose(distances(ring, best, covariance), chi2.ppf(level, 2), rtol=3e-3)
    assert likelihood.values == before


def test_grid_and_rays_agree_for_a_skewed_likelihood_with_nuisance_parameters():
    likelihood = Likelihood(models.peak_on_exponential())
    best = fit(likelihood)
    found = grid(likelihood, ("n_signal", "sigma"), minimum=best, n_points=33)
    for region in found.regions:
        traced = rays(likelihood, ("n_signal", "sigma"), level=region.level, minimum=best)
        assert traced.areas[region.level] == pytest.approx(region.area, rel=2e-3)
        rows = [list(best.errors).index(name) for name in found.parameters]
        ellipse = np.pi * region.threshold * np.sqrt(np.linalg.det(best.covariance[np.ix_(rows, rows)]))
        # Far more than what the two differ by.
        assert abs(region.area / ellipse - 1) > 0.01
        for point in traced.regions[0].rings[0][::64]:
            fixed = dict(zip(found.parameters, point, strict=True))
            there = fit(likelihood, start=best.values | fixed, fixed=fixed, hesse=False)
            assert 2 * (there.nll - best.nll) == pytest.approx(region.threshold, abs=0.02)
    assert [found.grid.is_fitted.shape, found.grid.is_valid.shape] == [(33, 33)] * 2


def test_both_pieces_of_a_region_are_found_and_missed_by_rays():
    theta, sigma = models.parameter("theta", 0.7, -4, 4), models.parameter("sigma", 1.0, 0.3, 3)
    mean = models.composed("mean", lambda t: t**2, t=theta)
    loss = models.loss_of(models.gauss("x", mean, sigma), models.events(60, 0.6, 3))
    found = grid(loss, ("theta", "sigma"))
    for level, region in zip(LEVELS, found.regions, strict=True):
        assert len(region.rings) == 2
        theta_0, sigma_0 = (found.best.values[name] for name in found.parameters)
        assert found.contains([(theta_0, sigma_0), (-theta_0, sigma_0), (0, sigma_0)], level).tolist() == [1, 1, 0]
        traced = rays(loss, ("theta", "sigma"), level=level, starts=[{"theta": -0.7}])
        assert traced.areas[level] == pytest.approx(region.area / 2, rel=5e-3)
        assert "another minimum at theta = -0.7" in traced.notes[0]


def test_the_lower_of_two_branches_of_a_nuisance_parameter_is_kept():
    loss = models.switching_nuisance(free_width=True)
    found = grid(loss, ("mu", "sigma"), ranges=((-2.0, 1.6), (1.5, 2.8)), n_points=17)
    nu = np.linspace(-2, 2, 4001)
    exact = np.array(
        [[models.switching_ratio(mu, nu, sigma=sigma).min() for sigma in found.grid.y] for mu in found.grid.x]
    )
    is_near = (exact < 6.2) & found.grid.is_fitted
    np.testing.assert_allclose(found.grid.minus2_log_ratio[is_near], exact[is_near], atol=5e-3)
    assert is_near[found.grid.x < -0.2].sum() > 10
    assert is_near[found.grid.x > 0.2].sum() > 10
    assert len(found.regions[0].rings) == 2


def test_the_parameters_of_a_lower_minimum_become_the_best_fit():
    theta, sigma = models.parameter("theta", -0.7, -4, 4), models.parameter("sigma", 1.0, 0.3, 3)
    first = models.composed("first", lambda t: t**2, t=theta)
    second = models.composed("second", lambda t: 0.06 * t, t=theta)
    import zfit

    model = zfit.pdf.ProductPDF([models.gauss("x", first, sigma), models.gauss("y", second, 1.0)])
    loss = models.loss_of(model, np.stack([models.events(50, 0.64, 3), models.events(50, 0.12, 4)], axis=1))
    local = fit(loss, start={"theta": -0.8})
    found = grid(loss, ("theta", "sigma"), minimum=local, n_points=21)
    assert found.best.values["theta"] > 0
    assert found.best.nll < local.nll - 0.3
    assert found.grid.minus2_log_ratio.min() >= 0


def test_a_region_that_is_cut_by_a_limit_ends_there():
    mu, sigma = models.parameter("mu", 0.3, 0, 5), models.parameter("sigma", 1.0, 0.3, 3)
    loss = models.loss_of(models.gauss("x", mu, sigma), models.events(60, -0.05, 8))
    found = grid(loss, ("mu", "sigma"))
    assert found.grid.x[0] == 0
    assert found.notes[0] == "The best fit of mu is at its limit, 0: its Hesse error means nothing."
    assert "The 68.27 % region ends at the lower limit of mu, 0." in found.notes
    x, y = np.meshgrid(np.linspace(0, found.grid.x[-1], 800), np.linspace(*found.grid.y[[0, -1]], 800), indexing="ij")
    data = loss.data[0].value().numpy()[:, 0]
    minus2 = 60 * (2 * np.log(y) + (data.var() + (data.mean() - x) ** 2) / y**2)
    cell = (x[1, 0] - x[0, 0]) * (y[0, 1] - y[0, 0])
    for region in found.regions:
        exact = np.sum(minus2 - minus2.min() < region.threshold) * cell
        assert region.area == pytest.approx(exact, rel=5e-3)
        traced = rays(loss, ("mu", "sigma"), level=region.level)
        assert traced.areas[region.level] == pytest.approx(exact, rel=5e-3)
        assert "The region ends at the lower limit of mu, 0." in traced.notes


def test_ranges_that_cut_or_miss_the_region_are_said():
    loss, best, covariance = models.gaussian_plane()
    width = np.sqrt(np.diag(covariance))
    cut = grid(loss, ("a", "b"), n_points=9, ranges=((best[0], best[0] + 4 * width[0]), (best[1] - 4, best[1] + 4)))
    assert f"The 68.27 % region goes on beyond the grid, a = {best[0]:.4g}: give wider ranges." in cut.notes
    coarse = grid(loss, ("a", "b"), n_points=9, ranges=((-10, 10), (-10, 10)))
    assert "The 68.27 % region holds only a few nodes of the grid" in coarse.notes[0]


def test_holes_count():
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], float)
    hole = np.array([[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]], float)
    region = Region(0.68, 2.3, (square, hole))
    assert region.area == 15
    points = [(0.5, 0.5), (1.5, 1.5), (3, 1.5), (5, 1.5), (-1, 2)]
    assert region.contains(points).tolist() == [True, False, True, False, False]
    assert region.contains((3, 3)) is True
    with pytest.raises(ValueError, match="a point has two coordinates"):
        region.contains([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("a", "a"), {}, "two different parameters, got a, a"),
        (("a",), {}, "two different parameters, got a"),
        (("a", "c"), {}, "'c' is no free parameter"),
        (("a", "b"), {"levels": (68,)}, "levels must lie between 0 and 1"),
        (("a", "b"), {"levels": ()}, "a contour needs a level"),
        (("a", "b"), {"n_points": 5}, "at least 9 points"),
        (("a", "b"), {"ranges": ((0, 1), (1, 0))}, "the range of b must rise"),
        (("a", "b"), {"ranges": ((-20, 1), (0, 1))}, r"inside its limits \[-10, 10\], got -20 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(names, options, message):
    with pytest.raises(ValueError, match=message):
        grid(models.gaussian_plane()[0], names, **options)


def test_a_level_that_was_not_asked_for_is_refused():
    loss, best, _ = models.gaussian_plane()
    found = rays(loss, ("a", "b"), n_points=8)
    assert found.contains(best, 0.6827) is True
    with pytest.raises(ValueError, match=r"no region of level 0.9; there are 0.6827"):
        found.contains(best, 0.9)
    with pytest.raises(ValueError, match="at least 8 points"):
        rays(loss, ("a", "b"), n_points=3)


def test_a_region_without_an_end_is_refused_by_rays():
    a, b = models.parameter("a", 0.1), models.parameter("b", 0.1)
    mean = models.composed("mean", lambda a, b: a + b, a=a, b=b)
    loss = models.loss_of(models.gauss("x", mean, 1.0), models.events(30, 0.2, 1))
    with pytest.raises(ValueError, match="the joint region of a and b has no end"):
        rays(loss, ("a", "b"), n_points=8)


def test_the_region_of_a_learned_density_is_that_of_brute_force(toy_density):
    likelihood, reference = models.learned_toy(toy_density)
    before = likelihood.values
    found = grid(likelihood, ("cx", "cy"), n_points=21)
    assert likelihood.values == before
    lowest = float(reference([[found.best.values["cx"], found.best.values["cy"]]])[0])
    assert lowest == pytest.approx(found.best.nll, abs=1e-3)
    rng = np.random.default_rng(4)
    ends = np.array([found.grid.x[[0, -1]], found.grid.y[[0, -1]]])
    points = rng.uniform(ends[:, 0], ends[:, 1], (300, 2))
    ratio = 2 * (reference(points) - lowest)
    for region in found.regions:
        is_clear = np.abs(ratio - region.threshold) > 0.05
        assert is_clear.sum() > 250
        np.testing.assert_array_equal(region.contains(points[is_clear]), (ratio < region.threshold)[is_clear])
        assert 20 < region.contains(points).sum() < 280
    traced = rays(likelihood, ("cx", "cy"), minimum=found.best)
    assert traced.areas[0.6827] == pytest.approx(found.areas[0.6827], rel=0.01)
