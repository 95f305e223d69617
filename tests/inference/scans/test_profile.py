"""Profile likelihoods: exact ones, several minima, limits, constraints, learned densities."""

from __future__ import annotations

import numpy as np
import pytest
import scan_models as models

from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import fit
from zfit_egmm.inference.scans.profile import profile

EXACT = 5e-4
"""Minuit's tolerance on -2 Delta ln L, with a margin."""


def scan(loss, name, **options):
    return profile(loss, name, progress=False, **options)


def test_the_mean_of_a_gaussian_has_the_exact_parabola():
    n, sigma, mean = 50, 2.0, 0.4
    found = scan(models.gaussian_mean(n, mean, sigma), "mu")
    assert found.values.shape == found.minus2_log_ratio.shape == found.is_valid.shape == (41,)
    assert found.best.values["mu"] == pytest.approx(mean, abs=1e-2 * sigma / np.sqrt(n))
    exact = n * (found.values - mean) ** 2 / sigma**2
    np.testing.assert_allclose(found.minus2_log_ratio, exact, atol=EXACT)
    # Two per cent more events, or a thousandth of the error in the mean, would be seen.
    assert np.abs(found.minus2_log_ratio - 1.02 * exact).max() > 10 * EXACT
    assert np.abs(found.minus2_log_ratio - n * (found.values - 0.4 - 1e-3 * 2 / 7) ** 2 / 4).max() > EXACT
    assert exact[[0, -1]] == pytest.approx(3.5**2, rel=0.05)
    assert found.nuisances == {}
    assert found.is_valid.all()
    assert found.notes == ()


def test_a_correlated_nuisance_parameter_is_profiled():
    loss, best, covariance = models.gaussian_plane()
    found = scan(loss, "a", n_points=15)
    np.testing.assert_allclose(found.minus2_log_ratio, (found.values - best[0]) ** 2 / covariance[0, 0], atol=EXACT)
    slope = covariance[0, 1] / covariance[0, 0]
    error = 2e-3 * np.sqrt(covariance[1, 1])
    np.testing.assert_allclose(found.nuisances["b"], best[1] + slope * (found.values - best[0]), atol=error)
    # Not profiled, the parabola would be four times as narrow.
    assert np.linalg.inv(covariance)[0, 0] * covariance[0, 0] > 4


def test_constraints_of_correlated_nuisance_parameters_widen_the_parabola_exactly():
    loss, error = models.constrained_shifts()
    found = scan(loss, "mu", n_points=15)
    np.testing.assert_allclose(found.minus2_log_ratio, ((found.values - 0.3) / error) ** 2, atol=EXACT)
    assert error > 1.1 / np.sqrt(40)


def test_both_minima_of_a_symmetric_likelihood_are_scanned_and_said():
    found = scan(models.squared_mean(), "theta")
    np.testing.assert_allclose(found.minus2_log_ratio, 50 * (found.values**2 - 0.6) ** 2, atol=EXACT)
    assert [abs(m.values["theta"]) for m in (found.best, *found.others)] == pytest.approx([0.6**0.5] * 2, abs=2e-3)
    assert found.best.values["theta"] * found.others[0].values["theta"] < 0
    (note,) = found.notes
    assert "another minimum near theta = -0.77" in note
    assert "0.00 above" in note


@pytest.mark.parametrize("values", [None, np.linspace(-1.2, 1.2, 25)], ids=["default", "given"])
def test_a_lower_minimum_met_on_the_way_becomes_the_best_fit(values):
    likelihood = Likelihood(models.two_unequal_minima())
    local = fit(likelihood, start={"theta": -0.8})
    assert local.values["theta"] < 0
    found = scan(likelihood, "theta", values=values, minimum=local)
    assert found.best.values["theta"] > 0
    assert found.best.nll < local.nll - 0.3
    # The way from the best fit to any point.
    exact = 2 * np.array([likelihood.value(np.array([value])) - found.best.nll for value in found.values])
    np.testing.assert_allclose(found.minus2_log_ratio, exact, atol=EXACT)
    assert found.minus2_log_ratio.min() >= 0
    assert any("another minimum near theta = -0.79" in note for note in found.notes)


@pytest.mark.parametrize(
    "options",
    [{"values": np.linspace(-3, 1.5, 46)}, {"starts": [{"mu": -0.5, "nu": 0.5}]}],
    ids=["sweeps", "starts"],
)
def test_the_lower_of_two_branches_of_a_nuisance_parameter_is_kept(options):
    likelihood = Likelihood(models.switching_nuisance())
    found = scan(likelihood, "mu", **options)
    nu = np.linspace(-3, 3, 60_001)
    exact = np.array([models.switching_ratio(value, nu).min() for value in found.values])
    np.testing.assert_allclose(found.minus2_log_ratio, exact, atol=2e-3)
    near = found.values[found.minus2_log_ratio < 1]
    assert near.min() < -0.5
    assert near.max() > 0.5
    # A fit that starts from the best one stays on its branch, far above.
    best = found.best.values
    stuck = fit(likelihood, start={**best, "mu": -best["mu"]}, fixed={"mu": -best["mu"]}, hesse=False)
    assert 2 * (stuck.nll - found.best.nll) > 10


def test_a_best_fit_at_its_limit_is_said_and_scanned_on_one_side():
    n, mean = 50, -0.2
    found = scan(models.gaussian_mean(n, mean, 1.0, low=0.0), "mu")
    assert found.values[0] == 0
    np.testing.assert_allclose(found.minus2_log_ratio, n * ((found.values - mean) ** 2 - mean**2), atol=EXACT)
    assert found.minus2_log_ratio[-1] > 9
    assert found.best.at_limit == ("mu",)
    assert found.notes == ("The best fit of mu is at its limit, 0: its Hesse error means nothing.",)


def test_a_scan_that_ends_at_a_limit_says_how_high_it_got():
    found = scan(models.gaussian_mean(low=0.2, high=0.5), "mu", n_points=5)
    assert found.values[[0, -1]].tolist() == [0.2, 0.5]
    assert found.notes == (
        "-2 Delta ln L is only 0.5 at the lower limit of mu, 0.2.",
        "-2 Delta ln L is only 0.12 at the upper limit of mu, 0.5.",
    )


def test_given_values_are_sorted_and_a_short_range_is_said():
    found = scan(models.gaussian_mean(), "mu", values=[0.5, 0.3, 0.4, 0.3])
    assert found.values.tolist() == [0.3, 0.4, 0.5]
    assert "at the lower end of the scan, mu = 0.3" in found.notes[0]
    alone = scan(models.gaussian_mean(), "mu", values=[1.4])
    np.testing.assert_allclose(alone.minus2_log_ratio, 12.5, atol=EXACT)


def test_parameters_fixed_in_the_minimum_stay_fixed_and_the_users_stay_as_they_were():
    loss = models.peak_on_exponential()
    likelihood = Likelihood(loss)
    before = likelihood.values
    best = fit(likelihood, fixed={"slope": -1.0, "mu": 1.21})
    found = scan(loss, "n_signal", n_points=5, minimum=best)
    assert set(found.nuisances) == {"n_background", "sigma"}
    assert likelihood.values == before
    reference = [
        fit(likelihood, start=best.values, fixed={"slope": -1.0, "mu": 1.21, "n_signal": v}, hesse=False).nll
        for v in found.values
    ]
    np.testing.assert_allclose(found.minus2_log_ratio, 2 * (np.array(reference) - best.nll), atol=1e-3)
    with pytest.raises(ValueError, match="'mu' was fixed in the minimum"):
        scan(loss, "mu", minimum=best)


def test_the_parameter_itself_can_be_given_and_a_loss_without_valid_name_is_refused():
    loss = models.gaussian_mean()
    (mu,) = loss.get_params()
    assert scan(loss, mu, n_points=3).parameter == "mu"
    with pytest.raises(ValueError, match="'nu' is no free parameter of the loss; there are mu"):
        scan(loss, "nu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": [-20.0, 0.0]}, r"the scan of mu from -20 to 0 leaves the limits \[-10, 10\] of the parameter"),
        ({"values": [0.0, np.nan]}, "must be finite"),
        ({"values": []}, "at least one"),
        ({"n_points": 2}, "at least 3 points"),
        ({"starts": [{"mu": 11.0}]}, r"mu = 11 lies outside the limits"),
        ({"starts": [{"sigma": 1.0}]}, "'sigma' is no free parameter"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        scan(models.gaussian_mean(), "mu", **options)


def test_a_minimum_of_other_data_or_parameters_is_refused():
    best = fit(models.gaussian_mean(mean=0.4))
    with pytest.raises(ValueError, match="the minimum has the parameters mu, but the likelihood a, b; fit again"):
        scan(models.gaussian_plane()[0], "a", minimum=best)
    with pytest.raises(ValueError, match="it belongs to other data or to another model; fit again"):
        scan(models.gaussian_mean(mean=0.5), "mu", minimum=best)


def test_a_flat_likelihood_without_limits_ends_and_is_said():
    mu, useless = models.parameter("mu", 0.5), models.parameter("useless", 0.1)
    mean = models.composed("mean", lambda mu, useless: mu + 0 * useless, mu=mu, useless=useless)
    likelihood = Likelihood(models.loss_of(models.gauss("x", mean, 1.0), models.events(30, 0.2, 1)))
    best = fit(likelihood, fixed={"useless": 0.1})
    assert scan(likelihood, "mu", minimum=best, n_points=3).notes == ()
    found = scan(likelihood, "useless", n_points=5)
    assert np.all(np.abs(found.minus2_log_ratio) < EXACT)
    assert len(found.notes) == 2
    assert "-2 Delta ln L is only 0 at the upper end of the scan, useless = 350.1." in found.notes


def test_a_progress_bar_counts_the_fits(capsys):
    profile(models.gaussian_mean(), "mu", n_points=5)
    shown = capsys.readouterr().out
    assert "profile of mu" in shown
    assert "5/5 fits" in shown


def test_a_learned_density_is_profiled_as_by_brute_force(toy_density):
    likelihood, reference = models.learned_toy(toy_density)
    before = likelihood.values
    found = scan(likelihood, "cx", n_points=11)
    assert likelihood.values == before
    grid = np.linspace(-1, 1, 201)
    for number in (0, 3, 8):
        nll = reference([(found.values[number], cy) for cy in grid])
        lowest = nll.argmin()
        # The minimum of a parabola through the three lowest points.
        low, middle, high = nll[lowest - 1 : lowest + 2]
        exact = middle - (high - low) ** 2 / (8 * (high + low - 2 * middle))
        assert found.minus2_log_ratio[number] == pytest.approx(2 * (exact - found.best.nll), abs=0.01)
        assert found.nuisances["cy"][number] == pytest.approx(grid[lowest], abs=0.01)
    assert found.minus2_log_ratio[[0, -1]].min() > 9
