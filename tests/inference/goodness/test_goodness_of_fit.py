"""Goodness of fit: bins, toys that know of the fit, and models that are wrong in a known way."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from scipy.stats import ks_2samp

from zfit_egmm.inference import Likelihood, fit
from zfit_egmm.inference.goodness.goodness_of_fit import goodness_of_fit
from zfit_egmm.inference.goodness.projections import chi_square, projections_of
from zfit_egmm.inference.goodness.toys import ProjectionToys
from zfit_egmm.inference.toys.sources import FromModel

TRUE = {"mean": 0.3, "n_b": 300.0, "n_s": 60.0}


def model_of(n_s=None, suffix=""):
    """A Gaussian signal, whose mean floats, on a flat background, in two observables."""
    x, y = zfit.Space("x", -3, 3), zfit.Space("y", -3, 3)
    n_s = zfit.Parameter("n_s", 60.0, 0, 400) if n_s is None else n_s
    n_b, mean = zfit.Parameter(f"n_b{suffix}", 300.0, 0, 900), zfit.Parameter(f"mean{suffix}", 0.3, -2, 2)
    signal = [zfit.pdf.Gauss(obs=x, mu=mean, sigma=0.5), zfit.pdf.Gauss(obs=y, mu=0, sigma=1)]
    background = [zfit.pdf.Uniform(obs=x, low=-3, high=3), zfit.pdf.Gauss(obs=y, mu=0, sigma=1)]
    terms = [zfit.pdf.ProductPDF(signal, extended=n_s), zfit.pdf.ProductPDF(background, extended=n_b)]
    return zfit.pdf.SumPDF(terms, name=f"model{suffix}")


def likelihood_of(width=1.0, correlation=0.0, n_events=360, seed=1):
    """Data whose second observable may be too wide, or depend on the first."""
    rng, model = np.random.default_rng(seed), model_of()
    n_s = n_events // 6
    x = np.concatenate([rng.normal(0.3, 0.5, n_s), rng.uniform(-3, 3, n_events - n_s)])
    y = rng.normal(correlation * x, np.sqrt(1 - correlation**2) * width)
    keep = (np.abs(x) < 3) & (np.abs(y) < 3)
    data = zfit.Data(np.stack([x, y], axis=1)[keep], obs=model.space)
    return Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, data))


@pytest.fixture(scope="module")
def right():
    return likelihood_of()


def test_bins_hold_equal_parts_and_rare_cells_are_joined():
    rng = np.random.default_rng(1)
    x = np.stack([rng.normal(size=20_000), rng.integers(0, 3, 20_000), rng.normal(size=20_000)], axis=1)
    x[:, 2] = 0.95 * x[:, 0] + 0.3 * x[:, 2]
    weights = rng.uniform(0.5, 1.5, 20_000)
    found = {one.name: one for one in projections_of(x, weights, ("a", "k", "b"), 400)}
    assert list(found) == ["a", "k", "b", "a and k", "a and b", "k and b"]
    assert [one.n_bins for one in found.values()][:3] == [16, 3, 16]
    content = np.bincount(found["a"].bins(x), weights) / weights.sum()
    assert content == pytest.approx(np.full(16, 1 / 16), rel=0.01)
    # Far from the diagonal hardly anything is expected of 400 events.
    expected = 400 * np.bincount(found["a and b"].bins(x), weights) / weights.sum()
    assert 4 < len(expected) < 16
    assert expected.min() >= 5
    outside = found["a"].bins(np.array([[-99.0, 0, 0], [99.0, 0, 0]]))
    assert outside.tolist() == [0, 15]
    assert chi_square(np.array([12, 8]), np.array([10.0, 10.0])) == pytest.approx(0.8)


def test_toys_are_distributed_like_data(right):
    """Toys are compared with a sample that was drawn elsewhere and weighted, data with samples near their fit.

    120 of each; a difference of half a standard deviation fails, and so do toys that are compared with a signal of 1.5
    times the size.
    """
    rng, draw, sizes = np.random.default_rng(4), FromModel(right), (360,)
    arguments = {"sizes": sizes, "n_reference": 8000, "seed": 5}
    experiment = ProjectionToys(right, fitted={**TRUE, "mean": 0.35, "n_s": 50.0}, **arguments)
    data, toys, wrong = [], [], []
    for number in range(120):
        right.set_data(draw(TRUE, rng))
        best = fit(right, start=TRUE, hesse=False).values
        if number % 12 == 0:
            own = ProjectionToys(right, fitted=best, **{**arguments, "seed": number})
        data.append(own.chi_squares(best).sum())
        right.set_data(draw(TRUE, rng))
        toys.append(experiment.chi_squares(fit(right, start=TRUE, hesse=False).values).sum())
        wrong.append(experiment.chi_squares({**TRUE, "n_s": 90.0}).sum())
    assert ks_2samp(data, toys).pvalue > 0.01
    assert ks_2samp(data, wrong).pvalue < 0.001


def test_a_right_model_fits(right):
    likelihood = likelihood_of()
    found = goodness_of_fit(likelihood, n_toys=30, seed=1, progress=False, n_reference=5000)
    assert 0.05 < found.p_value <= 1
    assert [one.name for one in found.projections] == ["x", "y", "x and y"]
    assert found.n_toys == 30
    assert found.statistic == pytest.approx(sum(one.chi_square for one in found.projections))
    assert found.error == pytest.approx(np.sqrt(found.p_value * (1 - found.p_value) / 31))
    assert "It fits worst in " in str(found)
    assert str(found).count("\n") == 5
    assert likelihood.values == {"mean": 0.3, "n_b": 300.0, "n_s": 60.0}
    same = goodness_of_fit(likelihood, n_toys=30, seed=1, progress=False, n_reference=5000)
    assert same.toys.tolist() == found.toys.tolist()


def test_a_width_that_is_wrong_is_found_in_its_observable():
    """The chi-square of y grows by 0.5 n (2 (1.25 - 1))^2 / 2 = 20 or so, on 14 +- 5."""
    found = goodness_of_fit(likelihood_of(width=1.25), n_toys=25, seed=1, progress=False, n_reference=5000)
    assert found.p_value < 0.08
    assert found.worst.name == "y"
    assert found.notes[0].startswith("It fits worst in y: chi-square ")


def test_a_correlation_is_found_in_the_pair():
    found = goodness_of_fit(likelihood_of(correlation=0.4), n_toys=25, seed=1, progress=False, n_reference=5000)
    assert found.worst.name == "x and y"
    assert found.worst.p_value == 1 / 26


def test_channels_have_one_statistic():
    n_s = zfit.Parameter("n_s", 60.0, 0, 400)
    models = [model_of(n_s, suffix) for suffix in ("_high", "_low")]
    data = [zfit.Data(model.sample(300).value().numpy(), obs=model.space) for model in models]
    loss = zfit.loss.ExtendedUnbinnedNLL(models, data)
    found = goodness_of_fit(loss, n_toys=3, progress=False, n_reference=2000)
    names = [f"model_{channel}: {one}" for channel in ("high", "low") for one in ("x", "y", "x and y")]
    assert [one.name for one in found.projections] == names
    assert found.statistic == pytest.approx(sum(one.chi_square for one in found.projections))


def test_what_makes_no_sense_is_refused(right):
    right.set_data([zfit.Data(np.zeros((2, 2)), obs=right.models[0].space, weights=np.array([1.0, 2.0]))])
    with pytest.raises(ValueError, match="toys are events of equal weight"):
        goodness_of_fit(right)
    right.set_data([np.zeros((2, 2))])
    with pytest.raises(ValueError, match=r"too few events \(2\) for any two bins"):
        goodness_of_fit(right)
