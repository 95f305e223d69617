"""Derivatives of the log density in theta, event by event, by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from zfit_egmm.density.base import Density

BATCH = 2048  # events of a graph: enough to be quick, few enough for the memory of second derivatives


class Derivatives:
    """Log density, score and curvature of single events; each is traced once.

    Every event gets its own copy of theta. The gradient of the summed log density with respect to these copies then
    holds the score of each event, at the price of a single backward pass.

    Args:
        density: The density.
    """

    def __init__(self, density: Density) -> None:
        self._density = density
        # Batches of a fixed length: the density then evaluates them directly, which can be differentiated twice.
        signature = [
            tf.TensorSpec((BATCH, len(density.observables)), tf.float64),
            tf.TensorSpec((BATCH, len(density.theta_names)), tf.float64),
        ]
        self._first = tf.function(self._log_prob_and_score, input_signature=signature, autograph=False)
        self._second = tf.function(self._curvature, input_signature=signature, autograph=False)

    def log_prob_and_score(self, x: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log density and its gradient in theta.

        Args:
            x: Events, shape ``(n_events, n_observables)``.
            theta: Parameters of each event, shape ``(n_events, n_theta)``.

        Returns:
            ``log p``, shape ``(n_events,)``, and ``d log p / d theta``, shape ``(n_events, n_theta)``, in nats
            and in inverse units of theta.

        Raises:
            ValueError: If the density of an event is zero or its score is not finite.
        """
        both = _in_batches(self._first, x, theta)
        _check_finite(both, x, theta)
        return both[:, 0], both[:, 1:]

    def scores(self, x: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """The second part of :meth:`log_prob_and_score`."""
        return self.log_prob_and_score(x, theta)[1]

    def curvatures(self, x: np.ndarray, theta: np.ndarray) -> np.ndarray:
        """Negative matrix of second derivatives of the log density in theta.

        Args:
            x: Events, shape ``(n_events, n_observables)``.
            theta: Parameters of each event, shape ``(n_events, n_theta)``.

        Returns:
            Shape ``(n_events, n_theta, n_theta)``.
        """
        result = _in_batches(self._second, x, theta)
        _check_finite(result.reshape(len(x), -1), x, theta)
        return result

    def _log_prob_and_score(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(theta)
            value = self._density.log_prob_tensor(x, theta)
        score = tape.gradient(value, theta, unconnected_gradients="zero")
        return tf.concat([value[:, tf.newaxis], score], axis=1)

    def _curvature(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(theta)
            with tf.GradientTape() as inner:
                inner.watch(theta)
                value = self._density.log_prob_tensor(x, theta)
            columns = tf.unstack(inner.gradient(value, theta, unconnected_gradients="zero"), axis=1)
        return -tf.stack([outer.gradient(c, theta, unconnected_gradients="zero") for c in columns], axis=1)


def _in_batches(function: Callable, x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(x), BATCH):
        rows = np.arange(start, start + BATCH).clip(max=len(x) - 1)
        values = function(tf.constant(x[rows], tf.float64), tf.constant(theta[rows], tf.float64)).numpy()
        parts.append(values[: len(x) - start])
    return np.concatenate(parts)


def _check_finite(values: np.ndarray, x: np.ndarray, theta: np.ndarray) -> None:
    is_bad = ~np.isfinite(values).all(axis=1)
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise ValueError(
            f"{is_bad.sum()} of {len(x)} events have density zero or a derivative that is not finite, the first at row "
            f"{row}: x = {x[row]} at theta = {theta[row]}; leave out events outside the ranges of the density"
        )
