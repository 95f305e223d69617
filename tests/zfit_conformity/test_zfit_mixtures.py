"""Sums, products and losses with other PDFs of zfit."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from conformity import relative, separate_case

from zfit_egmm.pdf import EGMM


def falling(obs="m"):
    return zfit.pdf.Exponential(zfit.Parameter("slope", -0.3, -1, 0), obs=zfit.Space(obs, 0, 5))


def flat(case, n):
    pdfs = [
        zfit.pdf.Uniform(*np.ravel(case.pdf.space.with_obs([n]).rect_limits_np), obs=case.pdf.space.with_obs([n]))
        for n in case.pdf.obs
    ]
    return zfit.pdf.ProductPDF(pdfs, obs=case.pdf.space, extended=n)


def test_sum_of_two_densities_is_a_weighted_mean(gauss):
    other = separate_case("other", 1, seed=8)
    fraction = zfit.Parameter("fraction", 0.3, 0, 1)
    total = zfit.pdf.SumPDF([gauss.pdf, other.pdf], fracs=fraction)
    expected = 0.3 * gauss.expected(gauss.x) + 0.7 * other.expected(gauss.x)
    assert relative(total.pdf(gauss.x), expected) < 1e-9
    part = gauss.part()
    assert float(total.integrate(part)[0]) == pytest.approx(0.3 * gauss.mass(part) + 0.7 * other.mass(part), rel=1e-9)
    assert total.get_params() == {gauss.parameter, other.parameter, fraction}
    assert total.sample(20).value().shape == (20, 3)


def test_sum_with_a_product_of_parametric_pdfs_is_extended(gauss):
    n_s, n_b = zfit.Parameter("n_s", 30.0, 0, 100), zfit.Parameter("n_b", 40.0, 0, 100)
    background = flat(gauss, n_b)
    oracle = zfit.pdf.ProductPDF(list(gauss.factors.values()), obs=gauss.pdf.space, extended=n_s)
    models = [gauss.pdf.create_extended(n_s), oracle]
    totals = [zfit.pdf.SumPDF([one, background]) for one in models]
    data = zfit.Data(gauss.x, obs=gauss.pdf.space)
    losses = [zfit.loss.ExtendedUnbinnedNLL(total, data) for total in totals]
    params = [n_s, n_b, gauss.parameter]
    assert relative(totals[0].ext_pdf(gauss.x), totals[1].ext_pdf(gauss.x)) < 1e-9
    assert float(losses[0].value(full=True)) == pytest.approx(float(losses[1].value(full=True)), rel=1e-9)
    assert np.ravel(losses[0].gradient(params)) == pytest.approx(np.ravel(losses[1].gradient(params)), rel=1e-7)


def test_product_with_another_observable_multiplies(gauss):
    exponential = falling()
    product = zfit.pdf.ProductPDF([exponential, gauss.pdf])
    assert set(product.obs) == {"m", "a", "b", "c"}
    m = np.random.default_rng(1).uniform(0, 5, len(gauss.x))
    data = zfit.Data(np.column_stack([m, gauss.x]), obs=exponential.space * gauss.pdf.space)
    expected = exponential.pdf(m).numpy() * gauss.expected(gauss.x)
    assert relative(product.pdf(data), expected) < 1e-9
    loss = zfit.loss.UnbinnedNLL(product, data)
    assert float(loss.value(full=True)) == pytest.approx(-np.log(expected).sum(), rel=1e-9)
    sample = product.sample(10)
    assert sample.value().shape == (10, 4)


def test_two_channels_share_a_parameter(gauss):
    other = EGMM(gauss.density, params=gauss.theta, obs=["b", "c", "a"], name="second")
    first = zfit.loss.UnbinnedNLL(gauss.pdf, zfit.Data(gauss.x[:30], obs=gauss.pdf.space))
    second = zfit.loss.UnbinnedNLL(other, zfit.Data(gauss.x[30:][:, [1, 2, 0]], obs=other.space))
    both = first + second
    expected = -np.log(gauss.expected(gauss.x)).sum()
    assert both.get_params() == {gauss.parameter}
    assert float(both.value(full=True)) == pytest.approx(expected, rel=1e-9)
    slopes = [float(np.ravel(loss.gradient([gauss.parameter]))[0]) for loss in (first, second, both)]
    assert slopes[0] + slopes[1] == pytest.approx(slopes[2], rel=1e-9)


def test_constraint_adds_to_the_loss(gauss):
    data = zfit.Data(gauss.x, obs=gauss.pdf.space)
    constraint = zfit.constraint.GaussianConstraint(gauss.parameter, observation=0.5, sigma=0.1)
    losses = [zfit.loss.UnbinnedNLL(gauss.pdf, data, constraints=one) for one in (None, constraint)]
    difference = float(losses[1].value(full=True)) - float(losses[0].value(full=True))
    assert difference == pytest.approx(float(constraint.value()), rel=1e-9)
    slopes = [float(np.ravel(loss.gradient([gauss.parameter]))[0]) for loss in losses]
    assert slopes[1] - slopes[0] == pytest.approx((0.37 - 0.5) / 0.01, rel=1e-7)


def test_weighted_events_count_by_their_weight(gauss):
    weights = np.random.default_rng(2).uniform(-0.2, 2, len(gauss.x))
    data = zfit.Data(gauss.x, obs=gauss.pdf.space, weights=weights)
    values = [float(zfit.loss.UnbinnedNLL(model, data).value(full=True)) for model in (gauss.pdf, gauss.oracle)]
    assert values[0] == pytest.approx(-weights @ np.log(gauss.expected(gauss.x)), rel=1e-9)
    assert values[0] == pytest.approx(values[1], rel=1e-9)
