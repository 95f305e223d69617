from __future__ import annotations

import numpy as np
import tensorflow as tf
from scipy import stats

from zfit_egmm.density import categorical

LOGIT = np.log([[0.5, 0.3, 0.15, 0.05]]) + 7.0


def test_probabilities_are_normalised():
    value = categorical.log_density(tf.range(4), tf.constant(LOGIT)).numpy()
    assert np.allclose(np.exp(value), [0.5, 0.3, 0.15, 0.05], rtol=1e-13)


def test_samples_follow_the_probabilities_and_a_wrong_one_is_caught():
    # 20,000 events see a probability of 0.15 that is really 0.165 with p below 1e-4.
    uniform = tf.constant(np.random.default_rng(3).random(20_000))
    counts = np.bincount(
        categorical.sample(uniform, tf.nn.softmax(tf.constant(LOGIT, tf.float64))).numpy(), minlength=4
    )
    assert stats.chisquare(counts, 20_000 * np.array([0.5, 0.3, 0.15, 0.05])).pvalue > 1e-3
    assert stats.chisquare(counts, 20_000 * np.array([0.485, 0.3, 0.165, 0.05])).pvalue < 1e-4


def test_the_largest_uniform_number_gives_the_last_category():
    uniform = tf.constant(np.array([0.0, np.nextafter(1, 0)]))
    assert categorical.sample(uniform, tf.nn.softmax(tf.constant(LOGIT, tf.float64))).numpy().tolist() == [0, 3]
