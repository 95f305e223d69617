"""Kinds of input, events at the edges, and columns in another order."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import zfit
from conformity import edges, relative, separate_case, zfit_factor

from zfit_egmm.pdf import EGMM


def test_arrays_tensors_and_data_are_the_same_input(case):
    expected = case.expected(case.x)
    data = zfit.Data(case.x, obs=case.pdf.space)
    for x in (case.x, case.x.tolist(), tf.constant(case.x), data):
        assert relative(case.pdf.pdf(x), expected) < 1e-9


def test_columns_are_found_by_name(case):
    turned = [2, 0, 1]
    names = [case.pdf.obs[k] for k in turned]
    data = zfit.Data(case.x[:, turned], obs=case.pdf.space.with_obs(names))
    assert relative(case.pdf.pdf(data), case.expected(case.x)) < 1e-9
    pdf = EGMM(case.density, params=case.theta, obs=names)
    assert pdf.obs == tuple(names)
    assert relative(pdf.pdf(case.x[:, turned]), case.expected(case.x)) < 1e-9
    assert relative(pdf.pdf(zfit.Data(case.x, obs=case.pdf.space)), case.expected(case.x)) < 1e-9


def test_columns_in_another_order_integrate_and_sample_the_same(gauss):
    names = ["c", "a", "b"]
    pdf = EGMM(gauss.density, params=gauss.theta, obs=names)
    part = gauss.part()
    assert float(pdf.integrate(part)[0]) == pytest.approx(gauss.mass(part), rel=1e-9)
    assert float(pdf.integrate(part.with_obs(names))[0]) == pytest.approx(gauss.mass(part), rel=1e-9)
    draws = []
    for one in (gauss.pdf, pdf):
        zfit.settings.set_seed(3)
        draws.append(one.sample(20, part).value().numpy())
    low, high = np.array(edges(part.with_obs(names))).T
    assert np.all((draws[1] >= low) & (draws[1] <= high))
    assert np.array_equal(draws[0][:, [2, 0, 1]], draws[1])


def test_events_on_the_limits_are_inside(known):
    low, high = np.array(edges(known.pdf.space)).T
    x = np.array([low, high, [low[0], high[1], 0.5 * (low[2] + high[2])]])
    assert relative(known.pdf.pdf(x), known.oracle.pdf(x)) < 1e-9


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_events_outside_have_no_density(case, axis):
    low, high = np.array(edges(case.pdf.space)).T
    x = np.array(case.x[:5])
    x[1, axis] = np.nextafter(high[axis], np.inf)
    x[3, axis] = low[axis] - 3
    value = case.pdf.pdf(x).numpy()
    assert np.array_equal(value == 0, [False, True, False, True, False])
    assert np.array_equal(np.isneginf(case.pdf.log_pdf(x)), value == 0)
    assert relative(value[[0, 2, 4]], case.expected(x[[0, 2, 4]])) < 1e-9


def test_data_keeps_only_events_inside(gauss):
    x = np.array(gauss.x[:5])
    x[2, 0] = 99
    assert zfit.Data(x, obs=gauss.pdf.space).nevents == 4


@pytest.mark.parametrize("n", [0, 1])
def test_few_events_are_evaluated(case, n):
    assert case.pdf.pdf(case.x[:n]).shape == (n,)
    assert case.pdf.log_pdf(case.x[:n], norm=case.part()).shape == (n,)


def test_values_do_not_depend_on_the_other_events(gauss):
    whole = gauss.pdf.pdf(np.tile(gauss.x, (300, 1))).numpy()
    assert relative(whole, np.tile(gauss.pdf.pdf(gauss.x).numpy(), 300)) < 1e-13


def test_one_observable_is_a_one_dimensional_pdf():
    from conformity import density_of, separate_weights

    weights = separate_weights(1, 1, 1, seed=4)
    theta = {"t": zfit.Parameter("t", 0.5, -1, 2)}
    pdf = EGMM(density_of(weights, 1, ("b",)), params=theta)
    oracle = zfit_factor("b", weights[0], 1, theta)
    x = np.linspace(0, 10, 21)
    for one in (x, x[:, None], zfit.Data(x, obs=pdf.space)):
        assert pdf.pdf(one).shape == (21,)
        assert relative(pdf.pdf(one), oracle.pdf(x)) < 1e-9
    part = zfit.Space("b", 2, 4)
    assert float(pdf.integrate(part)[0]) == pytest.approx(float(oracle.integrate(part)[0]), rel=1e-9)
    assert relative(pdf.to_truncated(part).pdf(x[5:8]), oracle.pdf(x[5:8]) / oracle.integrate(part)) < 1e-9
    assert pdf.sample(10, part).value().shape == (10, 1)


def test_wrong_number_of_columns_is_refused(gauss):
    with pytest.raises(Exception, match=r"(?i)dimension"):
        gauss.pdf.pdf(gauss.x[:, :2])


def test_names_of_the_case_do_not_matter():
    first, second = (separate_case(name, 1, seed=1) for name in ("one", "two"))
    assert np.array_equal(first.pdf.pdf(first.x), second.pdf.pdf(first.x))
