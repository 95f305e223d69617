from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.integrate import quad

from zfit_egmm.families.egmm import mixture

LOW, HIGH = -5.0, 5.0


def _parameters(logit, mean, width):
    return mixture.MixtureParameters(*(tf.constant([value], tf.float64) for value in (logit, mean, width)))


CASES = {
    "inside": ([0.0, 1.0, -1.0], [-2.0, 0.5, 3.0], [0.3, 1.0, 0.7]),
    "at the edge": ([0.0, 0.5], [-5.0, 5.0], [0.2, 0.1]),
    "narrow": ([0.0, 2.0], [1.0, 1.1], [1e-3, 0.05]),
    "far outside": ([0.0, 3.0], [30.0, -80.0], [0.5, 2.0]),
    "very far outside": ([0.0], [400.0], [1.0]),
    "unequal amplitudes": ([500.0, -500.0], [0.0, 1.0], [1.0, 1.0]),
}


def _density(u, name):
    u = np.atleast_1d(u)
    return np.exp(mixture.log_density(tf.constant(u, tf.float64), _parameters(*CASES[name]), LOW, HIGH).numpy())


@pytest.mark.parametrize("name", CASES)
def test_integrates_to_one(name):
    _, mean, width = CASES[name]
    breaks = sorted(
        {min(max(m + k * w, LOW), HIGH) for m, w in zip(mean, width, strict=True) for k in (-8, -3, 0, 3, 8)}
        | {LOW, HIGH}
    )
    # Mass of components far outside sits within a tiny distance of the edge.
    breaks = sorted(set(breaks) | {HIGH - 0.1, HIGH - 0.01, LOW + 0.1, LOW + 0.01})
    pieces = [
        quad(lambda u: _density(u, name)[0], a, b, epsabs=1e-12, epsrel=1e-11)[0] for a, b in itertools.pairwise(breaks)
    ]
    assert abs(sum(pieces) - 1) < 1e-9


@pytest.mark.parametrize("name", ["inside", "at the edge", "narrow"])
def test_equals_the_sum_of_normal_densities(name):
    logit, mean, width = (np.array(value) for value in CASES[name])
    u = np.linspace(LOW, HIGH, 501)
    amplitude = np.exp(logit) / np.exp(logit).sum()
    total = (amplitude * stats.norm.pdf(u[:, None], mean, width)).sum(axis=1)
    mass = (amplitude * (stats.norm.cdf(HIGH, mean, width) - stats.norm.cdf(LOW, mean, width))).sum()
    assert np.allclose(_density(u, name), total / mass, rtol=1e-11)


def test_masses_far_outside_keep_ten_digits():
    for mean, width in ((9.0, 1.0), (5.4, 0.1), (-5.2, 0.05)):
        with mpmath.workdps(50):
            ends = [(mpmath.mpf(end) - mpmath.mpf(mean)) / mpmath.mpf(width) for end in (LOW, HIGH)]
            exact_mass = mpmath.ncdf(ends[1]) - mpmath.ncdf(ends[0])
            exact = [
                float(mpmath.log(mpmath.npdf((mpmath.mpf(u) - mpmath.mpf(mean)) / width) / width / exact_mass))
                for u in (-4.99, 0.0, 4.99)
            ]
        found = mixture.log_density(
            tf.constant(np.array([-4.99, 0.0, 4.99])), _parameters([0.0], [mean], [width]), LOW, HIGH
        )
        assert np.allclose(found.numpy(), exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_finite(name):
    parameters = _parameters(*CASES[name])
    u = tf.constant([LOW, 0.0, HIGH], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        value = tf.reduce_sum(mixture.log_density(u, parameters, LOW, HIGH))
    assert all(np.all(np.isfinite(slope.numpy())) for slope in tape.gradient(value, parameters))


@pytest.mark.parametrize("name", ["inside", "at the edge", "narrow", "far outside"])
def test_samples_follow_the_density(name):
    uniform = tf.constant(np.random.default_rng(1).random(20_000))
    u = mixture.sample(uniform, _parameters(*CASES[name]), LOW, HIGH).numpy()
    assert u.min() >= LOW
    assert u.max() <= HIGH
    transform = mixture.cumulative(tf.constant(u), _parameters(*CASES[name]), LOW, HIGH).numpy()
    assert stats.kstest(transform, "uniform").pvalue > 1e-3


def test_a_width_wrong_by_ten_percent_is_caught():
    # The Kolmogorov-Smirnov test of 20,000 events catches a 10 % wrong width with p below 1e-6.
    uniform = tf.constant(np.random.default_rng(1).random(20_000))
    u = mixture.sample(uniform, _parameters([0.0], [0.5], [1.0]), LOW, HIGH)
    right, wrong = (
        mixture.cumulative(u, _parameters([0.0], [0.5], [width]), LOW, HIGH).numpy() for width in (1.0, 1.1)
    )
    assert stats.kstest(right, "uniform").pvalue > 1e-3
    assert stats.kstest(wrong, "uniform").pvalue < 1e-6


def test_extreme_uniform_numbers_stay_inside():
    uniform = tf.constant(np.array([0.0, np.nextafter(1, 0)]))
    for case in CASES.values():
        u = mixture.sample(uniform, _parameters(*case), LOW, HIGH).numpy()
        assert np.all((u >= LOW) & (u <= HIGH))


def test_one_mixture_for_all_events_equals_one_per_event():
    u = tf.constant(np.linspace(-4, 4, 7))
    shared = _parameters(*CASES["inside"])
    repeated = mixture.MixtureParameters(*(tf.repeat(value, 7, axis=0) for value in shared))
    assert np.array_equal(
        mixture.log_density(u, shared, LOW, HIGH).numpy(), mixture.log_density(u, repeated, LOW, HIGH).numpy()
    )
