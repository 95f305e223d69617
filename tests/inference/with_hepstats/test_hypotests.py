"""hepstats with unbinned models: the same limits where it can be trusted, and limits of learned densities."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from hepstats.hypotests import ConfidenceInterval, Discovery
from hepstats.hypotests.calculators import AsymptoticCalculator as BinnedCalculator
from hepstats.hypotests.calculators import FrequentistCalculator as OriginalFrequentist
from hepstats.hypotests.exceptions import POIRangeError
from hepstats.hypotests.parameters import POI, POIarray
from hepstats.hypotests.toyutils import ToyResult

from zfit_egmm.inference import AsymptoticCalculator, FrequentistCalculator, UpperLimit
from zfit_egmm.inference.likelihood.asimov import stationary_weights
from zfit_egmm.inference.with_hepstats.frequentist import poisson_sampler
from zfit_egmm.pdf import EGMM


@pytest.fixture
def peak():
    """A small peak on an exponential in one dimension, as in the example of hepstats."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.exponential(0.5, 300), rng.normal(1.2, 0.1, 10)])
    obs = zfit.Space("x", 0.1, 3.0)
    n_s, n_b = zfit.Parameter("n_s", 20.0, -20, 300), zfit.Parameter("n_b", 300.0, 0, 600)
    slope = zfit.Parameter("slope", -2.0, -4, -1)
    signal = zfit.pdf.Gauss(obs=obs, mu=1.2, sigma=0.1).create_extended(n_s)
    background = zfit.pdf.Exponential(obs=obs, lambda_=slope).create_extended(n_b)
    data = zfit.Data.from_numpy(obs=obs, array=x[:, None])
    return zfit.loss.ExtendedUnbinnedNLL(zfit.pdf.SumPDF([signal, background]), data), n_s


@pytest.fixture
def mixture(h4l_density, h4l_background):
    """Some signal on a background of H -> 4l, five observables, with theta fixed."""
    n_s, n_b = zfit.Parameter("n_s", 40.0, 0, 600), zfit.Parameter("n_b", 200.0, 0, 600)
    signal = EGMM(h4l_density, params={"theta": 1.0}, extended=n_s)
    background = EGMM(h4l_background, extended=n_b, name="background")
    model = zfit.pdf.SumPDF([signal, background])
    x = np.concatenate([h4l_density.sample(40, [1.0], seed=2), h4l_background.sample(200, seed=3)])
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(x, obs=model.space)), n_s


def test_limits_agree_with_the_binned_ones_of_hepstats(peak):
    loss, n_s = peak
    scan, alternative = POIarray(n_s, np.linspace(0, 40, 9)), POI(n_s, 0)
    limits = [
        UpperLimit(calculator, scan, alternative).upperlimit(printlevel=0)
        for calculator in (
            AsymptoticCalculator(loss, zfit.minimize.Minuit()),
            BinnedCalculator(loss, zfit.minimize.Minuit()),
        )
    ]
    # The binned Asimov data set has 100 bins, about three per standard deviation of the peak.
    for name, limit in limits[0].items():
        assert limit == pytest.approx(limits[1][name], rel=0.01), name
    assert limits[0]["expected_m2"] < limits[0]["expected_m1"] < limits[0]["expected"] < limits[0]["observed"]


def test_the_asimov_sample_is_stationary_and_plain_weights_are_not(peak):
    loss, _ = peak
    model = loss.model[0]
    events = model.sample(2000)
    parameters = list(model.get_params(floating=True))
    total = float(model.get_yield().value())
    pulls = []
    for weights in (stationary_weights(model, events, total), np.full(2000, total / 2000)):
        data = zfit.Data.from_numpy(obs=model.space, array=events.value().numpy(), weights=weights)
        asimov = zfit.loss.ExtendedUnbinnedNLL(model, data)
        result = zfit.minimize.Minuit().minimize(asimov)
        result.hesse(name="hesse")
        start = {parameter: float(parameter.value()) for parameter in parameters}
        assert weights.sum() == pytest.approx(total, rel=1e-4)
        true = {"n_s": 20.0, "n_b": 300.0, "slope": -2.0}
        pulls.append([(start[p] - true[p.name]) / result.params[p]["hesse"]["error"] for p in parameters])
        for parameter in parameters:
            parameter.set_value(true[parameter.name])
    assert np.abs(pulls[0]).max() < 0.01
    assert np.abs(pulls[1]).max() > 0.05


def test_a_scan_that_ends_too_early_says_what_to_scan(peak):
    loss, n_s = peak
    limit = UpperLimit(
        AsymptoticCalculator(loss, zfit.minimize.Minuit(), asimov_events=1000),
        POIarray(n_s, np.linspace(0, 25, 4)),
        POI(n_s, 0),
    )
    with pytest.raises(POIRangeError, match=r"observed limit is not among .*0 to 25: scan more values"):
        limit.upperlimit(printlevel=0)
    assert n_s.floating


def test_a_learned_mixture_has_a_significance_an_interval_and_a_limit(mixture):
    loss, n_s = mixture
    calculator = AsymptoticCalculator(loss, zfit.minimize.Minuit(gradient="zfit"), asimov_events=1000)
    fitted = calculator.bestfit.params[n_s]["value"]
    _, significance = Discovery(calculator, POI(n_s, 0)).result(printlevel=0)
    assert 20 < fitted < 60
    assert 2 < significance < 8.2
    interval = ConfidenceInterval(calculator, POIarray(n_s, np.linspace(fitted - 20, fitted + 20, 5)))
    found = interval.interval(alpha=0.32, printlevel=0)
    assert found["lower"] < fitted < found["upper"]
    # At least the Poisson error of the signal alone.
    assert 5 < 0.5 * (found["upper"] - found["lower"]) < 15
    scan = POIarray(n_s, np.linspace(2, fitted + 40, 6))
    limits = UpperLimit(calculator, scan, POI(n_s, 0)).upperlimit()
    assert fitted + 6 < limits["observed"] < fitted + 30
    assert 0 < limits["expected_m1"] < limits["expected"] < limits["expected_p1"] < limits["observed"]


def test_toys_of_a_learned_mixture_fluctuate_in_size(mixture):
    loss, _ = mixture
    (sampler,) = poisson_sampler(loss.model, [240])
    sizes = []
    for _ in range(5):
        sampler.resample()
        sizes.append(int(sampler.nevents))
    assert len(set(sizes)) > 2


def test_toys_of_a_file_of_hepstats_are_read(tmp_path):
    mean, obs = zfit.Parameter("mean", 0.3, -5, 5), zfit.Space("x", -20, 20)
    data = zfit.Data(np.random.default_rng(1).normal(0.3, 1.0, (100, 1)), obs=obs)
    loss = zfit.loss.UnbinnedNLL(zfit.pdf.Gauss(mean, 1.0, obs), data)
    minimizer, path = zfit.minimize.Minuit(), str(tmp_path / "toys.yaml")
    tested = POIarray(mean, [0.2, 0.4])
    toys = ToyResult(POI(mean, 0.2), tested)
    toys.add_entries(
        bestfit=np.array([0.21, 0.18]),
        nll_bestfit=np.array([5.0, 6.0]),
        nlls={POI(mean, 0.2): np.array([5.1, 6.2]), POI(mean, 0.4): np.array([7.0, 8.0])},
    )
    first = FrequentistCalculator(loss, minimizer)
    first.add_toyresult(toys)
    first.to_yaml(path)
    found = FrequentistCalculator.from_yaml(path, loss, minimizer, ntoysnull=2, ntoysalt=3)
    theirs = OriginalFrequentist.from_yaml(path, loss, minimizer)
    (ours,), (expected,) = found.values(), theirs.values()
    np.testing.assert_array_equal(ours.bestfit, expected.bestfit)
    np.testing.assert_array_equal(ours.nlls[POI(mean, 0.4)], [7.0, 8.0])
    assert (found.ntoysnull, found.ntoysalt) == (2, 3)
    # Further toys fluctuate in size as those of a new calculator.
    assert found._sampler is first._sampler
    assert found._sampler is not theirs._sampler
