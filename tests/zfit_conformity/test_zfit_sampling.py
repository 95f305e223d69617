"""Events that are drawn from the PDF: their distribution, number and seed."""

from __future__ import annotations

import time

import numpy as np
import pytest
import zfit
from conformity import edges, factor_mass
from scipy import stats

# A test at this level fails wrongly once in 10 000 runs; seeds are fixed.
LEVEL = 1e-4
N_EVENTS = 4000


@pytest.fixture(autouse=True)
def _seed():
    zfit.settings.set_seed(17)


def cumulative(factor, ends, n=400):
    """Cumulative distribution of a one-dimensional factor between two limits."""
    grid = np.linspace(*ends, n)
    steps = np.array([factor_mass(factor, ends[0], end) for end in grid[1::20]])
    return lambda x: np.interp(
        x,
        np.concatenate([[ends[0]], grid[1::20], [ends[1]]]),
        np.concatenate([[0], steps, [factor_mass(factor, *ends)]]) / factor_mass(factor, *ends),
    )


def probabilities(case, x, part=None):
    """Smallest p-value over the observables of a comparison with the factors of the oracle."""
    limits = edges(case.pdf.space if part is None else part)
    return [
        stats.kstest(x[:, axis], cumulative(case.factors[name], limits[axis])).pvalue
        for axis, name in enumerate(case.pdf.obs)
    ]


def test_events_follow_the_oracle(gauss):
    x = gauss.pdf.sample(N_EVENTS).value().numpy()
    assert x.shape == (N_EVENTS, 3)
    assert min(probabilities(gauss, x)) > LEVEL
    # A shift by a tenth of the width, three standard errors at 1000 events, is seen with near certainty at 4000.
    assert min(probabilities(gauss, x + 0.1 * x.std(axis=0))) < LEVEL


def test_events_of_a_part_follow_the_oracle(gauss):
    part = gauss.part()
    x = gauss.pdf.sample(N_EVENTS, part).value().numpy()
    low, high = np.array(edges(part)).T
    assert x.shape == (N_EVENTS, 3)
    assert np.all((x >= low) & (x <= high))
    assert min(probabilities(gauss, x, part)) > LEVEL


def test_events_of_a_part_of_a_trained_density_follow_it(trained):
    part = trained.part()
    x = trained.pdf.sample(N_EVENTS, part).value().numpy()
    low, high = np.array(edges(part)).T
    assert np.all((x >= low) & (x <= high))
    every = trained.density.sample(40 * N_EVENTS, trained.point, seed=3)
    inside = every[np.all((every >= low) & (every <= high), axis=1)]
    assert len(inside) > N_EVENTS
    for axis in (0, 2):
        assert stats.ks_2samp(x[:, axis], inside[:, axis]).pvalue > LEVEL
        assert stats.ks_2samp(x[:, axis], every[: 2 * N_EVENTS, axis]).pvalue < LEVEL
    counts = [[np.sum(rows[:, 1] == k) for k in (2, 3)] for rows in (x, inside)]
    assert stats.chi2_contingency(np.array(counts)).pvalue > LEVEL


def test_a_part_with_few_events_is_sampled_in_sensible_time(gauss):
    part = gauss.part(0.0, 0.055)
    assert 1e-7 < gauss.mass(part) < 1e-3
    start = time.monotonic()
    x = gauss.pdf.sample(500, part).value().numpy()
    assert time.monotonic() - start < 60
    low, high = np.array(edges(part)).T
    assert x.shape == (500, 3)
    assert np.all((x >= low) & (x <= high))


def test_several_limits_get_their_shares(gauss):
    rest = gauss.part(0.0, 1.0, ("b", "c"))
    left, right = (zfit.Space("a", *ends) * rest for ends in ((-2, -0.5), (0.5, 3)))
    pdf = gauss.pdf.to_truncated([left, right])
    x = pdf.sample(N_EVENTS).value().numpy()[:, 0]
    assert not np.any((x > -0.5) & (x < 0.5))
    share = gauss.mass(left) / (gauss.mass(left) + gauss.mass(right))
    assert stats.binomtest(int(np.sum(x < 0)), N_EVENTS, share).pvalue > LEVEL


@pytest.mark.parametrize("limits", [None, "part"])
def test_the_same_seed_gives_the_same_events(gauss, limits):
    limits = gauss.part() if limits else None
    draws = []
    for seed in (5, 5, 6):
        zfit.settings.set_seed(seed)
        draws.append(gauss.pdf.sample(50, limits).value().numpy())
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("n", [0, 1])
def test_few_events_are_events_too(case, n):
    assert case.pdf.sample(n).value().shape == (n, 3)
    assert case.pdf.sample(n, case.part()).value().shape == (n, 3)


def test_discrete_events_are_integers_inside_the_range(trained):
    jets = trained.pdf.sample(500).value().numpy()[:, 1]
    assert set(jets) <= {0.0, 1.0, 2.0, 3.0}


def test_events_follow_the_parameters_that_are_given(gauss):
    name = gauss.parameter.name
    means = []
    for value in (-1.0, 2.0):
        x = gauss.pdf.sample(N_EVENTS, params={name: value}).value().numpy()
        with gauss.parameter.set_value(value):
            assert min(probabilities(gauss, x)) > LEVEL
        means.append(x.mean(axis=0) / x.std(axis=0))
    assert np.max(np.abs(means[1] - means[0])) > 0.05


def test_sampler_is_drawn_again_with_other_parameters(gauss):
    sampler = gauss.pdf.create_sampler(n=N_EVENTS)
    at = float(gauss.parameter.value())
    for value in (None, -1.0, 2.0):
        sampler.resample(params=None if value is None else {gauss.parameter: value})
        x = sampler.value().numpy()
        with gauss.parameter.set_value(at if value is None else value):
            assert min(probabilities(gauss, x)) > LEVEL
        assert float(gauss.parameter.value()) == at


def test_sampler_has_poisson_sizes(gauss):
    pdf = gauss.pdf.create_extended(zfit.Parameter("n", 80.0))
    sampler = pdf.create_sampler(n="extended")
    sizes = []
    for _ in range(60):
        sampler.resample()
        sizes.append(int(sampler.nevents))
    assert np.mean(sizes) == pytest.approx(80, abs=4 * np.sqrt(80 / 60))
    # Sixty sizes of a Poisson distribution: the ratio follows chi-square, and a fixed size would give zero.
    assert stats.chi2(59).cdf(59 * np.var(sizes, ddof=1) / 80) == pytest.approx(0.5, abs=0.4999)
    assert np.var(sizes) > 0


def test_sampler_fills_a_part(gauss):
    part = gauss.part()
    sampler = gauss.pdf.create_sampler(n=200, limits=part)
    sampler.resample()
    low, high = np.array(edges(part)).T
    assert np.all((sampler.value().numpy() >= low) & (sampler.value().numpy() <= high))
