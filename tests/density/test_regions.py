"""Parts of the box: probabilities, marginals, events; against counts, quadrature and finite differences.

Counts of 400,000 events see a probability of 0.1 that is wrong by 2 % with four standard deviations.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from builders import random_density
from scipy import stats

from zfit_egmm.families.egmm import mixture

POINT = [0.7]
BOXES = [
    ([100, -0.5, -2], [130, 3.5, 2]),
    ([100, -0.5, -2], [200, 1.5, 2]),
    ([110, 0.5, -1], [150, 2.5, 1.2]),
    ([100, -0.5, 0.5], [200, 3.5, 1.5]),
    ([105, -0.5, 1.5], [110, 0.5, 2]),
]


@pytest.fixture(scope="module")
def random_one():
    return random_density(1)


@pytest.fixture(scope="module")
def events(random_one):
    return random_one.sample(400_000, POINT, seed=1)


def _inside(x, low, high):
    return np.all((x >= low) & (x <= high), axis=1)


@pytest.mark.parametrize(("low", "high"), BOXES)
def test_probabilities_agree_with_counts_and_state_their_error(random_one, events, low, high):
    result = random_one.box_mass(low, high, POINT)
    count = _inside(events, low, high).mean()
    error = np.sqrt(count * (1 - count) / len(events))
    assert abs(result.value - count) < 4 * error
    assert result.error <= 1e-4 * result.value
    precise = random_one.box_mass(low, high, POINT, tolerance=1e-6)
    assert abs(result.value - precise.value) < 6 * result.error + 1e-9


def test_a_probability_of_another_theta_would_not_pass(random_one, events):
    low, high = BOXES[2]
    count = _inside(events, low, high).mean()
    error = np.sqrt(count * (1 - count) / len(events))
    assert abs(random_one.box_mass(low, high, [-0.5]).value - count) > 4 * error


def test_cuts_on_the_first_observable_alone_are_exact(random_one):
    result = random_one.box_mass([100, -0.5, -2], [130, 3.5, 2], POINT)
    assert result.error == 0
    assert result.n_points == 1
    grid = np.linspace(100, 130, 20_001)
    density = random_one.marginal_prob(["mass"], grid[:, None], POINT)
    assert density.n_points == 1
    assert np.trapezoid(density.value, grid) == pytest.approx(result.value, rel=1e-4)


def test_parts_add_up_to_one(random_one):
    cuts = [(100, 120, 200), (-0.5, 1.5, 3.5), (-2, 0.3, 2)]
    total = 0
    for number in range(8):
        bits = [(number >> axis) & 1 for axis in range(3)]
        low, high = ([cut[bit + end] for cut, bit in zip(cuts, bits, strict=True)] for end in (0, 1))
        total += random_one.box_mass(low, high, POINT).value
    assert total == pytest.approx(1, abs=1e-4)


def test_discrete_marginals_agree_with_counts(random_one, events):
    result = random_one.marginal_prob(["jets"], [[0], [1], [2], [3]], POINT)
    assert result.value.sum() == pytest.approx(1, abs=1e-9)
    for number, probability in enumerate(result.value):
        assert (events[:, 1] == number).mean() == pytest.approx(probability, abs=4 * 0.5 / np.sqrt(len(events)))


def test_marginals_of_two_observables_agree_with_counts_in_any_order(random_one, events):
    edges = np.linspace(-1.5, 1.5, 4)
    for k in (0, 3):
        for a, b in itertools.pairwise(edges):
            nodes, weights = np.polynomial.legendre.leggauss(12)
            angle = 0.5 * (a + b) + 0.5 * (b - a) * nodes
            density = random_one.marginal_prob(["angle", "jets"], np.stack([angle, np.full(12, k)], axis=1), POINT)
            expected = 0.5 * (b - a) * weights @ density.value
            count = np.mean((events[:, 1] == k) & (events[:, 2] > a) & (events[:, 2] < b))
            assert count == pytest.approx(expected, abs=4 * np.sqrt(expected / len(events)) + 2e-3 * expected)


def test_gradients_agree_with_finite_differences_also_with_respect_to_limits(random_one):
    low, high = (np.array(end, dtype=float) for end in BOXES[2])
    theta = tf.constant(POINT, tf.float64)

    def mass(theta, low, high):
        return random_one.region(tf.constant(low), tf.constant(high)).mass(tf.constant(theta, tf.float64)).numpy()

    lower, upper = tf.constant(low), tf.constant(high)
    with tf.GradientTape() as tape:
        tape.watch([theta, lower, upper])
        value = random_one.region(lower, upper).mass(theta)
    by_theta, by_low, by_high = tape.gradient(value, [theta, lower, upper])
    step = 1e-5
    difference = (mass([0.7 + step], low, high) - mass([0.7 - step], low, high)) / (2 * step)
    assert by_theta.numpy()[0] == pytest.approx(difference, rel=1e-6)
    for axis in (0, 2):
        shift = 1e-4 * np.eye(3)[axis]
        for gradient, ends in (
            (by_low, ((low + shift, high), (low - shift, high))),
            (by_high, ((low, high + shift), (low, high - shift))),
        ):
            difference = (mass(POINT, *ends[0]) - mass(POINT, *ends[1])) / 2e-4
            assert gradient.numpy()[axis] == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize(("low", "high"), [BOXES[2], BOXES[4]])
def test_events_in_a_part_are_distributed_as_those_of_the_whole_that_fall_there(random_one, events, low, high):
    random = tf.random.Generator.from_seed(1)
    region = random_one.region(low, high)
    drawn = region.sample(
        tf.constant(50_000), tf.constant(POINT, tf.float64), lambda shape: random.uniform(shape, dtype=tf.float64)
    ).numpy()
    assert drawn.shape == (50_000, 3)
    assert _inside(drawn, low, high).all()
    expected = events[_inside(events, low, high)]
    for axis in (0, 2):
        assert stats.ks_2samp(drawn[:, axis], expected[:, axis]).pvalue > 1e-4
    counts = [np.bincount(x[:, 1].astype(int), minlength=4) for x in (drawn, expected)]
    counts = [count[np.sum(counts, axis=0) > 0] for count in counts]
    if len(counts[0]) > 1:
        assert stats.chi2_contingency(counts).pvalue > 1e-4
    other = random_one.sample(400_000, [1.2], seed=3)
    other = other[_inside(other, low, high)]
    if len(other) > 10_000:
        assert min(stats.ks_2samp(drawn[:, axis], other[:, axis]).pvalue for axis in (0, 2)) < 1e-4


def test_the_same_limits_search_their_points_once(random_one):
    first = random_one.region(*BOXES[3])
    assert random_one.region(np.array(BOXES[3][0], dtype=float), BOXES[3][1]) is first


def test_an_empty_range_and_wrong_names_are_explained(random_one):
    with pytest.raises(ValueError, match=r"'mass' contains nothing of its box \[100, 200\]"):
        random_one.box_mass([300, -0.5, -2], [400, 3.5, 2], POINT)
    with pytest.raises(ValueError, match=r"must be some of \['mass', 'jets', 'angle'\]"):
        random_one.marginal_prob(["mas"], [[1.0]], POINT)


def test_masses_and_quantiles_are_accurate_far_in_the_tail():
    parameters = mixture.MixtureParameters(*(tf.constant([[v]], tf.float64) for v in (0.0, -4.0, 0.5)))
    ends = tf.constant(4.0, tf.float64), tf.constant(4.5, tf.float64)
    value = mixture.mass(*ends, parameters, -5.0, 5.0).numpy()[0]
    inside = stats.norm.cdf(18) - stats.norm.cdf(-2)
    expected = (stats.norm.sf(16) - stats.norm.sf(17)) / inside
    assert value == pytest.approx(expected, rel=1e-10)
    fraction = tf.constant([0.1, 0.5, 0.9], tf.float64)
    u = mixture.quantile(fraction, *ends, parameters, -5.0, 5.0).numpy()
    back = (stats.norm.sf(16) - stats.norm.sf((u + 4) / 0.5)) / (stats.norm.sf(16) - stats.norm.sf(17))
    assert back == pytest.approx([0.1, 0.5, 0.9], rel=1e-6)
