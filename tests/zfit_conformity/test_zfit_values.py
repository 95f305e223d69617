"""Values of the PDF: those of the oracle, in float64, in both modes of execution."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import zfit
from conformity import (
    RANGES,
    density_of,
    derivative,
    relative,
    separate_case,
    separate_weights,
    sum_of_gausses,
    wrong_oracle,
)

from zfit_egmm.pdf import EGMM


@pytest.mark.parametrize("is_graph", [True, False])
def test_values_are_those_of_the_oracle(case, is_graph):
    zfit.run.set_graph_mode(is_graph)
    expected = case.expected(case.x)
    assert relative(case.pdf.pdf(case.x), expected) < 1e-9
    assert np.max(np.abs(case.pdf.log_pdf(case.x).numpy() - np.log(expected))) < 1e-9


def test_values_follow_theta(known):
    for value in (-1.0, 0.1, 2.0):
        known.parameter.set_value(value)
        assert relative(known.pdf.pdf(known.x), known.oracle.pdf(known.x)) < 1e-9


def test_one_component_per_factor_is_a_product_of_truncated_gausses(gauss):
    factors = []
    for name, factor in gauss.factors.items():
        _, mean, width = (column.numpy()[0] for column in factor.describe(gauss.parameter.value()))
        space = factor.space
        factors.append(zfit.pdf.TruncatedGauss(mean, width, *RANGES[name], obs=space))
    product = zfit.pdf.ProductPDF(factors, obs=gauss.pdf.space)
    assert relative(gauss.pdf.pdf(gauss.x), product.pdf(gauss.x)) < 1e-9


def test_one_observable_is_a_sum_of_truncated_gauss_distributions():
    weights = separate_weights(3, 1, 1, seed=5)
    theta = {"t": zfit.Parameter("t", 0.4, -1, 2)}
    pdf = EGMM(density_of(weights, 3, ("a",)), params=theta)
    total = sum_of_gausses("a", weights[0], 3, theta)
    x = np.linspace(-2, 3, 40)
    assert relative(pdf.pdf(x), total.pdf(x)) < 1e-9
    gradients = [derivative(lambda one=one: one.pdf(x), theta["t"]) for one in (pdf, total)]
    assert np.allclose(*gradients, rtol=1e-7, atol=1e-9)


def test_a_slightly_wrong_oracle_is_noticed(known):
    assert relative(known.pdf.pdf(known.x), wrong_oracle(known, 0.0).pdf(known.x)) < 1e-9
    assert relative(known.pdf.pdf(known.x), wrong_oracle(known, 1e-6).pdf(known.x)) > 1e-8


def test_values_without_theta_are_those_of_the_oracle():
    case = separate_case("constant", 2, seed=3, has_theta=False)
    assert not case.pdf.get_params()
    assert relative(case.pdf.pdf(case.x), case.oracle.pdf(case.x)) < 1e-9


def test_extended_values_are_multiplied_by_the_yield(case):
    pdf = case.pdf.create_extended(zfit.Parameter("n", 250.0))
    assert relative(pdf.ext_pdf(case.x), 250 * case.expected(case.x)) < 1e-9
    assert relative(tf.exp(pdf.ext_log_pdf(case.x)), 250 * case.expected(case.x)) < 1e-9
    assert relative(pdf.pdf(case.x), case.expected(case.x)) < 1e-9


def test_values_without_norm_are_those_with_it(case):
    assert relative(case.pdf.pdf(case.x, norm=False), case.expected(case.x)) < 1e-9


@pytest.mark.parametrize(("name", "is_graph"), [("gauss", True), ("trained", False)])
def test_everything_is_float64(request, name, is_graph):
    zfit.run.set_graph_mode(is_graph)
    case = request.getfixturevalue(name)
    pdf = case.pdf.create_extended(zfit.Parameter("n", 10.0))
    data = zfit.Data(case.x, obs=pdf.space)
    loss = zfit.loss.ExtendedUnbinnedNLL(pdf, data)
    results = {
        "pdf": pdf.pdf(case.x),
        "log_pdf": pdf.log_pdf(case.x),
        "ext_pdf": pdf.ext_pdf(case.x),
        "part": pdf.pdf(case.x, norm=case.part()),
        "integrate": pdf.integrate(case.part()),
        "ext_integrate": pdf.ext_integrate(case.part()),
        "sample": pdf.sample(7).value(),
        "sample of a part": pdf.sample(7, case.part()).value(),
        "loss": loss.value(),
    }
    assert {name: value.dtype for name, value in results.items() if value.dtype != tf.float64} == {}
    assert pdf.dtype == tf.float64


def test_float32_events_are_taken_as_float64(case):
    x = case.x.astype(np.float32)
    x[:, :] = np.clip(x, *np.array(case.pdf.space.rect_limits_np).reshape(2, -1).astype(np.float32))
    value = case.pdf.pdf(x)
    assert value.dtype == tf.float64
    assert relative(value, case.expected(x.astype(np.float64))) < 1e-9
