"""One-dimensional Gaussian mixture, truncated to an interval and normalised on it exactly.

The mixture as a whole is divided by its mass inside the interval,
``p(u) = sum_g f_g N(u; mu_g, sigma_g) / sum_g f_g M_g``, so amplitudes need not be normalised: a
constant added to the logits cancels. Means are kept within ``MOST_PULL`` widths of the interval, before
anything is computed: no mass can underflow, and nothing but a steeper edge is lost. Everything computes
in the type of the coordinates, which is float64 except in training.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

SQRT_HALF = math.sqrt(0.5)
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)

MOST_PULL = 4.0
"""Furthest that a mean may lie outside the interval, in widths. The mass inside is then at least 3e-5,
and a difference of error functions gives it to a relative 1e-11 in float64."""

ROOT_TOLERANCE, MOST_ITERATIONS = 1e-4, 60
SMALLEST_SLOPE = 1e-9


class MixtureParameters(NamedTuple):
    """Parameters of a mixture per event.

    Args:
        logit: Log amplitudes up to a common constant, shape ``(n_events or 1, n_components)``.
        mean: Means on the latent axis, same shape.
        width: Widths, positive, same shape.
    """

    logit: tf.Tensor
    mean: tf.Tensor
    width: tf.Tensor

    def bounded(self, low: float, high: float, dtype: tf.DType) -> MixtureParameters:
        """The same in another type, largest logit zero, and means not too far outside the interval."""
        logit, mean, width = (tf.cast(value, dtype) for value in self)
        logit -= tf.reduce_max(logit, axis=-1, keepdims=True)
        reach = MOST_PULL * width
        return MixtureParameters(logit, tf.minimum(tf.maximum(mean, low - reach), high + reach), width)


def log_density(u: tf.Tensor, parameters: MixtureParameters, low: float, high: float) -> tf.Tensor:
    """Log density of the mixture truncated to ``[low, high]``.

    Args:
        u: Coordinates inside the interval, float64 (or float32), shape ``(n_events,)``.
        parameters: Mixture of each event, or one for all.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Returns:
        ``ln p(u)``, in the type of ``u``, shape ``(n_events,)``, nats.

    Source:
        Eqs. 2 and 8 of Menary and Price, "Learning to discover"; the truncation is not in the paper.
    """
    mixture = parameters.bounded(low, high, u.dtype)
    inverse = 1 / mixture.width
    pull = (tf.expand_dims(u, 1) - mixture.mean) * inverse
    log_terms = mixture.logit - 0.5 * tf.square(pull)
    # The logarithm of a sum of exponentials; the terms are finite, which TensorFlow's own checks at some cost.
    largest = tf.stop_gradient(tf.reduce_max(log_terms, axis=-1, keepdims=True))
    total = tf.reduce_sum(tf.exp(log_terms - largest) * inverse, axis=-1)
    return tf.squeeze(largest, -1) - LOG_SQRT_2PI + tf.math.log(total / tf.reduce_sum(_masses(mixture, low, high), -1))


def cumulative(u: tf.Tensor, parameters: MixtureParameters, low: float, high: float) -> tf.Tensor:
    """Cumulative distribution of the truncated mixture.

    Args:
        u: Coordinates inside the interval, float64, shape ``(n_events,)``.
        parameters: Mixture of each event, or one for all.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Returns:
        Probability below ``u``, float64 in ``[0, 1]``, shape ``(n_events,)``, to about 1e-11.
    """
    mixture = parameters.bounded(low, high, tf.float64)
    part = tf.reduce_sum(_masses(mixture, low, u[:, tf.newaxis]), axis=-1)
    return tf.clip_by_value(part / tf.reduce_sum(_masses(mixture, low, high), axis=-1), 0.0, 1.0)


def mass(start: tf.Tensor, stop: tf.Tensor, parameters: MixtureParameters, low: float, high: float) -> tf.Tensor:
    """Probability of a part of the interval, without cancellation in the tails.

    Args:
        start: Lower end of the part, inside the interval, float64, a scalar or shape ``(n_events,)``.
        stop: Upper end of the part, like ``start``.
        parameters: Mixture of each event, or one for all.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Returns:
        Probability, float64 in ``[0, 1]``, shape ``(n_events,)``.
    """
    mixture = parameters.bounded(low, high, tf.float64)
    part = tf.reduce_sum(_tail_masses(mixture, _column(start), _column(stop)), axis=-1)
    return part / tf.reduce_sum(_masses(mixture, low, high), axis=-1)


def quantile(
    fraction: tf.Tensor,
    start: tf.Tensor | float,
    stop: tf.Tensor | float,
    parameters: MixtureParameters,
    low: float,
    high: float,
) -> tf.Tensor:
    """Coordinate below which a fraction of the probability of ``[start, stop]`` lies.

    Unlike :func:`sample` it is smooth in the parameters of the mixture and in the ends of the part, and
    differentiable: a root finder without gradient is followed by steps of Newton's method, the last one with it.

    Args:
        fraction: In (0, 1), float64, shape ``(n_events,)``.
        start: Lower end of the part, inside the interval, float64, a scalar.
        stop: Upper end of the part, like ``start``.
        parameters: Mixture of each event, or one for all.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Returns:
        Coordinates in ``[start, stop]``, float64, shape ``(n_events,)``.
    """
    mixture = parameters.bounded(low, high, tf.float64)
    start, stop = (tf.broadcast_to(tf.convert_to_tensor(end, tf.float64), tf.shape(fraction)) for end in (start, stop))
    amplitude, inverse = 0.5 * tf.exp(mixture.logit), SQRT_HALF / mixture.width
    # Masses above a component's mean come from its upper tail, where small differences are exact.
    is_above = _column(start) + _column(stop) > 2 * mixture.mean
    sign = 2 * tf.cast(is_above, tf.float64) - 1

    def tail(u: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(sign * amplitude * tf.math.erfc(sign * (_column(u) - mixture.mean) * inverse), axis=-1)

    first = tail(start)
    total = first - tail(stop)

    def excess(u: tf.Tensor) -> tf.Tensor:
        return first - tail(u) - fraction * total

    def newton(u: tf.Tensor) -> tf.Tensor:
        pull = (_column(u) - mixture.mean) / mixture.width
        slope = tf.reduce_sum(tf.exp(mixture.logit - 0.5 * tf.square(pull)) / mixture.width, axis=-1)
        # Between distant components the slope may vanish, but hardly any fraction leads there.
        least = SMALLEST_SLOPE * total + 1e-300
        step = excess(u) / tf.stop_gradient(tf.maximum(slope / math.sqrt(2 * math.pi), least))
        return tf.clip_by_value(u - step, start, stop)

    # Imported here, since it takes seconds and training has no need of it.
    from tensorflow_probability import math as tfp_math

    root = tfp_math.find_root_chandrupatla(
        lambda u: tf.stop_gradient(excess(u)),
        tf.stop_gradient(start),
        tf.stop_gradient(stop),
        position_tolerance=ROOT_TOLERANCE,
        max_iterations=MOST_ITERATIONS,
    ).estimated_root
    return newton(tf.stop_gradient(newton(tf.stop_gradient(root))))


def sample(
    uniform: tf.Tensor,
    parameters: MixtureParameters,
    low: float,
    high: float,
    *,
    part: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> tf.Tensor:
    """Draw from the truncated mixture, one value per uniform number.

    The uniform number first selects the component; what is left of it selects the position inside.

    Args:
        uniform: Uniform in [0, 1), float64, shape ``(n_events,)``.
        parameters: Mixture of each event, or one for all.
        low: Lower end of the interval.
        high: Upper end of the interval.
        part: Ends of the part of the interval to draw from, scalars or shape ``(n_events,)``. Default: all of it.

    Returns:
        Coordinates in the interval or its part, float64, shape ``(n_events,)``.
    """
    mixture = parameters.bounded(low, high, tf.float64)
    start, stop = (low, high) if part is None else part
    masses = _masses(mixture, low, high) if part is None else _tail_masses(mixture, _column(start), _column(stop))
    edges = tf.cumsum(masses, axis=-1)
    position = uniform[:, tf.newaxis] * edges[:, -1:]
    last = tf.shape(masses)[-1] - 1
    chosen = tf.minimum(tf.reduce_sum(tf.cast(position >= edges, tf.int32), axis=-1), last)
    one_hot = tf.one_hot(chosen, last + 1, dtype=tf.float64)

    def pick(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(one_hot * values, axis=-1)

    mass = pick(masses)
    rest = (position[:, 0] - pick(edges) + mass) / tf.maximum(mass, 1e-300)
    return _truncated_normal(tf.clip_by_value(rest, 0.0, 1.0), pick(mixture.mean), pick(mixture.width), start, stop)


def _masses(mixture: MixtureParameters, low: tf.Tensor | float, high: tf.Tensor | float) -> tf.Tensor:
    """Amplitude times mass between two points, per component."""
    inverse = SQRT_HALF / mixture.width
    above, below = tf.math.erf((high - mixture.mean) * inverse), tf.math.erf((low - mixture.mean) * inverse)
    return 0.5 * tf.exp(mixture.logit) * (above - below)


def _tail_masses(mixture: MixtureParameters, start: tf.Tensor | float, stop: tf.Tensor | float) -> tf.Tensor:
    """Like :func:`_masses`, but by symmetry always in the lower tail, where small differences are exact."""
    inverse = SQRT_HALF / mixture.width
    below, above = (start - mixture.mean) * inverse, (stop - mixture.mean) * inverse
    is_upper = below + above > 0
    below, above = tf.where(is_upper, -above, below), tf.where(is_upper, -below, above)
    return 0.5 * tf.exp(mixture.logit) * (tf.math.erfc(-above) - tf.math.erfc(-below))


def _column(value: tf.Tensor | float) -> tf.Tensor:
    value = tf.convert_to_tensor(value, tf.float64)
    return tf.expand_dims(value, 1) if value.shape.rank else value


def _truncated_normal(
    fraction: tf.Tensor, mean: tf.Tensor, width: tf.Tensor, low: tf.Tensor | float, high: tf.Tensor | float
) -> tf.Tensor:
    """Quantile of a normal distribution truncated to the interval, by symmetry always in the lower tail."""
    below, above = (low - mean) / width, (high - mean) / width
    is_upper = below + above > 0
    start, stop = tf.where(is_upper, -above, below), tf.where(is_upper, -below, above)
    fraction = tf.where(is_upper, 1.0 - fraction, fraction)
    cdf_start, cdf_stop = (0.5 * tf.math.erfc(-z * SQRT_HALF) for z in (start, stop))
    quantile = tf.clip_by_value(tf.math.ndtri(cdf_start + fraction * (cdf_stop - cdf_start)), start, stop)
    return tf.clip_by_value(mean + width * tf.where(is_upper, -quantile, quantile), low, high)
