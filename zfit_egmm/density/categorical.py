"""Categorical distribution of a discrete observable."""

from __future__ import annotations

import tensorflow as tf


def log_density(category: tf.Tensor, logit: tf.Tensor, dtype: tf.DType = tf.float64) -> tf.Tensor:
    """Log probability of each event's category.

    Args:
        category: Category numbers from zero, integer, shape ``(n_events,)``.
        logit: Log probabilities up to a constant, shape ``(n_events or 1, n_categories)``.
        dtype: Type to compute in.

    Returns:
        ``ln p``, shape ``(n_events,)``, nats. Spread evenly over a cell of width one this
        is also the log density of the discrete observable as a continuous axis.
    """
    log_probability = tf.nn.log_softmax(tf.cast(logit, dtype), axis=-1)
    chosen = tf.one_hot(category, tf.shape(logit)[-1], dtype=dtype)
    return tf.reduce_sum(chosen * log_probability, axis=-1)


def cell_probabilities(start: tf.Tensor, stop: tf.Tensor, logit: tf.Tensor) -> tf.Tensor:
    """Probability of each category inside a range, its cell counted in proportion to what lies inside.

    Args:
        start: Lower end of the range in category numbers, float64, a scalar; category k covers ``k +- 1/2``.
        stop: Upper end of the range.
        logit: Log probabilities up to a constant, shape ``(n_events or 1, n_categories)``.

    Returns:
        Float64, shape ``(n_events or 1, n_categories)``.
    """
    number = tf.range(tf.shape(logit)[-1], dtype=tf.int32)
    centre = tf.cast(number, tf.float64)
    overlap = tf.clip_by_value(tf.minimum(stop, centre + 0.5) - tf.maximum(start, centre - 0.5), 0.0, 1.0)
    return overlap * tf.nn.softmax(tf.cast(logit, tf.float64), axis=-1)


def sample(uniform: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Draw categories.

    Args:
        uniform: Uniform in [0, 1), float64, shape ``(n_events,)``.
        probabilities: Of each category, up to a constant, float64, shape ``(n_events or 1, n_categories)``.

    Returns:
        Category numbers, int32, shape ``(n_events,)``.
    """
    edges = tf.cumsum(probabilities, axis=-1)
    number = tf.reduce_sum(tf.cast(uniform[:, tf.newaxis] * edges[:, -1:] >= edges, tf.int32), axis=-1)
    return tf.minimum(number, tf.shape(probabilities)[-1] - 1)
