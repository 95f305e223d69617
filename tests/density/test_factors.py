from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from zfit_egmm.density.factors import CategoricalFactor, log_probability

PROBABILITIES = np.array([0.5, 0.3, 0.15, 0.05])
LOGIT = np.log([PROBABILITIES]) + 7.0
LOWEST = 3.0
"""Integer of the first category."""


def _factor() -> CategoricalFactor:
    return CategoricalFactor(tf.constant(LOGIT), LOWEST)


def test_probabilities_are_normalised():
    assert np.allclose(np.exp(log_probability(tf.range(4), tf.constant(LOGIT)).numpy()), PROBABILITIES, rtol=1e-13)
    values = _factor().log_density(tf.constant([3.0, 4.0, 5.0, 6.0], tf.float64)).numpy()
    assert np.allclose(np.exp(values), PROBABILITIES, rtol=1e-13)


def test_samples_follow_the_probabilities_and_a_wrong_one_is_caught():
    # 20,000 events see a probability of 0.15 that is really 0.165 with p below 1e-4.
    uniform = tf.constant(np.random.default_rng(3).random(20_000))
    counts = np.bincount((_factor().quantile(uniform).numpy() - LOWEST).astype(int), minlength=4)
    assert stats.chisquare(counts, 20_000 * PROBABILITIES).pvalue > 1e-3
    assert stats.chisquare(counts, 20_000 * np.array([0.485, 0.3, 0.165, 0.05])).pvalue < 1e-4


def test_the_largest_uniform_number_gives_the_last_category():
    uniform = tf.constant(np.array([0.0, np.nextafter(1, 0)]))
    assert _factor().quantile(uniform).numpy().tolist() == [3, 6]


def test_a_cell_is_filled_evenly():
    # Half of the cell of 3, all of 4, a quarter of 5.
    part = (3.0, 4.75)
    share = 0.25 + 0.3 + 0.25 * 0.15
    assert _factor().mass(part).numpy() == pytest.approx([share])
    ends = _factor().cumulative(tf.constant([2.5, *part, 6.5], tf.float64)).numpy()
    assert ends == pytest.approx([0, 0.25, 0.25 + share, 1])
    uniform = tf.constant(np.random.default_rng(4).random(20_000))
    counts = np.bincount((_factor().quantile(uniform, part).numpy() - LOWEST).astype(int), minlength=4)
    assert counts[3] == 0
    assert stats.chisquare(counts[:3], 20_000 * np.array([0.25, 0.3, 0.0375]) / share).pvalue > 1e-3


def test_values_of_any_category_come_equally_often_with_weights_that_make_up_for_it():
    middles = tf.constant((np.arange(8) + 0.5) / 8)
    x, weight = _factor().spread(middles, (3.0, 4.75), np.array([0, 1, 2]))
    assert set(x.numpy()) == {3, 4, 5}
    found = [weight.numpy()[x.numpy() == value][0] / 3 for value in (3, 4, 5)]
    assert found == pytest.approx([0.25, 0.3, 0.0375])
