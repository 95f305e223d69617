"""Acceptance: events of a density from weighted proposals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from zfit_egmm.density.base import Density, Uniform

PILOT_EVENTS, MOST_PROPOSALS = 1024, 2**17
LEAST_RATE = 1e-3
"""Share of accepted proposals below which no more of them are asked for at once."""


def accepted(n: tf.Tensor, n_axes: int, propose: Callable[[tf.Tensor], tf.Tensor], uniform: Uniform) -> tf.Tensor:
    """Events accepted in proportion to their weights: exact, up to the largest weight that was ever met.

    Args:
        n: Number of events, an int32 tensor.
        n_axes: Number of observables.
        propose: Function of a number that returns so many events and, as last column, their weights.
        uniform: Source of random numbers in [0, 1), a function of a shape.

    Returns:
        Float64, shape ``(n, n_axes)``.
    """
    pilot = propose(tf.constant(PILOT_EVENTS))
    weights = pilot[:, n_axes]
    largest = tf.reduce_max(weights)
    tf.debugging.assert_positive(largest, message="no event can be drawn: the region has no probability")
    rate = tf.maximum(tf.reduce_mean(weights) / largest, LEAST_RATE)
    first = tf.boolean_mask(pilot[:, :n_axes], uniform((PILOT_EVENTS,)) * largest < weights)

    def go_on(events: tf.Tensor, largest: tf.Tensor) -> tf.Tensor:
        del largest
        return tf.shape(events)[0] < n

    def draw(events: tf.Tensor, largest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        missing = tf.cast(n - tf.shape(events)[0], tf.float64)
        size = tf.cast(tf.minimum(1.1 * missing / rate + 100.0, float(MOST_PROPOSALS)), tf.int32)
        rows = propose(size)
        now = tf.maximum(largest, tf.reduce_max(rows[:, n_axes]))
        # A new largest weight means that earlier events were accepted too often.
        kept = uniform((tf.shape(events)[0],)) * now < largest
        is_accepted = uniform((size,)) * now < rows[:, n_axes]
        accepted_now = tf.boolean_mask(rows[:, :n_axes], is_accepted)
        return tf.concat([tf.boolean_mask(events, kept), accepted_now], axis=0), now

    shapes = (tf.TensorShape((None, n_axes)), tf.TensorShape(()))
    events, _ = tf.while_loop(go_on, draw, (first, largest), shape_invariants=shapes)
    return events[:n]


def accepted_by_row(density: Density, theta: tf.Tensor, uniform: Uniform) -> tf.Tensor:
    """Events of a density without conditionals at parameters that differ from event to event; outside of graphs.

    Every event is proposed by the guide at its own parameters until it is accepted.

    Args:
        density: The density.
        theta: Float64, shape ``(n, n_theta)``.
        uniform: Source of random numbers in [0, 1), a function of a shape.

    Returns:
        Float64, shape ``(n, n_observables)``.
    """
    guide = density.guide()
    events = np.empty((theta.shape[0], len(density.observables)))
    pending, largest = np.arange(len(events)), 0.0
    done = np.empty(0, dtype=int)
    while len(pending):
        point = tf.gather(theta, pending)
        x = guide.sample_tensor(len(pending), point, uniform).numpy()
        weight = np.exp(density.log_prob(x, point.numpy()) - guide.log_prob(x, point.numpy()))
        now = max(largest, float(weight.max()))
        if now > largest > 0:
            # A new largest weight means that earlier events were accepted too often.
            is_kept = uniform((len(done),)).numpy() * now < largest
            done, dropped = done[is_kept], done[~is_kept]
        else:
            dropped = np.empty(0, dtype=int)
        is_accepted = uniform((len(pending),)).numpy() * now < weight
        events[pending[is_accepted]] = x[is_accepted]
        done = np.concatenate([done, pending[is_accepted]])
        pending, largest = np.concatenate([pending[~is_accepted], dropped]), now
    return tf.constant(events)
