"""Significances: uniform p-values without a signal, toys that know an exact answer, and masses without a meaning."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from hepstats.hypotests import Discovery
from hepstats.hypotests.calculators import AsymptoticCalculator
from hepstats.hypotests.parameters import POI
from scipy.stats import kstest, norm

from zfit_egmm.inference import Likelihood
from zfit_egmm.inference.hypotheses.significance import discovery
from zfit_egmm.inference.likelihood.undefined_shapes import starts_in, undefined_shapes
from zfit_egmm.inference.toys.sources import FromModel


def peak_loss(n_signal=0, *, floating_mass=False, low=-60.0, n_background=200, seed=1):
    """A peak on a flat background."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.random(n_background), np.clip(rng.normal(0.4, 0.05, n_signal), 0, 1)])
    obs = zfit.Space("x", 0, 1)
    n_s, n_b = zfit.Parameter("n_s", 5.0, low, 300), zfit.Parameter("n_b", 200.0, 0, 600)
    mass = zfit.Parameter("mass", 0.4, 0.1, 0.9, floating=floating_mass)
    signal = zfit.pdf.Gauss(obs=obs, mu=mass, sigma=0.05, extended=n_s)
    model = zfit.pdf.SumPDF([signal, zfit.pdf.Uniform(obs=obs, low=0, high=1, extended=n_b)])
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(x[:, np.newaxis], obs=obs))


def _is_uniform(p_values):
    """Whether half of 300 p-values are below one half, and uniform there; the others are one half."""
    is_below = p_values < 0.5
    return (
        kstest(2 * p_values[is_below], "uniform").pvalue > 0.01
        and abs(is_below.mean() - 0.5) < 3 * 0.029
        # 15 are expected.
        and 5 <= np.sum(p_values < 0.05) <= 26
    )


def test_p_values_are_uniform_without_a_signal():
    """300 data sets. P-values half or twice of what they should be fail, and significances wrong by a factor of 1.5."""
    likelihood = Likelihood(peak_loss())
    draw, rng, p_values = FromModel(likelihood), np.random.default_rng(5), []
    true = {"n_s": 0.0, "n_b": 200.0}
    for _ in range(300):
        likelihood.set_data(draw(true, rng))
        p_values.append(discovery(likelihood, "n_s").p_value)
    p_values = np.array(p_values)
    assert _is_uniform(p_values)
    for wrong in (p_values / 2, 2 * p_values, *(norm.sf(scale * norm.isf(p_values)) for scale in (1.5, 1 / 1.5))):
        assert not _is_uniform(wrong)


def test_a_signal_as_hepstats_sees_it():
    loss = peak_loss(25)
    n_s = next(p for p in loss.get_params() if p.name == "n_s")
    found = discovery(loss, n_s)
    calculator = AsymptoticCalculator(loss, zfit.minimize.Minuit(gradient="zfit"))
    p_value, significance = Discovery(calculator, POI(n_s, 0)).result(printlevel=0)
    assert found.significance == pytest.approx(significance, abs=0.01)
    assert found.p_value == pytest.approx(p_value, rel=0.05)
    assert 15 < found.best < 40
    assert found.error is None
    assert (found.n_toys, found.notes) == (0, ())
    assert "standard deviations, p-value " in str(found)
    assert str(found).endswith("(asymptotic)")


def test_a_deficit_is_no_signal():
    x = np.linspace(0, 1, 200)
    x = x[np.abs(x - 0.4) > 0.05]
    likelihood = Likelihood(peak_loss())
    likelihood.set_data([x[:, np.newaxis]])
    found = discovery(likelihood, "n_s")
    assert (found.p_value, found.significance) == (0.5, 0.0)
    assert found.notes[0].startswith("The best fit is not above")
    assert likelihood.n_events == len(x)


WIDTH = 6.0


def _counting_loss(n, measured):
    """A count, on a background that was measured."""
    obs = zfit.Space("x", 0, 1)
    n_s, n_b = zfit.Parameter("n_s", 2.0, 0, 100), zfit.Parameter("n_b", 15.0, 0.1, 100)
    model = zfit.pdf.SumPDF([zfit.pdf.Uniform(obs=obs, low=0, high=1, extended=one) for one in (n_s, n_b)])
    constraint = zfit.constraint.GaussianConstraint(n_b, measured, sigma=WIDTH)
    data = zfit.Data(np.linspace(0.01, 0.99, n)[:, np.newaxis], obs=obs)
    return zfit.loss.ExtendedUnbinnedNLL(model, data, constraints=constraint)


def _without_signal(n, measured):
    """Best background without a signal: the root of a quadratic equation."""
    half = 0.5 * (measured - WIDTH**2)
    return np.maximum(half + np.sqrt(half**2 + n * WIDTH**2), 0.1)


def _counting_q(n, measured):
    def nll(n_b, total):
        return total - n * np.log(np.maximum(total, 1e-300)) + 0.5 * ((n_b - measured) / WIDTH) ** 2

    measured_inside = np.maximum(measured, 0.1)
    null = _without_signal(n, measured)
    best = np.where(n > measured_inside, nll(measured_inside, np.maximum(n, measured_inside)), nll(null, null))
    return 2 * (nll(null, null) - best)


def test_toys_draw_the_auxiliary_measurement_anew():
    """Against a million counting experiments without any fit. The measurement held fixed would be 5 errors off."""
    n, measured = 28, 15.0
    found = discovery(_counting_loss(n, measured), "n_s", method="toys", n_toys=250, seed=3, progress=False)
    rng, background = np.random.default_rng(1), _without_signal(n, measured)
    counts, auxiliary = rng.poisson(background, 1_000_000), rng.normal(background, WIDTH, 1_000_000)
    exact = np.mean(_counting_q(counts, auxiliary) >= _counting_q(n, measured))
    fixed = np.mean(_counting_q(counts, measured) >= _counting_q(n, measured))
    assert abs(found.p_value - exact) < 3 * found.error
    assert abs(fixed - exact) > 5 * found.error
    assert found.n_toys == 250
    assert found.significance == pytest.approx(norm.isf(found.p_value))


def test_a_mass_that_floats_needs_toys():
    likelihood = Likelihood(peak_loss(20, floating_mass=True, low=0.0, n_background=60))
    with pytest.raises(ValueError, match=r"does not depend on mass, .*: fix them .* or use method=\"toys\""):
        discovery(likelihood, "n_s")
    found = discovery(likelihood, "n_s", method="toys", n_toys=15, seed=2, progress=False)
    assert found.p_value == 1 / 16
    assert found.notes[0] == "The p-value is global: it holds for a signal with any mass within the limits of the fit."
    assert found.notes[1].startswith("Only 0 toys look as much like a signal")
    local = discovery(peak_loss(20, low=0.0, n_background=60), "n_s")
    assert local.significance > 4


def test_which_shapes_are_undefined():
    obs = zfit.Space("x", 0, 1)
    n_s, n_b, strength = (zfit.Parameter(name, 5.0, 0, 50) for name in ("n_s", "n_b", "strength"))
    mass, width, slope = (zfit.Parameter(name, 0.5, 0.1, 0.9) for name in ("mass", "width", "slope"))
    n_scaled = zfit.ComposedParameter("scaled", lambda p: p["s"] * p["w"], params={"s": strength, "w": width})
    background = zfit.pdf.Exponential(obs=obs, lambda_=slope, extended=n_b)
    data = zfit.Data(np.linspace(0, 1, 20)[:, np.newaxis], obs=obs)

    def undefined(signal, parameter, value, **more):
        model = zfit.pdf.SumPDF([signal, background])
        return undefined_shapes(Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, data, **more)), parameter, value)

    signal = zfit.pdf.Gauss(obs=obs, mu=mass, sigma=width, extended=n_s)
    assert undefined(signal, "n_s", 0.0) == ("mass", "width")
    assert undefined(signal, "n_s", 1.0) == ()
    assert undefined(signal, "n_b", 0.0) == ("slope",)
    assert undefined(signal, "mass", 0.5) == ()
    known = zfit.constraint.GaussianConstraint(width, 0.5, sigma=0.1)
    assert undefined(signal, "n_s", 0.0, constraints=known) == ("mass",)
    shared = zfit.pdf.Gauss(obs=obs, mu=mass, sigma=slope, extended=n_s)
    assert undefined(shared, "n_s", 0.0) == ("mass",)
    # A yield that is a strength times a rate.
    scaled = zfit.pdf.Gauss(obs=obs, mu=mass, sigma=0.1, extended=n_scaled)
    assert undefined(scaled, "strength", 0.0) == ("mass", "width")
    fraction = zfit.Parameter("fraction", 0.5, 0, 1)
    mixed = zfit.pdf.SumPDF(
        [zfit.pdf.Gauss(obs=obs, mu=mass, sigma=width), zfit.pdf.Exponential(obs=obs, lambda_=slope)], fracs=fraction
    )
    likelihood = Likelihood(zfit.loss.UnbinnedNLL(mixed, data))
    assert undefined_shapes(likelihood, "fraction", 0.0) == ("mass", "width")
    assert undefined_shapes(likelihood, "fraction", 1.0) == ("slope",)


def test_starts_are_spread_over_the_limits():
    likelihood = Likelihood(peak_loss(floating_mass=True))
    starts = starts_in(likelihood, ["mass", "n_b"])
    mass, n_b = np.transpose([[one["mass"], one["n_b"]] for one in starts])
    assert len(starts) == 10
    assert np.diff(np.sort(mass)).max() < 0.2
    assert 0 < n_b.min() < 100
    assert 500 < n_b.max() < 600
    assert starts_in(likelihood, []) == ()
    obs = zfit.Space("x", 0, 1)
    mass = zfit.Parameter("mass", 0.5)
    model = zfit.pdf.Gauss(obs=obs, mu=mass, sigma=0.1)
    free = Likelihood(zfit.loss.UnbinnedNLL(model, zfit.Data(np.full((3, 1), 0.5), obs=obs)))
    with pytest.raises(ValueError, match="mass has no finite limits"):
        starts_in(free, ["mass"])
