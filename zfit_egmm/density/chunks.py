"""Evaluate a function of events in chunks, so that memory stays bounded however many events there are."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Kernel = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def map_in_chunks(kernel: Kernel, x: tf.Tensor, theta: tf.Tensor, size: int) -> tf.Tensor:
    """Apply ``kernel(x, theta)`` to at most ``size`` events at a time.

    The gradient is computed chunk by chunk too, from a second evaluation, instead of keeping the
    intermediate values of all events.

    Args:
        kernel: Function of the events that treats them independently. It may not own trainable variables.
        x: Events, float64, shape ``(n_events, k)``.
        theta: Float64, shape ``(p,)`` for all events or ``(n_events, p)``.
        size: Most events at a time.

    Returns:
        Float64, first axis ``n_events``.
    """
    x, theta = tf.convert_to_tensor(x, tf.float64), tf.convert_to_tensor(theta, tf.float64)
    n_static = x.shape[0]
    if n_static is not None and n_static <= size:
        return kernel(x, theta)

    is_per_event = theta.shape.rank == 2

    # Loops are not differentiated: forward and backward each have their own.
    @tf.custom_gradient
    def evaluate(x: tf.Tensor, theta: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_x, by_theta = _loop(_slopes(kernel), x, theta, (upstream,), size, n_results=2)
            if is_per_event:
                return _unstacked(by_x, x), _unstacked(by_theta, x)
            return _unstacked(by_x, x), tf.reduce_sum(by_theta, axis=0)

        (value,) = _loop(lambda rows, point: (kernel(rows, point),), x, theta, (), size, n_results=1)
        return _unstacked(value, x), gradient

    return evaluate(x, theta)


def _slopes(kernel: Kernel) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Function of a chunk that returns the gradients with respect to x and theta."""

    def slopes(x: tf.Tensor, theta: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([x, theta])
            value = kernel(x, theta)
        by_x, by_theta = tape.gradient(value, [x, theta], output_gradients=upstream, unconnected_gradients="zero")
        return by_x, by_theta

    return slopes


def _loop(
    function: Callable[..., tuple[tf.Tensor, ...]],
    x: tf.Tensor,
    theta: tf.Tensor,
    others: tuple[tf.Tensor, ...],
    size: int,
    *,
    n_results: int,
) -> tuple[tf.Tensor, ...]:
    """Apply a function of (x, theta, others) to chunks of equal length; results are stacked per chunk."""
    n_events = _length(x)
    n_chunks = (
        max(1, -(-n_events // size)) if isinstance(n_events, int) else tf.maximum(1, (n_events + size - 1) // size)
    )
    length = (n_events + n_chunks - 1) // n_chunks
    is_per_event = theta.shape.rank == 2

    def stacked(rows: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(rows, [[0, n_chunks * length - n_events]] + [[0, 0]] * (rows.shape.rank - 1))
        return tf.reshape(padded, (n_chunks, length, *rows.shape[1:]))

    def call(parts: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        return function(*parts) if is_per_event else function(parts[0], theta, *parts[1:])

    rows = (x, theta, *others) if is_per_event else (x, *others)
    return tf.map_fn(
        tf.autograph.experimental.do_not_convert(call),
        tuple(stacked(part) for part in rows),
        fn_output_signature=(tf.float64,) * n_results,
        parallel_iterations=1,
    )


def _unstacked(value: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Undo the stacking of chunks, and drop the padding."""
    return tf.reshape(value, (-1, *value.shape[2:]))[: _length(like)]


def _length(x: tf.Tensor) -> int | tf.Tensor:
    return tf.shape(x)[0] if x.shape[0] is None else int(x.shape[0])
