"""Projections of sums and products: exact where the components are, and without numeric integration."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from conformity import edges, relative, separate_case

from zfit_egmm.pdf import EGMM, project


@pytest.fixture(autouse=True)
def _no_numeric_integration(monkeypatch):
    # Graphs would take most of the time.
    zfit.run.set_graph_mode(False)

    def refuse(*args, **kwargs):
        raise AssertionError("numeric integration was used")

    monkeypatch.setattr("zfit.core.basemodel.BaseModel._auto_numeric_integrate", refuse)


@pytest.fixture(scope="module")
def other():
    return separate_case("projected", 1, seed=8)


@pytest.fixture
def yields():
    return zfit.Parameter("n_first", 30.0, 0, 100), zfit.Parameter("n_second", 70.0, 0, 100)


@pytest.fixture
def total(gauss, other, yields):
    return zfit.pdf.SumPDF([case.pdf.create_extended(n) for case, n in zip((gauss, other), yields, strict=True)])


def _column(case, name):
    return case.x[:, [case.pdf.obs.index(name)]]


def test_projection_of_a_sum_is_the_sum_of_projections(gauss, other, total, yields):
    pdf = project(total, obs="c")
    x = _column(gauss, "c")
    factors = [case.factors["c"] for case in (gauss, other)]
    expected = 30 * factors[0].pdf(x[:, 0]).numpy() + 70 * factors[1].pdf(x[:, 0]).numpy()
    assert pdf.obs == ("c",)
    assert relative(pdf.pdf(x), expected / 100) < 1e-9
    assert relative(pdf.ext_pdf(x), expected) < 1e-9
    assert pdf.get_params() == total.get_params()
    assert float(pdf.integrate(pdf.space)[0]) == pytest.approx(1, rel=1e-9)
    with yields[0].set_value(70.0):
        assert relative(pdf.ext_pdf(x), 70 * (factors[0].pdf(x[:, 0]) + factors[1].pdf(x[:, 0])).numpy()) < 1e-9


def test_a_window_changes_the_fractions_to_those_inside(gauss, other):
    fraction = zfit.Parameter("fraction", 0.3, 0, 1)
    total = zfit.pdf.SumPDF([gauss.pdf, other.pdf], fracs=fraction)
    window = gauss.part(names=("a", "c"))
    pdf = project(total, limits=window)
    x = _column(gauss, "b")
    shares = [0.3 * gauss.mass(window), 0.7 * other.mass(window)]
    assert abs(shares[0] / sum(shares) - 0.3) > 0.02
    expected = [s * case.factors["b"].pdf(x[:, 0]).numpy() for s, case in zip(shares, (gauss, other), strict=True)]
    assert relative(pdf.pdf(x), sum(expected) / sum(shares)) < 1e-9
    narrow = zfit.Space("b", 2, 5)
    inside = [s * case.mass(narrow) for s, case in zip(shares, (gauss, other), strict=True)]
    assert float(pdf.integrate(narrow)[0]) == pytest.approx(sum(inside) / sum(shares), rel=1e-9)
    assert {gauss.parameter, other.parameter, fraction} <= pdf.get_params()


def test_projections_of_a_discrete_observable_and_of_two(trained):
    second = EGMM(trained.density, params={"shift": -0.4})
    total = zfit.pdf.SumPDF([trained.pdf, second], fracs=0.25)
    for kept in (["jets"], ["jets", "angle"]):
        x = trained.x[:10, [trained.pdf.obs.index(name) for name in kept]]
        values = [one.create_projection_pdf(obs=kept).pdf(x).numpy() for one in (trained.pdf, second)]
        pdf = project(total, obs=kept)
        assert relative(pdf.pdf(x), 0.25 * values[0] + 0.75 * values[1]) < 1e-9
    cells = project(total, obs="jets").pdf(np.arange(4.0)[:, None]).numpy()
    assert cells.sum() == pytest.approx(1, rel=1e-6)


def test_projection_of_a_product_has_the_kept_factors(gauss):
    slope = zfit.Parameter("falling", -0.3, -1, 0)
    product = zfit.pdf.ProductPDF([zfit.pdf.Exponential(slope, obs=zfit.Space("m", 0, 5)), gauss.pdf])
    x = _column(gauss, "b")
    expected = gauss.factors["b"].pdf(x[:, 0]).numpy()
    assert relative(project(product, obs="b").pdf(x), expected) < 1e-9
    m = np.linspace(0.1, 4.9, len(x))
    decay = 0.3 * np.exp(-0.3 * m) / (1 - np.exp(-1.5))
    assert relative(project(product, obs="m").pdf(m[:, None]), decay) < 1e-6
    both = project(product, obs=["m", "b"])
    assert relative(both.pdf(np.column_stack([m, x[:, 0]])), decay * expected) < 1e-6


def test_projection_of_a_projection_integrates_the_rest_too(gauss):
    first = gauss.pdf.create_projection_pdf(obs=["b", "c"])
    second = first.create_projection_pdf(obs="c")
    x = _column(gauss, "c")
    assert relative(second.pdf(x), gauss.factors["c"].pdf(x[:, 0]).numpy()) < 1e-9


def test_a_truncated_sum_is_refused_and_truncated_components_are_right(gauss, other, total, yields):
    window = gauss.part()
    with pytest.raises(ValueError, match="truncate the components instead"):
        project(total.to_truncated(window), obs="b")
    parts = zfit.pdf.SumPDF([one.to_truncated(window, extended=True) for one in total.pdfs])
    low, high = edges(window)[gauss.pdf.obs.index("b")]
    x = np.linspace(low + 0.01, high - 0.01, 9)
    counts = [n * case.mass(window) for n, case in zip((30, 70), (gauss, other), strict=True)]
    shapes = [case.factors["b"].pdf(x).numpy() / case.mass(zfit.Space("b", low, high)) for case in (gauss, other)]
    expected = counts[0] * shapes[0] + counts[1] * shapes[1]
    assert relative(project(parts, obs="b").ext_pdf(x[:, None]), expected) < 1e-9


def test_projection_on_unknown_observables_is_refused(total):
    with pytest.raises(ValueError, match="has the observables"):
        project(total, obs="z")
