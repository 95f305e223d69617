"""Conditional cumulative probabilities of events: uniform in [0, 1] and independent if the density is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from zfit_egmm.density import mixture
from zfit_egmm.density.autoregressive import MixtureFactor, joined
from zfit_egmm.density.chunks import map_in_chunks
from zfit_egmm.density.density import CHUNK_SIZE, Density

PLACE_STREAM = 40_127
"""Keeps places in jumps apart from events that were drawn with the same small seed."""


def conditional_cdf(density: Any, x: np.ndarray, theta: np.ndarray | None = None, *, seed: int = 0) -> np.ndarray:
    """Probability integral transform of every conditional factor, ``P(X_i < x_i | x_<i, theta)``.

    A discrete observable has jumps in its distribution: a value takes a random place inside its jump, so that the
    result is uniform too.

    Args:
        density: A :class:`Density`, or any object with a method of this name, ``conditional_cdf(x, theta, *, seed)``.
        x: Events inside the box, shape ``(n_events, n_observables)``, physical units.
        theta: Parameters, shape ``(n_theta,)`` or ``(n_events, n_theta)``.
        seed: Seed of the places inside the jumps of discrete observables.

    Returns:
        Shape ``(n_events, n_observables)``, in [0, 1].

    Raises:
        TypeError: If the density has no conditional factors.
        ValueError: If shapes do not match or events lie outside the box.
    """
    if hasattr(density, "conditional_cdf"):
        return density.conditional_cdf(x, theta, seed=seed)
    if not isinstance(density, Density):
        raise TypeError(
            f"{type(density).__name__} has neither conditional factors nor a method conditional_cdf(x, theta, *, seed)"
        )
    events, point = _checked(density, x, theta)
    n_axes = events.shape[1]
    uniform = np.random.default_rng([PLACE_STREAM, seed]).random(events.shape)

    def kernel(rows: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return _conditional_cdf(density, rows[:, :n_axes], rows[:, n_axes:], theta)

    def function(rows: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return map_in_chunks(kernel, rows, theta, CHUNK_SIZE)

    rows = tf.constant(np.concatenate([events, uniform], axis=1), tf.float64)
    return density.traced("conditional_cdf", function)(rows, tf.constant(point, tf.float64)).numpy()


def _conditional_cdf(density: Density, x: tf.Tensor, uniform: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
    u, _ = density.latent(x)
    places = density.latent_map.places(x)
    inputs = density.inputs(theta)
    columns: list[tf.Tensor] = []
    result = []
    for axis, factor in enumerate(density.autoregressive.factors):
        state = factor.conditioner(density.factor_weights[axis], inputs, joined(columns, u))
        if isinstance(factor, MixtureFactor):
            result.append(mixture.cumulative(u[:, axis], state, *factor.limits))
        else:
            result.append(_place_in_jump(tf.cast(u[:, axis], tf.int32), state, uniform[:, axis]))
        columns.append(density.autoregressive.features(axis, u[:, axis], places[:, axis]))
    return tf.stack(result, axis=-1)


def _place_in_jump(category: tf.Tensor, logit: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    probabilities = tf.nn.softmax(tf.cast(logit, tf.float64), axis=-1)
    below = tf.cumsum(probabilities, axis=-1, exclusive=True)
    chosen = tf.one_hot(category, tf.shape(logit)[-1], dtype=tf.float64)
    return tf.reduce_sum(chosen * (below + uniform[:, tf.newaxis] * probabilities), axis=-1)


def _checked(density: Density, x: np.ndarray, theta: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    events = np.asarray(x, dtype=float)
    n_axes, n_theta = len(density.observables), len(density.theta_names)
    if events.ndim != 2 or events.shape[1] != n_axes:
        raise ValueError(f"expected x of shape (n_events, {n_axes}), got {events.shape}")
    for column, observable in zip(events.T, density.observables, strict=True):
        outside = observable.outside(column)
        if outside.any():
            raise ValueError(
                f"observable {observable.name!r}: {outside.sum()} of {len(events)} values are NaN or outside "
                f"[{observable.low:g}, {observable.high:g}], the first at row {int(np.argmax(outside))}"
            )
    point = np.empty(0) if theta is None else np.atleast_1d(np.asarray(theta, dtype=float))
    if point.shape not in ((n_theta,), (len(events), n_theta)):
        raise ValueError(
            f"expected theta of shape ({n_theta},) or ({len(events)}, {n_theta}) for {list(density.theta_names)}, "
            f"got {point.shape}"
        )
    return events, np.ascontiguousarray(np.broadcast_to(point, (len(events), n_theta)))
