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


def sample(uniform: tf.Tensor, logit: tf.Tensor) -> tf.Tensor:
    """Draw categories.

    Args:
        uniform: Uniform in [0, 1), float64, shape ``(n_events,)``.
        logit: Log probabilities up to a constant, shape ``(n_events or 1, n_categories)``.

    Returns:
        Category numbers, int32, shape ``(n_events,)``.
    """
    edges = tf.cumsum(tf.nn.softmax(tf.cast(logit, tf.float64), axis=-1), axis=-1)
    number = tf.reduce_sum(tf.cast(uniform[:, tf.newaxis] >= edges, tf.int32), axis=-1)
    return tf.minimum(number, tf.shape(logit)[-1] - 1)
