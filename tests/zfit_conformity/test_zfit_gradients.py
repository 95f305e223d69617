"""Derivatives with respect to the parameters."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from conformity import derivative, finite_difference, wrong_oracle


def close(value, expected, tolerance):
    return np.max(np.abs(value - expected)) < tolerance * np.max(np.abs(expected))


def test_gradient_of_values_is_that_of_the_oracle(known):
    value = derivative(lambda: known.pdf.pdf(known.x), known.parameter)
    assert np.max(np.abs(value)) > 0
    assert close(value, derivative(lambda: known.oracle.pdf(known.x), known.parameter), 1e-7)
    assert not close(value, derivative(lambda: wrong_oracle(known, 1e-3).pdf(known.x), known.parameter), 1e-5)


def test_gradient_of_values_is_that_of_differences(trained):
    value = derivative(lambda: trained.pdf.log_pdf(trained.x), trained.parameter)
    difference = finite_difference(lambda: trained.pdf.log_pdf(trained.x), trained.parameter)
    assert close(value, difference, 1e-6)


def test_gradient_of_an_integral_is_that_of_the_oracle(known):
    part = known.part()
    value = derivative(lambda: known.pdf.integrate(part), known.parameter)
    assert close(value, finite_difference(lambda: known.mass(part), known.parameter), 1e-7)


def test_gradient_of_an_integral_is_that_of_differences(trained):
    part = trained.part()
    value = derivative(lambda: trained.pdf.integrate(part), trained.parameter)
    assert close(value, finite_difference(lambda: trained.pdf.integrate(part), trained.parameter), 1e-6)
    exact = finite_difference(lambda: trained.mass(part), trained.parameter)
    assert close(value, exact, 0.02)


def test_gradient_of_values_normalised_to_a_part_is_that_of_the_oracle(gauss):
    part = gauss.part()
    value = derivative(lambda: gauss.pdf.log_pdf(gauss.x, norm=part), gauss.parameter)
    shift = finite_difference(lambda: np.full(len(gauss.x), np.log(gauss.mass(part))), gauss.parameter)
    whole = derivative(lambda: gauss.oracle.log_pdf(gauss.x), gauss.parameter)
    assert close(value, whole - shift, 1e-7)


def test_gradient_of_a_marginal_is_that_of_the_oracle(gauss):
    marginal = gauss.pdf.create_projection_pdf(obs="b")
    x = gauss.x[:, [1]]
    value = derivative(lambda: marginal.pdf(x), gauss.parameter)
    assert close(value, derivative(lambda: gauss.factors["b"].pdf(x), gauss.parameter), 1e-7)


def test_gradient_and_hessian_of_a_loss_are_those_of_the_oracle(gauss):
    losses = [
        zfit.loss.UnbinnedNLL(model, zfit.Data(gauss.x, obs=gauss.pdf.space)) for model in (gauss.pdf, gauss.oracle)
    ]
    assert float(losses[0].value(full=True)) == pytest.approx(float(losses[1].value(full=True)), rel=1e-9)
    gradients = [np.ravel(loss.gradient([gauss.parameter])) for loss in losses]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-7)
    hessians = [np.ravel(loss.hessian([gauss.parameter])) for loss in losses]
    assert hessians[0] == pytest.approx(hessians[1], rel=1e-5)


def test_gradient_of_an_extended_loss_with_respect_to_the_yield_is_known(trained):
    n = zfit.Parameter("n", 50.0, 0, 200)
    pdf = trained.pdf.create_extended(n)
    loss = zfit.loss.ExtendedUnbinnedNLL(pdf, zfit.Data(trained.x, obs=pdf.space))
    assert float(np.ravel(loss.gradient([n]))[0]) == pytest.approx(1 - len(trained.x) / 50, rel=1e-9)
