"""Negative yields: toys of the total density, and minima that are none because the likelihood is cut off."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from hepstats.hypotests.parameters import POI, POIarray
from scipy.optimize import minimize
from scipy.stats import kstest, norm

from zfit_egmm.inference import FrequentistCalculator, Likelihood, ToyFit, fit, run_toys, upper_limit
from zfit_egmm.inference.likelihood.asimov import asimov_sample
from zfit_egmm.inference.likelihood.minuit_fit import Found
from zfit_egmm.inference.toys.sources import FromModel

OBS = zfit.Space("x", 0, 1)
PEAK, WIDTH = 0.4, 0.1


def _loss(n_s=-20.0, n_b=170.0, x=None):
    """A hole, or a peak, in a flat background of width one; it is positive if n_s > -0.25 n_b."""
    signal = zfit.pdf.Gauss(PEAK, WIDTH, OBS, extended=zfit.Parameter("n_s", n_s))
    flat = zfit.pdf.Uniform(0, 1, OBS, extended=zfit.Parameter("n_b", n_b))
    x = np.linspace(0.01, 0.99, 150) if x is None else x
    return zfit.loss.ExtendedUnbinnedNLL(zfit.pdf.SumPDF([signal, flat]), zfit.Data(x[:, np.newaxis], obs=OBS))


def _cumulative(x, n_s=-20.0, n_b=170.0):
    low, high = norm.cdf([0, 1], PEAK, WIDTH)
    return (n_s * (norm.cdf(x, PEAK, WIDTH) - low) / (high - low) + n_b * x) / (n_s + n_b)


@pytest.fixture(scope="module")
def likelihood():
    return Likelihood(_loss())


def test_toys_follow_the_total_density_and_its_number_of_events(likelihood):
    source, true = FromModel(likelihood), {"n_s": -20.0, "n_b": 170.0}
    toys = [source(true, np.random.default_rng(seed))[0] for seed in range(200)]
    sizes = np.array([len(one) for one in toys])
    # 169 events instead of 150 are 20 standard deviations of the mean.
    assert abs(sizes.mean() - 150) < 3.5 * np.sqrt(150 / 200)
    assert abs(sizes.var() / 150 - 1) < 3.5 * np.sqrt(2 / 200)
    x = np.concatenate(toys)[:, 0]
    assert kstest(x, _cumulative).pvalue > 0.01
    # Without the negative term the same test fails.
    assert kstest(x, "uniform").pvalue < 1e-6


def test_fits_of_such_toys_find_the_true_yields(likelihood):
    results = run_toys(lambda: ToyFit(likelihood, interest=["n_s"], intervals=False), 60, seed=3, progress=False)
    assert results.n_failed == 0
    n_s = results.column("n_s")
    # The mean was -9.5.
    assert abs(n_s.mean() + 20) < 3.5 * n_s.std() / np.sqrt(len(n_s))
    assert abs((results.column("n_s") + results.column("n_b")).mean() - 150) < 3.5 * np.sqrt(150 / 60)


def test_toys_of_a_fixed_number_of_events_follow_the_total_density():
    share = zfit.Parameter("share", -20 / 150)
    model = zfit.pdf.SumPDF([zfit.pdf.Gauss(PEAK, WIDTH, OBS), zfit.pdf.Uniform(0, 1, OBS)], fracs=share)
    loss = zfit.loss.UnbinnedNLL(model, zfit.Data(np.full((5000, 1), 0.5), obs=OBS))
    (x,) = FromModel(Likelihood(loss))({"share": -20 / 150}, np.random.default_rng(4))
    assert x.shape == (5000, 1)
    assert kstest(x[:, 0], _cumulative).pvalue > 0.01
    assert kstest(x[:, 0], "uniform").pvalue < 1e-6


def test_events_of_a_density_that_is_negative_somewhere_are_refused(likelihood):
    toy = ToyFit(likelihood, interest=["n_s"])
    message = r"SumPDF.* \(-60 Gauss.*, 170 Uniform.*\) is negative at .* places, the worst at x = 0\.[34]"
    with pytest.raises(ValueError, match=message):
        run_toys(lambda: toy, 1, points=[{"n_s": -60.0}], progress=False)
    with pytest.raises(ValueError, match="is negative"):
        FromModel(likelihood)({"n_s": -160.0, "n_b": 170.0}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="has -10 events in total"):
        FromModel(likelihood)({"n_s": -180.0, "n_b": 170.0}, np.random.default_rng(0))
    with likelihood.restored():
        likelihood.set_values({"n_s": -60.0})
        with pytest.raises(ValueError, match="is negative"):
            asimov_sample(likelihood.models[0], 110, n_events=1000)


def test_an_asimov_sample_of_a_hole_gives_its_yields_back(likelihood):
    with likelihood.restored():
        likelihood.set_values({"n_s": -20.0, "n_b": 170.0})
        sample = asimov_sample(likelihood.models[0], 150, n_events=2000)
    other = Likelihood(zfit.loss.ExtendedUnbinnedNLL(likelihood.models[0], sample))
    found = fit(other)
    assert found.values == pytest.approx({"n_s": -20, "n_b": 170}, abs=0.05)


def test_hepstats_refuses_what_it_cannot_draw():
    loss = _loss()
    n_s = next(parameter for parameter in loss.get_params() if parameter.name == "n_s")
    calculator = FrequentistCalculator(loss, zfit.minimize.Minuit(), ntoysnull=1, ntoysalt=1)
    with pytest.raises(ValueError, match="the negative yield -20"):
        calculator.qnull(POIarray(n_s, [-20.0]), POI(n_s, 0))


def _hole():
    """Events of a hole, and the best yields by scipy."""
    rng = np.random.default_rng(6)
    x = rng.random(400)
    kept = x[rng.random(400) < 1 - 20 / 170 * norm.pdf(x, PEAK, WIDTH)]
    peak = norm.pdf(kept, PEAK, WIDTH) / np.diff(norm.cdf([0, 1], PEAK, WIDTH))

    def nll(p):
        total = p[0] * peak + p[1]
        return p[0] + p[1] - np.log(total).sum() if total.min() > 0 else 1e9

    best = minimize(nll, [-10, 300], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    return kept, best.x, best.fun


def test_a_minimum_where_the_likelihood_is_cut_off_is_not_valid():
    x, wanted, lowest = _hole()
    likelihood = Likelihood(_loss(-10.0, 300.0, x))
    free = fit(likelihood)
    assert free.is_valid
    assert (free.reason, free.clipped_share) == ("", 0.0)
    assert [free.values["n_s"], free.values["n_b"]] == pytest.approx(wanted, abs=0.05)
    for start in (-150.0, -1000.0):
        found = fit(likelihood, start={"n_s": start})
        assert found.is_valid == (abs(found.nll - lowest) < 1e-3)
        assert found.is_valid or "have no positive density" in found.reason
    # With everything else held where the total is negative at 40 to 60 per cent of the events.
    held = fit(likelihood, fixed={"n_b": -10.0}, start={"n_s": -500.0})
    assert not held.is_valid
    assert held.clipped_share > 0.3
    n_clipped = round(held.clipped_share * len(x))
    assert f"{n_clipped} of {len(x)} events" in held.reason
    assert "have no positive density" in held.reason


def test_an_event_that_no_term_describes_is_told_and_none_at_all_is_no_minimum():
    edge = zfit.Space("x", 0, 2)
    mean = zfit.Parameter("mean", 0.4, 0, 1)
    model = zfit.pdf.TruncatedGauss(mean, 0.2, 0, 1, edge)
    x = np.append(np.random.default_rng(2).normal(0.5, 0.1, 99), 1.5)
    found = fit(zfit.loss.UnbinnedNLL(model, zfit.Data(x[:, np.newaxis], obs=edge)))
    assert found.is_valid
    assert found.clipped_share == pytest.approx(0.01)
    assert found.notes[0].startswith("1 of 100 events have no density in TruncatedGauss")
    nowhere = fit(zfit.loss.UnbinnedNLL(model, zfit.Data(np.full((10, 1), 1.5), obs=edge)))
    assert not nowhere.is_valid
    assert "10 of 10 events" in nowhere.reason


def test_a_minimum_above_its_start_is_not_valid(monkeypatch, likelihood):
    def higher(likelihood, start, floating, guesses):
        del guesses
        at = start + 50.0
        return Found(at, np.ones(2), np.ones(2), is_valid=True, start_nll=likelihood.value(start, floating))

    monkeypatch.setattr("zfit_egmm.inference.likelihood.minimum.minimise", higher)
    found = fit(likelihood, start={"n_s": 0.0, "n_b": 150.0})
    assert not found.is_valid
    assert found.reason.endswith("higher than at the start")


def test_limits_and_tests_refuse_a_best_fit_that_is_none():
    x = np.linspace(0.7, 0.9, 30)
    signal = zfit.pdf.TruncatedGauss(0.5, 0.1, 0.4, 0.6, OBS, extended=zfit.Parameter("n_s", 5.0, 0, 100))
    loss = zfit.loss.ExtendedUnbinnedNLL(signal, zfit.Data(x[:, np.newaxis], obs=OBS))
    with pytest.raises(RuntimeError, match=r"not valid.*no positive density"):
        upper_limit(loss, "n_s")
