"""Projections onto some of the observables, and discrete observables."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from conformity import edges, quadrature, relative
from scipy import stats

from zfit_egmm.pdf import EGMM

KEPT = [("a",), ("b",), ("c",), ("a", "b"), ("b", "c"), ("c", "a")]


@pytest.mark.parametrize("kept", KEPT)
def test_projection_is_the_product_of_the_kept_factors(gauss, kept):
    pdf = gauss.pdf.create_projection_pdf(obs=list(kept))
    x = gauss.x[:, [gauss.pdf.obs.index(name) for name in kept]]
    expected = np.prod([gauss.factors[n].pdf(x[:, k]).numpy() for k, n in enumerate(kept)], axis=0)
    assert pdf.obs == kept
    assert relative(pdf.pdf(x), expected) < 1e-9
    assert float(pdf.integrate(pdf.space)[0]) == pytest.approx(1, rel=1e-9)
    part = gauss.part(names=kept)
    assert float(pdf.integrate(part)[0]) == pytest.approx(gauss.mass(part), rel=1e-9)


@pytest.mark.parametrize("kept", ["energy", "angle"])
def test_projection_of_a_trained_density_is_its_marginal(trained, kept):
    pdf = trained.pdf.create_projection_pdf(obs=kept)
    axis = trained.pdf.obs.index(kept)
    x = trained.x[:10, [axis]]
    expected = trained.density.marginal_prob([kept], x, trained.point, tolerance=1e-4).value
    assert relative(pdf.pdf(x), expected) < 3e-3
    low, high = edges(trained.pdf.space)[axis]
    narrow = (low + 0.3 * (high - low), low + 0.5 * (high - low))
    mass = quadrature(trained.density, trained.point, {kept: narrow})
    assert float(pdf.integrate(zfit.Space(kept, *narrow))[0]) == pytest.approx(mass, rel=1e-3)


def test_projection_over_a_part_of_the_rest_is_that_part(trained):
    rest = trained.part(names=("jets", "angle"))
    pdf = trained.pdf.create_projection_pdf(limits=rest)
    assert pdf.obs == ("energy",)
    whole = trained.pdf.create_projection_pdf(obs="energy")
    x = np.linspace(5, 60, 8)[:, None]
    assert not np.allclose(pdf.pdf(x), whole.pdf(x), rtol=1e-2)
    assert float(pdf.integrate(pdf.space)[0]) == pytest.approx(1, rel=1e-6)


def test_projection_keeps_the_yield_and_the_parameters(gauss):
    pdf = gauss.pdf.create_extended(zfit.Parameter("n", 50.0)).create_projection_pdf(obs="b")
    assert pdf.is_extended
    assert pdf.get_params(is_yield=False) == {gauss.parameter}
    assert relative(pdf.ext_pdf(gauss.x[:, [1]]), 50 * gauss.factors["b"].pdf(gauss.x[:, 1]).numpy()) < 1e-9


def test_events_of_a_projection_follow_it(gauss):
    zfit.settings.set_seed(2)
    pdf = gauss.pdf.create_projection_pdf(obs="c")
    x = pdf.sample(3000).value().numpy()[:, 0]
    every = gauss.density.sample(60_000, gauss.point, seed=1)
    assert stats.ks_2samp(x, every[:, 2]).pvalue > 1e-4
    assert stats.ks_2samp(x + 0.1 * x.std(), every[:, 2]).pvalue < 1e-4


def test_values_of_the_cells_of_a_discrete_observable_sum_to_the_rest(trained):
    energy, angle = trained.x[:10, 0], trained.x[:10, 2]
    total = sum(trained.pdf.pdf(np.column_stack([energy, np.full(10, k), angle])).numpy() for k in range(4))
    marginal = trained.pdf.create_projection_pdf(obs=["energy", "angle"])
    assert relative(marginal.pdf(np.column_stack([energy, angle])), total) < 1e-9


def test_cells_of_a_discrete_observable_add_up_to_one(trained):
    rest = trained.pdf.space.with_obs(["energy", "angle"])
    masses = [
        float(trained.pdf.integrate((zfit.Space("jets", k - 0.5, k + 0.5) * rest).with_obs(trained.pdf.obs))[0])
        for k in range(4)
    ]
    assert sum(masses) == pytest.approx(1, rel=3e-4)
    assert masses[1] == pytest.approx(quadrature(trained.density, trained.point, {"jets": (0.5, 1.5)}), rel=3e-4)
    jets = trained.pdf.create_projection_pdf(obs="jets")
    assert relative(jets.pdf(np.arange(4.0)), masses) < 3e-3


@pytest.mark.parametrize("limits", [(0, 2), (0.5, 2), (-0.5, 1.2)])
def test_limits_inside_a_cell_are_refused(trained, limits):
    space = (zfit.Space("jets", *limits) * trained.pdf.space.with_obs(["energy", "angle"])).with_obs(trained.pdf.obs)
    with pytest.raises(ValueError, match="half way between integers"):
        trained.pdf.integrate(space)
    with pytest.raises(ValueError, match="half way between integers"):
        EGMM(trained.density, params=trained.theta, obs=space)


@pytest.mark.parametrize("arguments", [{}, {"obs": "z"}, {"obs": "a", "limits": zfit.Space("a", 0, 1)}])
def test_projection_of_nothing_sensible_is_refused(gauss, arguments):
    with pytest.raises(ValueError, match=r"obs|observables"):
        gauss.pdf.create_projection_pdf(**arguments)
