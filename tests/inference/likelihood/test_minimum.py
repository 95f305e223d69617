"""Minima and their errors, against formulae and against zfit's own minimiser."""

from __future__ import annotations

import numpy as np
import pytest
import zfit

from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import MOST_TRIES, fit

OBS = zfit.Space("x", -50, 50)


def _gauss(n=400, seed=1, limits=(-5, 5)):
    """A Gaussian far from the ends of its range, whose best fit is the mean and the root mean square."""
    x = np.random.default_rng(seed).normal(0.4, 1.3, n)
    mean, width = zfit.Parameter("mean", np.clip(1.0, *limits), *limits), zfit.Parameter("width", 2.0, 0.1, 10)
    model = zfit.pdf.Gauss(mean, width, OBS)
    return zfit.loss.UnbinnedNLL(model, zfit.Data(x[:, None], obs=OBS)), x


def _count(n, **limits):
    """A yield alone, whose best fit is the number of events."""
    n_events = zfit.Parameter("n_events", 5.0, **limits)
    model = zfit.pdf.Gauss(0.0, 1.0, OBS).create_extended(n_events)
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.linspace(-1, 1, n)[:, None], obs=OBS))


def _within(found, values, share):
    """Whether values agree within a share of their errors."""
    return all(abs(found.values[name] - value) < share * found.errors[name] for name, value in values.items())


def test_mean_and_width_of_a_gaussian_are_those_of_the_formulae():
    loss, x = _gauss()
    before = {parameter.name: float(parameter.value()) for parameter in loss.get_params()}
    found = fit(loss)
    assert found.is_valid
    assert found.n_tries == 1
    assert found.at_limit == ()
    assert _within(found, {"mean": x.mean(), "width": x.std()}, 1e-3)
    assert not _within(found, {"mean": x.mean() + 1e-2 * x.std() / 20, "width": x.std()}, 1e-3)
    variance = x.var() / len(x)
    expected = np.diag([variance, variance / 2])
    np.testing.assert_allclose(found.covariance, expected, rtol=2e-3, atol=2e-3 * variance)
    assert list(found.errors.values()) == pytest.approx(np.sqrt(np.diag(expected)), rel=1e-3)
    log_densities = -0.5 * np.square((x - x.mean()) / x.std()) - np.log(np.sqrt(2 * np.pi) * x.std())
    assert found.nll == pytest.approx(-log_densities.sum(), abs=1e-4)
    # The parameters keep the values that they had.
    assert {parameter.name: float(parameter.value()) for parameter in loss.get_params()} == before


def test_fixed_parameters_stay_and_the_others_follow():
    loss, x = _gauss()
    likelihood = Likelihood(loss)
    free = fit(likelihood)
    found = fit(likelihood, fixed={"mean": 1.2}, steps=free.errors)
    assert found.values["mean"] == 1.2
    assert list(found.errors) == ["width"]
    assert found.covariance.shape == (1, 1)
    width = np.sqrt(np.square(x - 1.2).mean())
    assert _within(found, {"width": width}, 1e-3)
    # The profile likelihood ratio of the mean of a Gaussian of unknown width is a known function.
    assert 2 * (found.nll - free.nll) == pytest.approx(len(x) * np.log(np.square(x - 1.2).mean() / x.var()), abs=1e-3)
    both = fit(likelihood, fixed={"mean": 1.2, "width": 2.5})
    assert both.values == {"mean": 1.2, "width": 2.5}
    assert both.nll == likelihood.value(np.array([1.2, 2.5]))
    assert (both.errors, both.covariance, both.n_calls, both.is_valid) == ({}, None, 1, True)


def test_without_hesse_there_is_no_covariance_but_a_rough_error():
    likelihood = Likelihood(_gauss()[0])
    found, full = fit(likelihood, hesse=False), fit(likelihood)
    assert found.covariance is None
    assert found.errors["mean"] == pytest.approx(full.errors["mean"], rel=0.5)
    assert full.n_calls == found.n_calls + 4


def test_a_sum_is_fitted_as_zfit_does():
    rng = np.random.default_rng(4)
    obs = zfit.Space("x", 0, 10)
    x = np.concatenate([rng.normal(5, 0.7, 150), -10 * np.log(1 - rng.random(250) * (1 - np.exp(-1)))])
    p = [zfit.Parameter("n_b", 200.0, 0, 1000), zfit.Parameter("n_s", 200.0, 0, 1000)]
    slope, mu = zfit.Parameter("slope", -0.2, -1, 0.5), zfit.Parameter("mu", 4.7, 2, 8)
    signal = zfit.pdf.Gauss(mu, 0.7, obs).create_extended(p[1])
    background = zfit.pdf.Exponential(slope, obs).create_extended(p[0])
    constraint = zfit.constraint.GaussianConstraint(slope, -0.12, sigma=0.03)
    data = zfit.Data(x[(x > 0) & (x < 10)][:, None], obs=obs)
    loss = zfit.loss.ExtendedUnbinnedNLL(zfit.pdf.SumPDF([signal, background]), data, constraints=constraint)
    found = fit(loss)
    result = zfit.minimize.Minuit(gradient="zfit", tol=1e-8).minimize(loss)
    result.hesse(name="hesse")
    theirs = {parameter.name: entry for parameter, entry in result.params.items()}
    assert found.is_valid
    assert result.valid
    assert set(theirs) == set(found.values)
    assert _within(found, {name: entry["value"] for name, entry in theirs.items()}, 1e-3)
    for name, entry in theirs.items():
        assert found.errors[name] == pytest.approx(entry["hesse"]["error"], rel=1e-3), name
    order = [parameter for name in found.errors for parameter in result.params if parameter.name == name]
    scale = np.outer(list(found.errors.values()), list(found.errors.values()))
    np.testing.assert_allclose(found.covariance / scale, result.covariance(order) / scale, atol=2e-3)


def test_the_lowest_of_two_minima_is_found_from_several_starts():
    root = zfit.Parameter("root", -1.5, -4, 4)
    mean = zfit.ComposedParameter("mean", lambda params: params["r"] ** 2, params={"r": root})
    x = np.random.default_rng(2).normal(2.25, 0.5, (100, 1))
    # The constraint prefers the positive root by a difference of 2 ln L of 18.
    constraint = zfit.constraint.GaussianConstraint(root, 1.5, sigma=1 / np.sqrt(2))
    model = zfit.pdf.Gauss(mean, 0.5, OBS)
    likelihood = Likelihood(zfit.loss.UnbinnedNLL(model, zfit.Data(x, obs=OBS), constraints=constraint))
    one = fit(likelihood)
    assert one.is_valid
    assert one.values["root"] == pytest.approx(-np.sqrt(x.mean()), abs=0.02)
    both = fit(likelihood, starts=[{"root": 1.0}, {"root": -2.0}])
    assert both.values["root"] == pytest.approx(np.sqrt(x.mean()), abs=0.02)
    assert 2 * (one.nll - both.nll) == pytest.approx(18, abs=1)
    assert both.n_calls > 2 * one.n_calls
    assert fit(likelihood, start={"root": 1.0}).values["root"] == pytest.approx(both.values["root"], abs=1e-3)
    # A fixed parameter wins over the starts.
    assert fit(likelihood, fixed={"root": -1.4}, starts=[{"root": 1.0}]).values["root"] == -1.4


@pytest.mark.parametrize("limits", [(-5, 0.2), (0.6, 5)])
def test_a_parameter_at_a_limit_is_flagged(limits):
    loss, x = _gauss(limits=limits)
    found = fit(loss)
    limit = 0.2 if limits[1] == 0.2 else 0.6
    assert found.at_limit == ("mean",)
    assert limits[0] <= found.values["mean"] <= limits[1]
    assert found.values["mean"] == pytest.approx(limit, abs=1e-3)
    assert found.values["width"] == pytest.approx(np.sqrt(np.square(x - limit).mean()), rel=1e-3)
    # The result can be the start of another fit.
    fit(loss, start=found.values)


@pytest.mark.parametrize("limits", [{"lower": 0, "upper": 5000}, {"lower": 0}, {}])
def test_a_small_yield_far_below_the_upper_limit_is_not_at_a_limit(limits):
    found = fit(_count(2, **limits))
    assert found.is_valid
    assert found.values["n_events"] == pytest.approx(2, abs=1e-3)
    assert found.errors["n_events"] == pytest.approx(np.sqrt(2), rel=1e-3)
    assert found.at_limit == ()


def test_parameters_that_the_data_say_nothing_about_have_no_covariance():
    share = zfit.Parameter("share", 0.0, 0, 1, floating=False)
    slope, mean = zfit.Parameter("slope", -0.1, -1, 1), zfit.Parameter("mean", 0.0, -3, 3)
    model = zfit.pdf.SumPDF([zfit.pdf.Exponential(slope, OBS), zfit.pdf.Gauss(mean, 1.0, OBS)], fracs=share)
    x = np.random.default_rng(5).normal(0.2, 1, (100, 1))
    found = fit(zfit.loss.UnbinnedNLL(model, zfit.Data(x, obs=OBS)))
    assert found.covariance is None
    assert found.values["mean"] == pytest.approx(x.mean(), abs=1e-3)


class _Broken(Likelihood):
    """No number comes out while the mean is below a value."""

    def __init__(self, loss, below):
        super().__init__(loss)
        self.below = below
        self.n_called = 0

    def value(self, at, floating=None):
        self.n_called += 1
        return super().value(at, floating) if at[0] >= self.below else np.nan

    def value_and_gradient(self, at, floating=None):
        self.n_called += 1
        value, gradient = super().value_and_gradient(at, floating)
        return (value, gradient) if at[0] >= self.below else (np.nan, np.full(2, np.nan))


def test_a_fit_that_fails_is_tried_again_from_elsewhere():
    loss, x = _gauss()
    likelihood = _Broken(loss, 0.0)
    # The first start is where nothing works; the next ones are about an error of half a unit away.
    found = fit(likelihood, start={"mean": -0.1, "width": 1.5}, seed=2)
    assert found.is_valid
    assert 1 < found.n_tries <= MOST_TRIES
    assert found.n_calls == likelihood.n_called
    assert _within(found, {"mean": x.mean(), "width": x.std()}, 2e-3)
    again = fit(_Broken(loss, 0.0), start={"mean": -0.1, "width": 1.5}, seed=2)
    assert again.values == found.values


def test_a_fit_that_always_fails_says_so_and_sets_the_parameters_back():
    loss, _ = _gauss()
    likelihood = _Broken(loss, np.inf)
    before = likelihood.values
    found = fit(likelihood)
    assert not found.is_valid
    assert found.covariance is None
    assert found.n_tries == MOST_TRIES
    assert found.n_calls == likelihood.n_called
    assert likelihood.values == before
    assert not fit(likelihood, fixed=before).is_valid


def test_wrong_names_and_values_are_refused():
    likelihood = Likelihood(_gauss()[0])
    with pytest.raises(ValueError, match="'mass' is no free parameter of the loss; there are mean, width"):
        fit(likelihood, fixed={"mass": 1.0})
    with pytest.raises(ValueError, match=r"mean = 7 lies outside the limits \[-5, 5\]"):
        fit(likelihood, start={"mean": 7.0})
    with pytest.raises(ValueError, match="width = nan lies outside"):
        fit(likelihood, starts=[{"width": np.nan}])
    with pytest.raises(TypeError, match="unbinned zfit loss, got str"):
        fit("loss")
