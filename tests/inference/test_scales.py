"""Units and limits of parameters change nothing: a peak on an exponential, against numpy and scipy."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import zfit
from hepstats.hypotests.parameters import POI, POIarray
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from zfit_egmm.inference import (
    AsymptoticCalculator,
    FrequentistCalculator,
    Likelihood,
    ToyFit,
    UpperLimit,
    contour,
    discovery,
    fit,
    interval,
    profile,
    run_toys,
    upper_limit,
)

OBS = zfit.Space("x", 0, 1)
TRUE = {"s": 20.0, "b": 150.0, "slope": -1.2}
NAMES = tuple(sorted(TRUE))
PEAK, WIDTH = 0.4, 0.05

UNITS = {
    "plain": {"s": 1.0, "b": 1.0, "slope": 1.0},
    "small": {"s": 1e-12, "b": 1e-12, "slope": 1e-12},
    "large": {"s": 1e12, "b": 1e12, "slope": 1e12},
    "mixed": {"s": 1e-9, "b": 1e6, "slope": 1e12},
}
LIMITS = {
    "none": {},
    "tight": {"s": (0, 60), "b": (90, 220), "slope": (-4.5, 2)},
    "wide": {"s": (0, 1e6), "b": (-1e8, 1e9), "slope": (-300, 200)},
    "huge": {"s": (0, 1e12), "b": (0, 1e12), "slope": (-300, None)},
}
CASES = [("small", "none"), ("large", "tight"), ("mixed", "wide"), ("plain", "huge")]


@functools.cache
def _x():
    rng = np.random.default_rng(8)
    background = rng.exponential(1 / 1.2, 400)
    return np.concatenate([rng.normal(PEAK, WIDTH, 18), background[background < 1][:150]])


def _loss(units, limits):
    units, limits = UNITS[units], LIMITS[limits]
    parameters, plain = {}, {}
    for name, unit in units.items():
        ends = [None if end is None else end * unit for end in limits.get(name, (None, None))]
        parameters[name] = zfit.Parameter(name, TRUE[name] * unit, *ends)
        plain[name] = zfit.param.ComposedParameter(
            f"plain_{name}", functools.partial(_over, unit), params={"p": parameters[name]}
        )
    signal = zfit.pdf.Gauss(PEAK, WIDTH, OBS, extended=plain["s"])
    model = zfit.pdf.SumPDF([signal, zfit.pdf.Exponential(plain["slope"], OBS, extended=plain["b"])])
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(_x()[:, np.newaxis], obs=OBS)), parameters


def _over(unit, p):
    return p / unit


def _densities(x, slope):
    peak = norm.pdf(x, PEAK, WIDTH) / np.diff(norm.cdf([0, 1], PEAK, WIDTH))
    return peak, slope * np.exp(slope * x) / np.expm1(slope)


def _nll(x, weights, s, b, slope):
    peak, exponential = _densities(x, slope)
    return s + b - weights @ np.log(s * peak + b * exponential)


def _profiled(x, weights, s):
    """Minimum over the background, from two starts, by a method without derivatives."""
    options = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}
    found = minimize(
        lambda p: _nll(x, weights, s, 100 * p[0], p[1]), [1.5, -1.2], method="Nelder-Mead", options=options
    )
    return found.fun, {"b": 100 * found.x[0], "slope": found.x[1]}


@functools.cache
def truth():
    """Everything by numpy and scipy."""
    x, ones = _x(), np.ones(len(_x()))
    best = minimize(
        lambda p: _nll(x, ones, 10 * p[0], 100 * p[1], p[2]),
        [2, 1.5, -1.2],
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-11, "maxiter": 8000},
    )
    values = {"s": 10 * best.x[0], "b": 100 * best.x[1], "slope": best.x[2]}

    def ratio(s):
        return 2 * (_profiled(x, ones, s)[0] - best.fun)

    ends = [brentq(lambda s: ratio(s) - 1, *bracket, xtol=1e-4) for bracket in ((1, values["s"]), (values["s"], 60))]
    # The expected data without a signal, in 20 thousand bins.
    without = _profiled(x, ones, 0.0)[1]
    middle = (np.arange(20_000) + 0.5) / 20_000
    expected = without["b"] * _densities(middle, without["slope"])[1] / 20_000
    lowest = _profiled(middle, expected, 0.0)[0]

    def cls_is_5_percent(s):
        return np.sqrt(2 * (_profiled(middle, expected, s)[0] - lowest)) - norm.isf(0.05 * 0.5)

    return {
        "values": values,
        "nll": best.fun,
        "ends": ends,
        "ratio at 10": ratio(10.0),
        "significance": np.sqrt(ratio(0.0)),
        "expected limit": brentq(cls_is_5_percent, 5, 40, xtol=1e-3),
    }


@functools.cache
def reference():
    return _everything("plain", "none")


def _everything(units, limits):
    """Results in plain units."""
    loss, _ = _loss(units, limits)
    unit = UNITS[units]
    likelihood = Likelihood(loss)
    best = fit(likelihood)
    assert best.is_valid, best.reason
    assert best.at_limit == ()
    found = {f"{name}": best.values[name] / unit[name] for name in NAMES}
    found |= {f"error of {name}": best.errors[name] / unit[name] for name in NAMES}
    one = interval(likelihood, "s", minimum=best)
    assert one.is_valid, one.notes
    found |= {"lower end": one.lower / unit["s"], "upper end": one.upper / unit["s"]}
    scan = profile(likelihood, "s", values=[10 * unit["s"], best.values["s"]], minimum=best, progress=False)
    found["ratio at 10"] = scan.minus2_log_ratio[0]
    region = contour(likelihood, ["s", "slope"], levels=(0.6827,), n_points=13, minimum=best, progress=False)
    found["area"] = region.areas[0.6827] / unit["s"] / unit["slope"]
    limit = upper_limit(likelihood, "s", asimov_events=2000)
    found |= {"limit": limit.observed_limit / unit["s"]}
    found |= {f"expected limit {n}": value / unit["s"] for n, value in enumerate(limit.expected_limits)}
    found["significance"] = discovery(likelihood, "s").significance
    return found | _toy(likelihood, unit)


def _toy(likelihood, unit):
    toys = run_toys(lambda: ToyFit(likelihood, interest=["s", "slope"]), 2, seed=5, progress=False)
    assert toys.n_failed == 0
    last = toys.rows[-1]
    found = {f"toy {name}": last[name] / unit[name] for name in NAMES}
    return found | {"toy events": last["n_events"], "toy q_s": last["q_s"], "toy q": last["q"]}


def _differences(found, wanted):
    """Relative differences, those of values and ends in units of the error."""
    scale = {name: wanted[f"error of {name}"] for name in NAMES}
    scale |= {f"toy {name}": scale[name] for name in NAMES} | dict.fromkeys(["lower end", "upper end"], scale["s"])
    return {name: abs(found[name] - value) / scale.get(name, abs(value)) for name, value in wanted.items()}


def test_plain_units_agree_with_numpy_and_scipy():
    found, wanted = reference(), truth()
    errors = {name: found[f"error of {name}"] for name in NAMES}
    for name in NAMES:
        assert abs(found[name] - wanted["values"][name]) < 1e-3 * errors[name], name
    for name, end in zip(("lower end", "upper end"), wanted["ends"], strict=True):
        assert abs(found[name] - end) < 2e-3 * errors["s"], name
    assert found["ratio at 10"] == pytest.approx(wanted["ratio at 10"], abs=1e-3)
    assert found["significance"] == pytest.approx(wanted["significance"], abs=1e-3)
    # The Asimov sample of 2,000 events has noise in the curvature.
    assert found["expected limit 2"] == pytest.approx(wanted["expected limit"], rel=0.03)


@pytest.mark.parametrize(("units", "limits"), CASES)
def test_units_and_limits_change_nothing(units, limits):
    differences = _differences(_everything(units, limits), reference())
    worst = max(differences, key=differences.get)
    assert differences[worst] < 3e-3, differences


@pytest.mark.parametrize("start", [{"s": 60.0, "b": 20.0, "slope": 3.0}, {"s": 0.0, "b": 600.0, "slope": -8.0}])
def test_fits_start_from_anywhere_in_any_unit(start):
    wanted = truth()
    for units, limits in (("small", "none"), ("large", "none"), ("mixed", "huge")):
        loss, _ = _loss(units, limits)
        unit = UNITS[units]
        found = fit(loss, start={name: value * unit[name] for name, value in start.items()})
        assert found.is_valid, found.reason
        for name in NAMES:
            assert (
                abs(found.values[name] / unit[name] - wanted["values"][name]) < 2e-3 * reference()[f"error of {name}"]
            )


@pytest.mark.parametrize("units", UNITS)
def test_a_parameter_stopped_by_a_limit_is_at_it_in_any_unit(units):
    unit = UNITS[units]["s"]
    loss, parameters = _loss(units, "none")
    parameters["s"].set_value(40 * unit)
    for lower, upper in ((30, 50), (30, 1e9), (30, None)):
        parameters["s"].lower, parameters["s"].upper = lower * unit, None if upper is None else upper * unit
        found = fit(Likelihood(loss))
        assert found.is_valid, found.reason
        assert found.at_limit == ("s",)
        assert found.values["s"] / unit == pytest.approx(30, abs=1e-3)


@functools.cache
def hepstats_reference():
    return _with_hepstats("plain", "tight")


def _with_hepstats(units, limits):
    loss, parameters = _loss(units, limits)
    unit, s = UNITS[units]["s"], parameters["s"]
    # Five values are enough to compare; interpolation between so few has an error of some per cent.
    asymptotic = AsymptoticCalculator(loss, zfit.minimize.Minuit(), asimov_events=2000)
    scan = POIarray(s, np.linspace(2, 50, 5) * unit)
    limits_found = UpperLimit(asymptotic, scan, POI(s, 0)).upperlimit()
    found = {name: value / unit for name, value in limits_found.items()}
    zfit.settings.set_seed(4)
    toys = FrequentistCalculator(loss, zfit.minimize.Minuit(), ntoysnull=2, ntoysalt=2)
    null = POIarray(s, [TRUE["s"] * unit])
    q = toys.qnull(null, POI(s, 0), onesided=False)
    return found | {f"toy {number}": float(one) for number, one in enumerate(next(iter(q.values())))}


@pytest.mark.parametrize(("units", "limits"), [("small", "none"), ("mixed", "huge")])
def test_units_and_limits_change_nothing_in_hepstats(units, limits):
    found, wanted = _with_hepstats(units, limits), hepstats_reference()
    assert found == pytest.approx(wanted, rel=2e-3)
    assert wanted["expected"] == pytest.approx(truth()["expected limit"], rel=0.05)
