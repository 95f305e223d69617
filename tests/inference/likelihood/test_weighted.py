"""Errors, intervals and tests of weighted events."""

from __future__ import annotations

import re

import numpy as np
import pytest
import zfit

from zfit_egmm.inference import (
    AsymptoticCalculator,
    FrequentistCalculator,
    Likelihood,
    ToyFit,
    contour,
    discovery,
    feldman_cousins,
    fit,
    goodness_of_fit,
    interval,
    profile,
    upper_limit,
)
from zfit_egmm.inference.likelihood.asimov import asimov_sample

OBS = zfit.Space("x", -20, 20)
ROW = np.random.default_rng(1).normal(0.3, 1.0, 400)
WEIGHTS = np.where(np.random.default_rng(2).random(400) < 0.1, 8.0, 0.5)


def _data(x, weights=None, obs=OBS):
    return zfit.Data(np.reshape(x, (len(x), -1)), obs=obs, weights=weights)


def gauss(x, weights, **limits):
    """Mean and width of a Gaussian."""
    mean, width = zfit.Parameter("mean", 0.1, **limits), zfit.Parameter("width", 1.2, 0.1, 5)
    return zfit.loss.UnbinnedNLL(zfit.pdf.Gauss(mean, width, OBS), _data(x, weights))


def count(n, weights, **limits):
    """A yield alone, of events that are all the same."""
    n_events = zfit.Parameter("n_events", 5.0, **limits)
    model = zfit.pdf.Gauss(0.0, 1.0, OBS).create_extended(n_events)
    return zfit.loss.ExtendedUnbinnedNLL(model, _data(np.linspace(-1, 1, n), weights))


def by_hand(x, weights):
    """Weighted mean and width, and their covariance by the sandwich formula."""
    mean = np.average(x, weights=weights)
    width = np.sqrt(np.average(np.square(x - mean), weights=weights))
    z = (x - mean) / width
    scores = weights * np.stack([z, np.square(z) - 1]) / width
    mixed = 2 * np.sum(weights * z)
    hessian = np.array([[weights.sum(), mixed], [mixed, 2 * weights.sum()]]) / width**2
    inverse = np.linalg.inv(hessian)
    return (mean, width), inverse @ (scores @ scores.T) @ inverse, inverse


@pytest.mark.parametrize(
    "weights", [WEIGHTS, np.full(400, 100.0), np.full(400, 1e-6), np.where(WEIGHTS > 1, -1.0, 2.0)]
)
def test_errors_are_those_of_the_sandwich_formula(weights):
    expected, covariance, plain = by_hand(ROW, weights)
    found = fit(gauss(ROW, weights))
    assert found.is_valid
    errors = np.sqrt(np.diag(covariance))
    assert list(found.values.values()) == pytest.approx(expected, abs=3e-3 * errors.min())
    np.testing.assert_allclose(found.covariance, covariance, rtol=2e-3, atol=2e-3 * errors.min() ** 2)
    np.testing.assert_allclose(found.inverse_hessian, plain, rtol=2e-3, atol=2e-3 * plain[1, 1])
    assert list(found.errors.values()) == pytest.approx(errors, rel=1e-3)
    # Without the correction they are far from it.
    assert not np.allclose(np.diag(plain), np.diag(covariance), rtol=0.3)


def test_weights_of_one_change_nothing():
    plain, weighted = (fit(gauss(ROW, weights)) for weights in (None, np.ones(400)))
    assert weighted.errors == plain.errors
    np.testing.assert_array_equal(weighted.covariance, weighted.inverse_hessian)
    assert weighted.notes == ()


@pytest.mark.parametrize("factor", [100.0, 1e-4])
def test_equal_weights_are_other_units_of_yields(factor):
    limits = {"lower": 0.0, "upper": 1e9}
    plain = Likelihood(count(60, None, **limits))
    scaled = Likelihood(count(60, np.full(60, factor), **limits))
    first, second = fit(plain), fit(scaled, start={"n_events": 5 * factor})
    assert first.errors["n_events"] == pytest.approx(np.sqrt(60), rel=1e-3)
    assert second.values["n_events"] == pytest.approx(60 * factor, rel=1e-4)
    assert second.errors["n_events"] == pytest.approx(np.sqrt(60) * factor, rel=1e-3)
    ends = [
        (one.lower, one.upper) for one in (interval(plain, "n_events"), interval(scaled, "n_events", minimum=second))
    ]
    assert np.divide(ends[1], factor) == pytest.approx(ends[0], rel=1e-4)
    tests = [discovery(plain, "n_events", null=40.0), discovery(scaled, "n_events", null=40.0 * factor)]
    # The likelihood ratio of a Poisson number against its mean.
    expected = np.sqrt(2 * (60 * np.log(1.5) - 20))
    assert [one.significance for one in tests] == pytest.approx([expected] * 2, rel=1e-3)
    assert any("events are weighted" in note for note in tests[1].notes)
    found = [
        upper_limit(
            likelihood, "n_events", alternative=30 * unit, asimov_events=500, values=np.linspace(40, 110, 15) * unit
        )
        for likelihood, unit in ((plain, 1.0), (scaled, factor))
    ]
    assert found[1].observed_limit / factor == pytest.approx(found[0].observed_limit, rel=1e-3)
    assert found[1].expected_limits / factor == pytest.approx(found[0].expected_limits, rel=1e-3)


def test_profiles_and_intervals_are_as_wide_as_the_error():
    likelihood = Likelihood(gauss(ROW, WEIGHTS))
    (mean, width), covariance, plain = by_hand(ROW, WEIGHTS)
    error = np.sqrt(covariance[0, 0])
    found = interval(likelihood, "mean")
    assert found.is_valid
    assert [found.lower, found.upper] == pytest.approx([mean - error, mean + error], abs=0.02 * error)
    offsets = error * np.array([-1.0, 0.0, 2.0])
    scan = profile(likelihood, "mean", values=mean + offsets, progress=False)
    expected = WEIGHTS.sum() * np.log1p(np.square(offsets / width)) * plain[0, 0] / covariance[0, 0]
    assert scan.minus2_log_ratio == pytest.approx(expected, abs=2e-3)
    assert expected == pytest.approx([1.0, 0.0, 4.0], rel=0.03)
    for one in (found, scan):
        (told,) = re.findall(
            r"-2 Delta ln L is multiplied by ([\d.]+), the ratio of the variances", " ".join(one.notes)
        )
        assert float(told) == pytest.approx(plain[0, 0] / covariance[0, 0], rel=0.01)
    assert not any("weighted" in note for note in interval(gauss(ROW, None), "mean").notes)


def test_regions_are_ellipses_of_the_covariance():
    found = contour(gauss(ROW, WEIGHTS), ("mean", "width"), levels=(0.6827,), n_points=25, progress=False)
    _, covariance, plain = by_hand(ROW, WEIGHTS)
    area = np.pi * found.regions[0].threshold * np.sqrt(np.linalg.det(covariance))
    assert found.areas[0.6827] == pytest.approx(area, rel=0.04)
    # The ratio of determinants alone is not enough: the direction counts.
    sides = np.ptp(found.regions[0].rings[0], axis=0) / 2
    assert sides == pytest.approx(np.sqrt(found.regions[0].threshold * np.diag(covariance)), rel=0.04)
    assert not np.allclose(covariance / plain[0, 0], covariance[0, 0] / plain[0, 0] * plain / plain[0, 0], rtol=0.05)


def test_auxiliary_measurements_have_no_weights():
    loss = gauss(ROW, WEIGHTS)
    mean = next(parameter for parameter in loss.get_params() if parameter.name == "mean")
    sigma = 0.03
    constrained = loss.create_new(constraints=zfit.constraint.GaussianConstraint(mean, 0.3, sigma=sigma))
    found = fit(constrained)
    at, width = found.values["mean"], found.values["width"]
    z = (ROW - at) / width
    scores = WEIGHTS * np.stack([z, np.square(z) - 1]) / width
    total, mixed = WEIGHTS.sum(), 2 * np.sum(WEIGHTS * z)
    hessian = np.array([[total, mixed], [mixed, total * (3 * np.average(np.square(z), weights=WEIGHTS) - 1)]])
    known = np.diag([1 / sigma**2, 0.0])
    inverse = np.linalg.inv(hessian / width**2 + known)
    expected = inverse @ (scores @ scores.T + known) @ inverse
    assert list(found.errors.values()) == pytest.approx(np.sqrt(np.diag(expected)), rel=2e-3)


X = np.concatenate([ROW, np.random.default_rng(4).uniform(-20, 20, 200)])
Y = np.random.default_rng(5).normal(0.2, 2.0, 150)
V = np.random.default_rng(6).choice([0.3, 4.0], len(X), p=[0.8, 0.2]) * (1 + 0.04 * X)
SHARED = {"mean": 0.3, "n_2": 150.0, "n_b": 200.0, "n_s": 400.0}


def two_channels():
    """A weighted peak on a flat background, and an unweighted channel with the same mean."""
    mean, n_2, n_b, n_s = (zfit.Parameter(name, value, -500, 9000) for name, value in SHARED.items())
    other = zfit.Space("y", -20, 20)
    flat = zfit.pdf.Uniform(-20, 20, OBS, extended=n_b)
    first = zfit.pdf.SumPDF([zfit.pdf.Gauss(mean, 1.0, OBS, extended=n_s), flat])
    second = zfit.pdf.Gauss(mean, 2.0, other, extended=n_2)
    return zfit.loss.ExtendedUnbinnedNLL([first, second], [_data(X, V), _data(Y, obs=other)])


def log_densities(mean, n_2, n_b, n_s):
    """Log of the expected densities of the events of both channels."""
    peak = np.exp(-0.5 * np.square(X - mean)) / np.sqrt(2 * np.pi)
    return [np.log(n_s * peak + n_b / 40), np.log(n_2 / 2) - 0.5 * np.square((Y - mean) / 2)]


def numerical_sandwich(values, log_densities, weights, expected):
    """The sandwich formula with all derivatives by differences.

    Args:
        values: Best fit.
        log_densities: Of the events of all channels, from the values.
        weights: Of the events of all channels.
        expected: Expected number of events, from the values.
    """

    def slopes(function, at):
        steps = 1e-4 * np.maximum(np.abs(at), 1.0)
        return np.array([(function(at + h) - function(at - h)) / (2 * h.sum()) for h in np.diag(steps)])

    def score(at):
        return slopes(lambda one: expected(one) - weights @ log_densities(one), at)

    at = np.array(values)
    inverse = np.linalg.inv(slopes(score, at))
    rows = weights * slopes(log_densities, at)
    return inverse @ rows @ rows.T @ inverse


def test_several_channels_with_and_without_weights():
    found = fit(two_channels())
    values, weights = list(found.values.values()), np.concatenate([V, np.ones(len(Y))])
    expected = numerical_sandwich(
        values, lambda at: np.concatenate(log_densities(*at)), weights, lambda at: at[1] + at[2] + at[3]
    )
    scale = np.outer(np.sqrt(np.diag(expected)), np.sqrt(np.diag(expected)))
    np.testing.assert_allclose(found.covariance / scale, expected / scale, atol=3e-3)
    # The number of unweighted events is a Poisson number; the sum of weights fluctuates by that of their squares.
    assert found.errors["n_2"] == pytest.approx(np.sqrt(150), rel=1e-3)
    rows = [list(found.errors).index(name) for name in ("n_b", "n_s")]
    assert found.covariance[np.ix_(rows, rows)].sum() == pytest.approx(np.sum(V**2), rel=3e-3)


def test_the_yields_of_a_fit_that_is_not_extended_are_fractions():
    both = two_channels()
    next(one for one in both.get_params() if one.name == "n_b").floating = False
    found = fit(zfit.loss.UnbinnedNLL(both.model[0], both.data[0]))
    expected = numerical_sandwich(
        [found.values["mean"], found.values["n_s"]],
        lambda at: log_densities(at[0], 1.0, 200.0, at[1])[0] - np.log(200.0 + at[1]),
        V,
        lambda at: 0.0 * at[0],
    )
    assert list(found.errors.values()) == pytest.approx(np.sqrt(np.diag(expected)), rel=3e-3)


def test_errors_are_those_of_zfit():
    n_events, mean = zfit.Parameter("n_events", 400.0, 0, 9000), zfit.Parameter("mean", 0.1, -3, 3)
    model = zfit.pdf.Gauss(mean, 1.0, OBS, extended=n_events)
    loss = zfit.loss.ExtendedUnbinnedNLL(model, _data(ROW, WEIGHTS))
    found = fit(loss)
    result = zfit.minimize.Minuit(gradient="zfit", tol=1e-6).minimize(loss)
    theirs = {one.name: entry["error"] for one, entry in result.hesse(weightcorr="asymptotic", name="w").items()}
    assert found.errors == pytest.approx(theirs, rel=2e-3)
    assert found.errors["n_events"] == pytest.approx(np.sqrt(np.sum(WEIGHTS**2)), rel=1e-3)


def test_a_parameter_at_its_limit_leaves_the_others_right():
    free = fit(gauss(ROW, WEIGHTS))
    low = free.values["mean"] + 0.5 * free.errors["mean"]
    loss = gauss(ROW, WEIGHTS)
    mean = next(parameter for parameter in loss.get_params() if parameter.name == "mean")
    mean.lower = low
    found = fit(loss, start={"mean": low + 0.1})
    assert found.at_limit == ("mean",)
    assert found.errors["width"] == pytest.approx(free.errors["width"], rel=0.1)


def test_what_stands_for_an_expectation_has_the_errors_of_unweighted_events():
    n_events, mean = zfit.Parameter("n_events", 200.0, 0, 1000), zfit.Parameter("mean", 0.0, -3, 3)
    model = zfit.pdf.Gauss(mean, 1.0, OBS, extended=n_events)
    loss = zfit.loss.ExtendedUnbinnedNLL(model, asimov_sample(model, 200.0, n_events=2000, seed=1))
    expected = fit(Likelihood(loss, is_expectation=True))
    assert expected.errors == pytest.approx({"mean": 1 / np.sqrt(200), "n_events": np.sqrt(200)}, rel=0.02)
    assert interval(Likelihood(loss, is_expectation=True), "mean").upper == pytest.approx(1 / np.sqrt(200), rel=0.02)
    # Taken as data, they are 2000 events with a tenth of an event each.
    assert fit(loss).errors == pytest.approx({"mean": 1 / np.sqrt(2000), "n_events": np.sqrt(20)}, rel=0.02)


def test_what_has_no_correction_is_refused_before_any_fit(monkeypatch):
    loss = count(30, np.full(30, 2.0), lower=0.0, upper=1000.0)
    monkeypatch.setattr("zfit_egmm.inference.likelihood.minuit_fit.iminuit.Minuit", None)
    calls = (
        lambda: discovery(loss, "n_events", method="toys", n_toys=2),
        lambda: upper_limit(loss, "n_events", method="toys", n_toys=2),
        lambda: feldman_cousins(loss, "n_events", [50.0, 60.0], n_toys=2),
        lambda: goodness_of_fit(loss, n_toys=2),
        lambda: ToyFit(loss),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"toys are events of equal weight.*resample the events.*bootstrap"):
            call()
    minimizer = zfit.minimize.Minuit()
    with pytest.raises(ValueError, match=r"events of .* are weighted.*use zfit_egmm.inference.upper_limit"):
        AsymptoticCalculator(loss, minimizer)
    with pytest.raises(ValueError, match=r"events of .* are weighted.*toys are events of equal weight"):
        FrequentistCalculator(loss, minimizer)


def test_an_interval_without_second_derivatives_is_refused():
    share = zfit.Parameter("share", 0.0, 0, 1, floating=False)
    slope, mean = zfit.Parameter("slope", -0.1, -1, 1), zfit.Parameter("mean", 0.0, -3, 3)
    model = zfit.pdf.SumPDF([zfit.pdf.Exponential(slope, OBS), zfit.pdf.Gauss(mean, 1.0, OBS)], fracs=share)
    loss = zfit.loss.UnbinnedNLL(model, _data(ROW, WEIGHTS))
    with pytest.raises(RuntimeError, match=r"are weighted, and the second derivatives .* not positive definite"):
        interval(loss, "mean")


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(
        ValueError, match=r"1 of 400 events of Gauss have a weight that is not finite.*event 7 with nan"
    ):
        Likelihood(gauss(ROW, np.where(np.arange(400) == 7, np.nan, 1.0)))


def test_weighted_toys_of_a_source_have_corrected_errors_and_ratios():
    loss = gauss(ROW, None, lower=-5.0, upper=5.0)
    toys = ToyFit(loss, interest=["mean"], source=lambda *_: [_data(ROW, WEIGHTS)])
    row = toys.run({"mean": 0.3, "width": 1.0}, np.random.SeedSequence(1))
    (mean, _), covariance, _ = by_hand(ROW, WEIGHTS)
    assert row["mean_error"] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-3)
    assert row["q"] == pytest.approx((mean - 0.3) ** 2 / covariance[0, 0], rel=0.05, abs=0.01)


def test_events_without_density_are_told():
    n_events = zfit.Parameter("n_events", 50.0, 0, 1000)
    model = zfit.pdf.Uniform(-5, 5, OBS, extended=n_events)
    x = np.linspace(-4, 4, 50)
    x[[3, 9]] = 7.5, -9.0
    loss = zfit.loss.ExtendedUnbinnedNLL(model, _data(x))
    text = (
        r"2 of 50 events have no density in Uniform at the best fit, the first is event 3 with x = 7.5: they change "
        r"neither yields nor shapes\."
    )
    best = fit(loss)
    for notes in (
        best.notes,
        interval(loss, "n_events").notes,
        discovery(loss, "n_events", null=20.0).notes,
        upper_limit(loss, "n_events", asimov_events=200).notes,
    ):
        assert any(re.match(text, note) for note in notes), notes
    assert best.values["n_events"] == pytest.approx(48, abs=0.01)
    assert fit(loss.create_new(data=_data(np.delete(x, [3, 9])))).notes == ()
