"""Parameters and copies."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from conformity import relative
from zfit.util.exception import AlreadyExtendedPDFError

from zfit_egmm.pdf import EGMM


def test_parameters_are_those_given(case):
    assert case.pdf.get_params() == set(case.theta.values())
    assert set(case.pdf.params) == set(case.theta)
    case.parameter.floating = False
    assert case.pdf.get_params() == set()
    assert case.pdf.get_params(floating=None) == set(case.theta.values())


def test_yield_is_a_parameter_of_its_own_kind(gauss):
    n = zfit.Parameter("n", 10.0)
    pdf = gauss.pdf.create_extended(n)
    assert pdf.get_params() == {n, gauss.parameter}
    assert pdf.get_params(is_yield=True) == {n}
    assert pdf.get_params(is_yield=False) == {gauss.parameter}
    assert pdf.get_yield() is n


def test_given_parameters_act_like_set_ones(gauss):
    by_argument = gauss.pdf.pdf(gauss.x, params={gauss.parameter.name: 1.5}).numpy()
    part = gauss.part()
    integral = gauss.pdf.integrate(part, params={gauss.parameter.name: 1.5}).numpy()
    assert not np.allclose(by_argument, gauss.pdf.pdf(gauss.x))
    assert float(gauss.parameter.value()) == 0.37
    with gauss.parameter.set_value(1.5):
        assert relative(by_argument, gauss.pdf.pdf(gauss.x)) < 1e-14
        assert relative(integral, gauss.pdf.integrate(part)) < 1e-14
        assert relative(by_argument, gauss.oracle.pdf(gauss.x)) < 1e-9


def test_two_pdfs_of_one_density_share_a_parameter_or_not(gauss):
    other = zfit.Parameter("other", -0.8, -1, 2)
    shared, separate = (EGMM(gauss.density, params={"t": one}) for one in (gauss.parameter, other))
    assert relative(shared.pdf(gauss.x), gauss.pdf.pdf(gauss.x)) < 1e-14
    assert not np.allclose(separate.pdf(gauss.x), gauss.pdf.pdf(gauss.x))
    gauss.parameter.set_value(-0.8)
    assert relative(separate.pdf(gauss.x), gauss.pdf.pdf(gauss.x)) < 1e-14
    assert relative(shared.pdf(gauss.x), gauss.pdf.pdf(gauss.x)) < 1e-14


def test_composed_parameter_moves_the_pdf(gauss):
    free = zfit.Parameter("free", 0.2)
    composed = zfit.ComposedParameter("twice", lambda params: 2 * params["free"], params={"free": free})
    pdf = EGMM(gauss.density, params={"t": composed})
    assert pdf.get_params() == {free}
    with gauss.parameter.set_value(0.4):
        assert relative(pdf.pdf(gauss.x), gauss.oracle.pdf(gauss.x)) < 1e-9


def test_copy_is_the_same_pdf(case):
    copy = case.pdf.copy(name="copy")
    assert copy.name == "copy"
    assert copy.get_params() == case.pdf.get_params()
    assert np.array_equal(copy.pdf(case.x), case.pdf.pdf(case.x))


def test_extended_copy_leaves_the_original_alone(gauss):
    extended = gauss.pdf.create_extended(zfit.Parameter("n", 20.0))
    assert extended.is_extended
    assert not gauss.pdf.is_extended
    again = extended.copy()
    assert again.get_yield() is extended.get_yield()
    assert relative(again.ext_pdf(gauss.x), 20 * gauss.pdf.pdf(gauss.x).numpy()) < 1e-12


def test_yield_is_set_in_place(gauss):
    pdf = gauss.pdf.copy()
    pdf.set_yield(zfit.Parameter("n", 30.0))
    assert pdf.is_extended
    assert relative(pdf.ext_pdf(gauss.x), 30 * gauss.pdf.pdf(gauss.x).numpy()) < 1e-12
    with pytest.raises(AlreadyExtendedPDFError):
        pdf.set_yield(3.0)


def test_copy_of_a_truncated_pdf_stays_truncated(gauss):
    pdf = gauss.pdf.to_truncated(gauss.part()).copy()
    assert np.array_equal(pdf.pdf(gauss.x) == 0, gauss.pdf.to_truncated(gauss.part()).pdf(gauss.x) == 0)
    assert np.any(pdf.pdf(gauss.x) == 0)


def test_copy_with_another_parameter_follows_that(gauss):
    pdf = gauss.pdf.copy(params={"t": zfit.Parameter("new", 1.7, -1, 2)})
    with gauss.parameter.set_value(1.7):
        assert relative(pdf.pdf(gauss.x), gauss.oracle.pdf(gauss.x)) < 1e-9
