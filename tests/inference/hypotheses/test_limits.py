"""Upper limits: formulae against simulated distributions, hepstats, and counting experiments that are known exactly."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import zfit
from hepstats.hypotests.calculators import AsymptoticCalculator as BinnedCalculator
from hepstats.hypotests.parameters import POI, POIarray
from scipy.optimize import brentq, minimize
from scipy.special import ndtri
from scipy.stats import norm, poisson

from zfit_egmm.inference import AsymptoticCalculator, Likelihood, UpperLimit
from zfit_egmm.inference.hypotheses.asymptotic import expected_cls, observed_cls
from zfit_egmm.inference.hypotheses.limit_curves import LimitToys, limits_of, resampled_errors, toy_curves
from zfit_egmm.inference.hypotheses.limits import upper_limit
from zfit_egmm.inference.hypotheses.profile_ratio import asimov_ratio
from zfit_egmm.inference.hypotheses.ratio_toys import RatioToys
from zfit_egmm.inference.toys.settings import ToySettings
from zfit_egmm.pdf import EGMM


def peak_loss(low=-20.0, n_signal=10, seed=1):
    """A small peak on an exponential in one dimension, as in the example of hepstats."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.exponential(0.5, 300), rng.normal(1.2, 0.1, n_signal)])
    obs = zfit.Space("x", 0.1, 3.0)
    n_s, n_b = zfit.Parameter("n_s", 20.0, low, 300), zfit.Parameter("n_b", 300.0, 0, 600)
    slope = zfit.Parameter("slope", -2.0, -4, -1)
    signal = zfit.pdf.Gauss(obs=obs, mu=1.2, sigma=0.1).create_extended(n_s)
    background = zfit.pdf.Exponential(obs=obs, lambda_=slope).create_extended(n_b)
    data = zfit.Data.from_numpy(obs=obs, array=x[:, None])
    return zfit.loss.ExtendedUnbinnedNLL(zfit.pdf.SumPDF([signal, background]), data)


def counting_loss(n=5, background=4.0, measured=None):
    """Events of one kind only: a signal on a background that is known, or measured with an error of 2."""
    obs = zfit.Space("x", 0, 1)
    n_s, constraints = zfit.Parameter("n_s", 2.0, 0, 40), None
    if measured is not None:
        background = zfit.Parameter("n_b", background, 0.1, 40)
        constraints = zfit.constraint.GaussianConstraint(background, measured, sigma=2.0)
    terms = [zfit.pdf.Uniform(obs=obs, low=0, high=1, extended=one) for one in (n_s, background)]
    model = zfit.pdf.SumPDF(terms)
    x = np.linspace(0.01, 0.99, n)[:, np.newaxis]
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(x, obs=model.space), constraints=constraints)


@pytest.mark.parametrize("low", [-np.inf, -1.0, 0.0])
def test_the_formulae_describe_a_gaussian_with_a_limit(low):
    """Best fits of width one around the truth, at levels of their distribution, cut at the limit."""
    normal, tested = ndtri((np.arange(400_000) + 0.5) / 400_000), 1.6
    best = normal + np.array([[tested], [0.0]])
    ratio = np.square(best - tested) - np.square(best - np.maximum(best, low))
    toys = np.where(best > tested, 0.0, ratio)
    q_asimov = np.array([tested**2])
    for q in (0.3, 2.0, 4.5, 7.0):
        simulated = np.mean(toys[0] >= q) / np.mean(toys[1] >= q)
        found = observed_cls(np.array([q]), q_asimov, np.array([tested]), low=low)
        assert found[0] == pytest.approx(simulated, rel=0.005)
    # The band of two has its best fit above the tested value, where q is zero.
    for row, n_sigma in zip(expected_cls(q_asimov)[:4], (-2, -1, 0, 1), strict=True):
        q = np.quantile(toys[1], norm.sf(n_sigma))
        # The tail holds few of the toys.
        assert row[0] == pytest.approx(np.mean(toys[0] >= q) / norm.cdf(n_sigma), rel=0.02)


def test_cls_is_one_without_a_signal_and_falls():
    values = np.linspace(0, 5, 11)
    found = observed_cls(np.square(values), np.square(values), values, low=0.0)
    assert found[0] == 1
    assert np.all(np.diff(found) < 0)


def _names_of(limits):
    names = ("expected_m2", "expected_m1", "expected", "expected_p1", "expected_p2")
    return {"observed": limits.observed_limit, **dict(zip(names, limits.expected_limits, strict=True))}


@pytest.mark.parametrize(("low", "n_signal"), [(-20.0, 10), (0.0, 0)])
def test_limits_agree_with_hepstats(low, n_signal):
    """Its binned Asimov data set has 100 bins, about three per width of the peak."""
    loss = peak_loss(low, n_signal, seed=3)
    n_s = next(iter(p for p in loss.get_params() if p.name == "n_s"))
    limits = upper_limit(loss, n_s, asimov_events=4000)
    scan = POIarray(n_s, np.linspace(1, limits.values[-1], 5))
    calculator = BinnedCalculator(loss, zfit.minimize.Minuit(gradient="zfit"))
    theirs = UpperLimit(calculator, scan, POI(n_s, 0), qtilde=low == 0).upperlimit()
    for name, limit in _names_of(limits).items():
        assert limit == pytest.approx(theirs[name], rel=0.02), name
    # The scan was found, and is not much wider than needed.
    assert limits.values[0] < limits.expected_limits[0]
    assert limits.values[-1] < 2 * max(limits.observed_limit, limits.expected_limits[-1])
    assert limits.errors is None
    assert str(limits).startswith("Upper limit on n_s at 95 % confidence (CLs, asymptotic): ")


def test_limits_of_a_learned_density_agree_with_hepstats(plain_density):
    n_s, n_b = zfit.Parameter("n_s", 20.0, -50, 300), zfit.Parameter("n_b", 200.0, 0, 600)
    signal = EGMM(plain_density, extended=n_s)
    background = zfit.pdf.Uniform(obs=signal.space, low=0, high=10, extended=n_b)
    model = zfit.pdf.SumPDF([signal, background])
    x = np.concatenate([plain_density.sample(15, seed=1), np.random.default_rng(2).uniform(0, 10, (150, 1))])
    loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(x, obs=model.space))
    limits = upper_limit(loss, "n_s", asimov_events=2000)
    calculator = AsymptoticCalculator(loss, zfit.minimize.Minuit(gradient="zfit"), asimov_events=2000)
    scan = POIarray(n_s, np.linspace(5, limits.values[-1], 5))
    theirs = UpperLimit(calculator, scan, POI(n_s, 0)).upperlimit()
    for name in ("observed", "expected", "expected_p1", "expected_m1"):
        assert _names_of(limits)[name] == pytest.approx(theirs[name], rel=0.02), name


def _exact_limit(n, background=4.0):
    def excess(signal):
        return poisson.cdf(n, signal + background) / poisson.cdf(n, background) - 0.05

    return brentq(excess, 0, 40)


def test_toys_give_the_exact_limit_of_a_counting_experiment():
    """With q falling in the number of events, CLs is a ratio of two Poisson probabilities."""
    likelihood = Likelihood(counting_loss(n=5))
    limits = upper_limit(likelihood, "n_s", method="toys", n_toys=120, values=[4.0, 9.0], seed=2, progress=False)
    exact = poisson.cdf(5, limits.values + 4) / poisson.cdf(5, 4)
    assert np.all(np.abs(limits.observed - exact) < 3.5 * np.maximum(limits.errors, 0.015))
    # Without a signal, 4 events are the median.
    at_median = poisson.cdf(4, limits.values + 4) / poisson.cdf(4, 4)
    assert np.all(np.abs(limits.expected[2] - at_median) < 0.15)
    # Interpolating between two values costs less than 0.2.
    assert limits.limit_errors[0] < 1.2
    assert abs(limits.observed_limit - _exact_limit(5)) < 0.2 + 3.5 * limits.limit_errors[0]
    assert " +- " in str(limits)
    # Data and parameters are as before.
    assert likelihood.n_events == 5
    assert likelihood.values == {"n_s": 2.0}


def test_errors_from_resampled_toys_are_the_spread_of_repetitions():
    """The spread of 60 repetitions is known to 9 %; errors wrong by a third fail."""
    rng, values, n = np.random.default_rng(7), np.linspace(2.0, 9.0, 5), 400

    def toys():
        counts = [rng.poisson(value + 4.0, n) for value in values]
        without = rng.poisson(4.0, n)
        q = [[np.where(c > v + 4, 0, 2 * (v + 4 - c)) for v in values] for c in (*counts, without)]
        return LimitToys([q[i][i] for i in range(len(values))], np.transpose(q[-1]))

    q_data = 2 * (values + 4 - 5)
    limits, errors = [], []
    for number in range(60):
        drawn = toys()
        limits.append(limits_of(values, toy_curves(q_data, drawn), 0.0, 0.95)[0])
        if number < 3:
            errors.append(resampled_errors(q_data, drawn, values, 0.0, 0.95, seed=number)[1][0])
    assert np.mean(limits) == pytest.approx(_exact_limit(5), abs=0.15)
    assert np.mean(errors) == pytest.approx(np.std(limits), rel=0.33)


def _counting_q(value, n, measured, width=2.0):
    """Test statistic of a counting experiment with a measured background, by another minimiser."""

    def nll(n_s, n_b):
        return n_s + n_b - n * np.log(n_s + n_b) + 0.5 * ((n_b - measured) / width) ** 2

    conditional = minimize(lambda p: nll(value, p[0]), [measured], bounds=[(0.1, 40)], method="L-BFGS-B")
    best = minimize(lambda p: nll(*p), [1.0, measured], bounds=[(0, 40), (0.1, 40)], method="L-BFGS-B", tol=1e-12)
    return 2 * (conditional.fun - best.fun)


def test_the_asimov_sample_takes_auxiliary_measurements_along():
    """The data pull the background from 8 to 9.7, where the Asimov measurement has to be as well."""
    loss = counting_loss(n=14, background=8.0, measured=8.0)
    limits = upper_limit(loss, "n_s", asimov_events=100)
    pulled = minimize(lambda p: p[0] - 14 * np.log(p[0]) + 0.5 * ((p[0] - 8) / 2) ** 2, [8.0]).x[0]
    expected = brentq(lambda value: _counting_q(value, pulled, pulled) - norm.isf(0.025) ** 2, 1, 39)
    assert limits.expected_limits[2] == pytest.approx(expected, rel=0.005)
    not_pulled = brentq(lambda value: _counting_q(value, pulled, 8.0) - norm.isf(0.025) ** 2, 1, 39)
    assert abs(not_pulled / expected - 1) > 0.02
    q = [_counting_q(value, 14, 8.0) if value > 6 else 0.0 for value in limits.values]
    q_asimov = [_counting_q(value, pulled, pulled) for value in limits.values]
    exact = observed_cls(np.array(q), np.array(q_asimov), limits.values, low=0.0)
    assert limits.observed == pytest.approx(exact, rel=0.01)


def test_channels_share_a_signal():
    """Two channels with the same data tell twice as much as one."""
    strength = zfit.Parameter("strength", 1.0, -5, 20)
    losses = []
    for number in range(2):
        obs = zfit.Space("x", 0, 1)
        n_s = zfit.ComposedParameter(f"n_s{number}", lambda params: 5 * params["s"], params={"s": strength})
        signal = zfit.pdf.Uniform(obs=obs, low=0.4, high=0.5, extended=n_s)
        n_b = zfit.Parameter(f"n_b{number}", 40.0, 0, 200)
        model = zfit.pdf.SumPDF([signal, zfit.pdf.Uniform(obs=obs, low=0, high=1, extended=n_b)])
        losses.append(zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.linspace(0.005, 0.995, 40)[:, None], obs=obs)))
    found = []
    for loss in (losses[0], losses[0] + losses[1]):
        likelihood = Likelihood(loss)
        true = {**likelihood.values, "strength": 0.0}
        found.append(asimov_ratio(likelihood, "strength", true, n_events=4000).ratios([1.0, 2.0]))
    assert found[1] == pytest.approx(2 * found[0], rel=0.02)


def test_other_processes_make_the_same_toys(tmp_path):
    """What is sent to them makes the experiment from scratch."""
    make = partial(counting_loss, n=3, background=1.0)
    build = partial(RatioToys, parameter="n_s", tested={2.0: (2.0, 5.0)})
    settings = ToySettings(n_toys=3, make=make, workers=2)
    there = pickle.loads(pickle.dumps(settings.elsewhere(build)))()
    here = build(make())
    for seed in range(3):
        rows = [one.run({"n_s": 2.0}, np.random.SeedSequence(seed)) for one in (here, there)]
        assert rows[0] == rows[1]
        assert rows[0]["valid"]
        assert rows[0]["ratio_0"] != rows[0]["ratio_1"]


def test_a_file_of_toys_is_used_again(tmp_path):
    loss, path = counting_loss(n=1, background=1.0), tmp_path / "toys.jsonl"
    arguments = {"method": "toys", "n_toys": 6, "values": [2.0, 8.0], "level": 0.6, "progress": False}
    first = upper_limit(loss, "n_s", **arguments, path=path)
    written = path.stat().st_mtime_ns, path.read_text()
    again = upper_limit(loss, "n_s", **arguments, path=path)
    assert path.read_text() == written[1]
    assert again.observed.tolist() == first.observed.tolist()
    assert again.expected.tolist() == first.expected.tolist()


def test_what_makes_no_sense_is_refused():
    loss = counting_loss()
    likelihood = Likelihood(loss)
    with pytest.raises(ValueError, match=r"n_s is not among the tested values, 1 to 2: CLs is 0.* larger values"):
        upper_limit(likelihood, "n_s", values=[1.0, 2.0], asimov_events=100)
    with pytest.raises(
        ValueError, match=r"two different values of n_s, none below the alternative 3, got \[2.0, 4.0\]"
    ):
        upper_limit(likelihood, "n_s", values=[2.0, 4.0], alternative=3.0, asimov_events=100)
    with pytest.raises(ValueError, match=r"n_s = -1 lies outside the limits \[0, 40\]"):
        upper_limit(likelihood, "n_s", values=[-1.0, 4.0], asimov_events=100)
    with pytest.raises(ValueError, match=r"level is a confidence level between 0.5 and 1, such as 0.95, got 95"):
        upper_limit(likelihood, "n_s", level=95)
    with pytest.raises(ValueError, match="method must be one of asymptotic, toys, got 'bayes'"):
        upper_limit(likelihood, "n_s", method="bayes")
    with pytest.raises(ValueError, match="'n' is no free parameter of the loss; there are n_s"):
        upper_limit(likelihood, "n")
    with pytest.raises(ValueError, match="give make="):
        upper_limit(likelihood, "n_s", method="toys", values=[1.0, 2.0], workers=2, asimov_events=100)
    weighted = loss.data[0].with_weights(np.full(5, 0.5))
    likelihood.set_data([weighted])
    with pytest.raises(ValueError, match="toys are events of equal weight"):
        upper_limit(likelihood, "n_s", method="toys", values=[1.0, 2.0], asimov_events=100)
    limits = upper_limit(likelihood, "n_s", asimov_events=100)
    assert limits.notes[0].startswith("The events are weighted")
    # Twice as many events as their sum of weights.
    assert limits.notes[1].startswith(f"The limit is {2 * limits.observed_limit:.2g} events")


def test_a_mass_that_means_nothing_without_a_signal():
    obs = zfit.Space("x", 0, 1)
    n_s, n_b = zfit.Parameter("n_s", 5.0, 0, 50), zfit.Parameter("n_b", 50.0, 0, 100)
    mass = zfit.Parameter("mass", 0.5, 0.1, 0.9)
    signal = zfit.pdf.Gauss(obs=obs, mu=mass, sigma=0.05, extended=n_s)
    model = zfit.pdf.SumPDF([signal, zfit.pdf.Uniform(obs=obs, low=0, high=1, extended=n_b)])
    loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.linspace(0, 1, 50)[:, None], obs=obs))
    with pytest.raises(ValueError, match="with n_s = 0 the likelihood does not depend on mass"):
        upper_limit(loss, n_s)
