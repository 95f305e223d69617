"""Intervals from profile likelihoods: exact ones, Minos, several parts, limits, learned densities."""

from __future__ import annotations

import iminuit
import numpy as np
import pytest
import scan_models as models
import zfit
from scipy.stats import chi2

from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import fit
from zfit_egmm.inference.scans.intervals import interval
from zfit_egmm.inference.scans.profile import profile

PRECISION = 1e-3
"""Of the ends, in units of the error: far below what anyone quotes, above Minuit's tolerance."""


@pytest.mark.parametrize("level", [0.5, 0.6827, 0.95, 0.9999])
def test_the_mean_of_a_gaussian_has_the_exact_interval(level):
    n, sigma, mean = 50, 2.0, 0.4
    found = interval(models.gaussian_mean(n, mean, sigma), "mu", level=level)
    half, error = np.sqrt(chi2.ppf(level, 1)) * sigma / np.sqrt(n), sigma / np.sqrt(n)
    assert found.value == pytest.approx(mean, abs=0.01 * error)
    assert [found.lower, found.upper] == pytest.approx([mean - half, mean + half], abs=PRECISION * error)
    assert found.threshold == pytest.approx(chi2.ppf(level, 1))
    assert found.is_valid
    assert found.notes == ()
    assert found.contains(mean + 0.99 * half)
    assert not found.contains(mean + 1.01 * half)


def test_correlated_nuisance_parameters_with_a_constraint_widen_the_interval_exactly():
    loss, error = models.constrained_shifts()
    found = interval(loss, "mu")
    assert [found.lower, found.upper] == pytest.approx([0.3 - error, 0.3 + error], abs=PRECISION * error)
    assert str(found) == "mu = 0.3 -0.2 +0.2 (68.27 %)"


def test_both_minima_have_their_part():
    n, mean = 50, 0.6
    loss = models.squared_mean(n, mean)
    for level in (0.6827, 0.9545):
        found = interval(loss, "theta", level=level)
        half = np.sqrt(chi2.ppf(level, 1) / n)
        low, high = np.sqrt([mean - half, mean + half])
        np.testing.assert_allclose(found.parts, [(-high, -low), (low, high)], atol=PRECISION * 0.09)
        assert found.contains(-found.value)
        assert not found.contains(0.0)
        assert found.lower <= found.value <= found.upper
        assert "another minimum near theta" in found.notes[0]
        assert ", and [" in str(found)
    # Where the barrier between the minima is below the threshold they merge.
    merged = interval(models.squared_mean(n, 0.2), "theta", level=0.95)
    half = chi2.ppf(0.95, 1) ** 0.5 / n**0.5
    np.testing.assert_allclose(merged.parts, [(-((0.2 + half) ** 0.5), (0.2 + half) ** 0.5)], atol=1e-3)


def test_a_second_minimum_counts_only_if_it_reaches_below_the_threshold():
    loss = models.two_unequal_minima()
    height = profile(loss, "theta", progress=False).others[0].nll
    best = fit(loss, start={"theta": 0.8})
    level = chi2.cdf(2 * (height - best.nll), 1)
    assert 0.5 < level < 0.9
    assert len(interval(loss, "theta", level=level - 0.02, minimum=best).parts) == 1
    assert len(interval(loss, "theta", level=level + 0.02, minimum=best).parts) == 2


def test_a_lower_minimum_met_on_the_way_becomes_the_best_fit():
    loss = models.two_unequal_minima()
    local = fit(loss, start={"theta": -0.8})
    found = interval(loss, "theta", minimum=local)
    assert found.best.nll < local.nll - 0.3
    assert found.value > 0


def test_an_end_at_a_limit_is_said():
    n, mean = 50, -0.2
    found = interval(models.gaussian_mean(n, mean, 1.0, low=0.0), "mu", level=0.9)
    assert found.lower == 0
    # -2 Delta ln L counts from the value at the limit.
    assert found.upper == pytest.approx(mean + np.sqrt(mean**2 + chi2.ppf(0.9, 1) / n), abs=1e-4)
    assert found.is_valid
    assert found.notes == (
        "The best fit of mu is at its limit, 0: its Hesse error means nothing.",
        "The lower end of the interval is the limit of mu, 0.",
    )


def test_the_upper_end_can_be_at_a_limit_with_the_best_fit_inside():
    found = interval(models.gaussian_mean(50, 0.4, 2.0, high=0.6), "mu")
    assert [found.lower, found.upper] == pytest.approx([0.4 - 2 / 50**0.5, 0.6], abs=3e-4)
    assert found.notes == ("The upper end of the interval is the limit of mu, 0.6.",)


def test_an_interval_without_an_end_is_not_valid():
    mu, useless = models.parameter("mu", 0.5), models.parameter("useless", 0.1)
    mean = models.composed("mean", lambda mu, useless: mu + 0 * useless, mu=mu, useless=useless)
    found = interval(models.loss_of(models.gauss("x", mean, 1.0), models.events(30, 0.2, 1)), "useless")
    assert not found.is_valid
    assert sum("-2 Delta ln L does not reach 1 up to useless" in note for note in found.notes) == 2


def test_minos_and_zfit_find_the_same_intervals():
    loss = models.peak_on_exponential()
    likelihood = Likelihood(loss)
    best = fit(likelihood)
    minuit = iminuit.Minuit(
        lambda at: likelihood.value(np.array(at)),
        list(best.values.values()),
        grad=lambda at: likelihood.value_and_gradient(np.array(at))[1],
        name=likelihood.names,
    )
    minuit.errordef, minuit.tol = 0.5, 1e-3
    for name in likelihood.names:
        minuit.limits[name], minuit.errors[name] = likelihood.limits[name], best.errors[name]
    minuit.migrad()
    minuit.minos()
    result = zfit.minimize.Minuit(gradient="zfit", tol=1e-5).minimize(loss)
    errors, _ = result.errors(name="minos")
    before = likelihood.values
    for parameter in loss.get_params():
        name, error = parameter.name, best.errors[parameter.name]
        found = interval(likelihood, parameter, minimum=best)
        minos = minuit.merrors[name]
        expected = [minuit.values[name] + minos.lower, minuit.values[name] + minos.upper]
        assert [found.lower, found.upper] == pytest.approx(expected, abs=PRECISION * error), name
        value = result.params[parameter]["value"]
        expected = [value + errors[parameter]["lower"], value + errors[parameter]["upper"]]
        assert [found.lower, found.upper] == pytest.approx(expected, abs=5 * PRECISION * error), name
        # Not the symmetric Hesse errors.
        if name == "sigma":
            assert abs(found.upper - found.value - error) > 0.03 * error
    assert likelihood.values == before


def test_a_given_profile_is_used_and_extended():
    likelihood = Likelihood(models.gaussian_mean())
    short = profile(likelihood, "mu", values=np.linspace(0.3, 0.6, 5), progress=False)
    found = interval(likelihood, "mu", profile=short)
    assert [found.lower, found.upper] == pytest.approx([0.4 - 2 / 50**0.5, 0.4 + 2 / 50**0.5], abs=3e-4)
    wide = profile(likelihood, "mu", values=np.linspace(-9, 9, 4), progress=False)
    found = interval(likelihood, "mu", profile=wide)
    assert [found.lower, found.upper] == pytest.approx([0.4 - 2 / 50**0.5, 0.4 + 2 / 50**0.5], abs=1e-3)


def test_what_makes_no_sense_is_refused():
    loss = models.gaussian_mean()
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1, such as 0.6827, got 68"):
        interval(loss, "mu", level=68)
    with pytest.raises(ValueError, match="'nu' is no free parameter"):
        interval(loss, "nu")
    other = profile(models.gaussian_plane()[0], "a", n_points=3, progress=False)
    with pytest.raises(ValueError, match="the profile is one of a, but the interval of mu is wanted"):
        interval(loss, "mu", profile=other)
    wrong = profile(models.gaussian_mean(mean=0.9), "mu", n_points=3, progress=False)
    with pytest.raises(ValueError, match="belongs to other data"):
        interval(loss, "mu", profile=wrong)


def test_the_interval_of_a_learned_density_ends_where_separate_fits_say(toy_density):
    likelihood, _ = models.learned_toy(toy_density)
    before = likelihood.values
    found = interval(likelihood, "cy")
    assert likelihood.values == before
    assert found.is_valid
    assert -1 < found.lower < found.value < found.upper < 1
    inside = 0.5 * (found.value + found.upper)
    for value, low, high in ((found.lower, 0.99, 1.01), (found.upper, 0.99, 1.01), (inside, 0.1, 0.6)):
        there = fit(likelihood, start=found.best.values | {"cy": value}, fixed={"cy": value}, hesse=False)
        assert low < 2 * (there.nll - found.best.nll) < high
