"""Feldman-Cousins: the published table of a Gaussian with a mean that is not negative, and a fit with a limit."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from zfit_egmm.inference.hypotheses.feldman_cousins import construct, feldman_cousins

# Feldman and Cousins (1998), Table X: measured value and interval of the mean at 90 %.
PUBLISHED_90 = {-3.0: (0.0, 0.26), -2.0: (0.0, 0.40), -1.0: (0.0, 0.81), 0.0: (0.0, 1.64), 1.0: (0.0, 2.64)}
PUBLISHED_90 |= {2.0: (0.58, 3.64), 3.0: (1.37, 4.64)}
MEASURED = (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.1)
LEVELS = (0.6827, 0.90, 0.95, 0.99)


def q_of(x, mean):
    """-2 ln of the likelihood ratio between a mean and the best one that is not negative."""
    return np.square(x - mean) - np.square(x - np.maximum(x, 0))


def exact_critical(mean, level):
    """Largest accepted test statistic, from the probability of the accepted range of x, without toys."""

    def excess(critical):
        root = np.sqrt(critical)
        low = mean - root if root < mean else (mean**2 - critical) / (2 * mean)
        return ndtr(root) - ndtr(low - mean) - level

    if mean == 0:
        # Every x below zero has the test statistic zero.
        return max(brentq(lambda critical: ndtr(np.sqrt(critical)) - level, 0, 30), 0)
    return brentq(excess, 1e-12, 30)


def exact_interval(x, level):
    def excess(mean):
        return q_of(x, mean) - exact_critical(mean, level)

    grid = np.linspace(0, 7, 71)
    inside = np.flatnonzero([excess(mean) <= 0 for mean in grid])
    low, high = grid[inside[0]], grid[inside[-1]]
    if low > 0:
        low = brentq(excess, low - 0.1, low)
    return low, brentq(excess, high, high + 0.1)


@pytest.fixture(scope="module")
def means():
    return np.concatenate([np.arange(0, 1.2, 0.05), np.arange(1.2, 6.3, 0.1)])


@pytest.fixture(scope="module")
def toys(means):
    """Test statistics of toys at each mean; x at levels of its distribution, so that nothing fluctuates."""
    normal = ndtri((np.arange(20_000) + 0.5) / 20_000)
    return [q_of(mean + normal, mean) for mean in means]


def test_the_exact_construction_is_the_published_one():
    for x, (low, high) in PUBLISHED_90.items():
        assert exact_interval(x, 0.90) == pytest.approx((low, high), abs=0.01), x


@pytest.mark.parametrize("level", LEVELS)
def test_the_construction_from_toys_is_the_exact_one(level, means, toys):
    for x in MEASURED:
        found = construct(means, q_of(x, means), toys, level)
        assert len(found.intervals) == 1
        assert found.intervals[0] == pytest.approx(exact_interval(x, level), abs=0.02), x


def test_a_wrong_ordering_misses_the_table(means):
    """Toys whose best mean may be negative have the critical value of a chi-square; that differs by much more."""
    toys = np.square(ndtri((np.arange(20_000) + 0.5) / 20_000))
    wrong = construct(means, q_of(-1.0, means), [toys] * len(means), 0.90)
    assert wrong.intervals[0][1] - exact_interval(-1.0, 0.90)[1] > 0.08


def test_the_critical_value_and_its_error(means):
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(200):
        found = construct(means[:2], [0.0, 0.0], rng.chisquare(1, (2, 500)), 0.90)
        pulls.append((found.critical[0] - 2.7055) / found.critical_errors[0])
    assert abs(np.mean(pulls)) < 0.3
    # The error is itself known to about 20 % from 500 toys.
    assert 0.8 < np.std(pulls) < 1.4


def test_sets_of_several_intervals_and_of_none():
    values, toys = np.linspace(-2, 2, 41), [np.linspace(0, 1, 101)] * 41
    found = construct(values, 4 * np.square(np.abs(values) - 1), toys, 0.90)
    assert np.array(found.intervals) == pytest.approx(np.array([[-1.474, -0.526], [0.526, 1.474]]), abs=0.002)
    assert found.accepted.sum() == 18
    assert construct(values, np.full(41, 2.0), toys, 0.90).intervals == ()
    with pytest.raises(ValueError, match="got 41 values, 40 test statistics and 41 sets"):
        construct(values, np.zeros(40), toys, 0.90)
    with pytest.raises(ValueError, match=r"level is a confidence level .* got 90"):
        construct(values, np.zeros(41), toys, 90)


def _loss(x):
    """One measurement of a mean that is not negative, with unit width."""
    obs = zfit.Space("x", -12, 20)
    mean = zfit.Parameter("mean", 1.0, 0, 8)
    model = zfit.pdf.Gauss(obs=obs, mu=mean, sigma=1.0)
    return zfit.loss.UnbinnedNLL(model, zfit.Data.from_numpy(obs=obs, array=np.array([[x]])))


def test_a_fit_gives_the_interval_of_the_table():
    """The errors of the critical values are about 0.4, which is 0.15 for the upper end."""
    values = np.array([0.0, 1.0, 1.6, 2.4])
    found = feldman_cousins(_loss(0.0), "mean", values, n_toys=80, seed=4, progress=False)
    exact = [exact_critical(value, 0.90) for value in values]
    assert found.q_observed == pytest.approx(q_of(0.0, values), abs=2e-3)
    assert np.all(np.abs(found.critical - exact) < 3.5 * np.maximum(found.critical_errors, 0.2))
    ((low, high),) = found.intervals
    assert low == 0
    assert high == pytest.approx(1.64, abs=0.45)
    assert found.notes == ()
    assert str(found).startswith("mean at 90 % confidence (Feldman-Cousins, 80 toys per value): [0, ")


def test_a_scan_that_ends_inside_the_set_says_so():
    loss = _loss(2.0)
    found = feldman_cousins(loss, "mean", [1.5, 2.5], n_toys=20, progress=False)
    assert found.accepted.all()
    assert found.notes == (
        "The set may go on below 1.5, where the scan ends: scan further.",
        "The set may go on above 2.5, where the scan ends: scan further.",
    )
    with pytest.raises(ValueError, match=r"mean = 9 lies outside the limits \[0, 8\]"):
        feldman_cousins(loss, "mean", [1.0, 9.0])
    with pytest.raises(ValueError, match="'sigma' is no free parameter of the loss; there are mean"):
        feldman_cousins(loss, "sigma", [1.0, 2.0])
    with pytest.raises(ValueError, match="give make="):
        feldman_cousins(loss, "mean", [1.0, 2.0], workers=2)
