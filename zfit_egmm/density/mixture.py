"""One-dimensional Gaussian mixture, truncated to an interval and normalised on it exactly.

The mixture as a whole is divided by its mass inside the interval,
``p(u) = sum_g f_g N(u; mu_g, sigma_g) / sum_g f_g M_g``, so amplitudes need not be normalised: a
constant added to the logits cancels. Everything here computes in the type of the coordinates, which is
float64 except in training.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

SQRT_HALF = math.sqrt(0.5)
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)

SMALL_MASS = 1e-4
"""Below this share of mass inside the interval, masses are computed in logarithms."""


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

    def cast(self, dtype: tf.DType) -> MixtureParameters:
        """The same parameters in another type, with the largest logit of each event at zero."""
        logit, mean, width = (tf.cast(value, dtype) for value in self)
        return MixtureParameters(logit - tf.reduce_max(logit, axis=-1, keepdims=True), mean, width)


def log_mass(low: tf.Tensor, high: tf.Tensor, mean: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Log of the mass of a normal distribution in an interval, also far out in its tails.

    Args:
        low: Lower ends, float64, any shape that broadcasts with the others.
        high: Upper ends, above ``low``.
        mean: Means.
        width: Widths, positive.

    Returns:
        ``log(Phi((high - mean) / width) - Phi((low - mean) / width))``, accurate to a relative 1e-12
        as long as the interval is not narrower than about 1e-4 widths.
    """
    below, above = (low - mean) / width, (high - mean) / width
    # By symmetry work in the lower tail, where no digits are lost.
    is_upper = below + above > 0
    below, above = tf.where(is_upper, -above, below), tf.where(is_upper, -below, above)
    log_above, log_below = _log_normal_cdf(above), _log_normal_cdf(below)
    return log_above + tfp.math.log1mexp(log_above - log_below)


def _log_normal_cdf(z: tf.Tensor) -> tf.Tensor:
    return tfp.math.logerfc(-z * SQRT_HALF) - math.log(2)


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
    mixture = parameters.cast(u.dtype)
    pull = (u[:, tf.newaxis] - mixture.mean) / mixture.width
    log_terms = mixture.logit - tf.math.log(mixture.width) - 0.5 * tf.square(pull)
    return tf.reduce_logsumexp(log_terms, axis=-1) - LOG_SQRT_2PI - log_total_mass(mixture, low, high)


def log_total_mass(mixture: MixtureParameters, low: float, high: float) -> tf.Tensor:
    """Log of ``sum_g exp(logit_g) M_g`` with the masses inside ``[low, high]``.

    Args:
        mixture: Parameters with the largest logit at zero.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Returns:
        Shape ``(n_events or 1,)``. A difference of error functions suffices unless most of the
        amplitude lies outside; then, for the whole batch, logarithms of masses are used.
    """
    amplitude = tf.exp(mixture.logit)
    inverse = SQRT_HALF / mixture.width
    above, below = tf.math.erf((high - mixture.mean) * inverse), tf.math.erf((low - mixture.mean) * inverse)
    inside = 0.5 * tf.reduce_sum(amplitude * (above - below), axis=-1)
    total = tf.reduce_sum(amplitude, axis=-1)
    dtype = mixture.logit.dtype
    if dtype == tf.float32:
        # Only training computes in float32: there a floor is enough, and cheaper.
        return tf.math.log(tf.maximum(inside, SMALL_MASS * total))
    ends = tf.constant(low, dtype), tf.constant(high, dtype)
    return tf.cond(
        tf.reduce_any(inside < SMALL_MASS * total),
        lambda: tf.reduce_logsumexp(mixture.logit + log_mass(*ends, mixture.mean, mixture.width), axis=-1),
        lambda: tf.math.log(inside),
    )


def cumulative(u: tf.Tensor, parameters: MixtureParameters, low: float, high: float) -> tf.Tensor:
    """Cumulative distribution of the truncated mixture.

    Args:
        u: Coordinates inside the interval, float64, shape ``(n_events,)``.
        parameters: Mixture of each event, or one for all.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Returns:
        Probability below ``u``, float64 in ``[0, 1]``, shape ``(n_events,)``.
    """
    mixture = parameters.cast(tf.float64)
    low_end, high_end = tf.constant(low, tf.float64), tf.constant(high, tf.float64)
    # The log mass of an empty interval is not defined: keep u a hair above the lower end.
    point = tf.maximum(u, low + 1e-12 * (high - low))[:, tf.newaxis]
    part = tf.reduce_logsumexp(mixture.logit + log_mass(low_end, point, mixture.mean, mixture.width), axis=-1)
    whole = tf.reduce_logsumexp(mixture.logit + log_mass(low_end, high_end, mixture.mean, mixture.width), axis=-1)
    return tf.clip_by_value(tf.exp(part - whole), 0.0, 1.0)


def sample(uniform: tf.Tensor, parameters: MixtureParameters, low: float, high: float) -> tf.Tensor:
    """Draw from the truncated mixture, one value per uniform number.

    The uniform number first selects the component; what is left of it selects the position inside.

    Args:
        uniform: Uniform in [0, 1), float64, shape ``(n_events,)``.
        parameters: Mixture of each event, or one for all.
        low: Lower end of the interval.
        high: Upper end of the interval.

    Returns:
        Coordinates in ``[low, high]``, float64, shape ``(n_events,)``.
    """
    mixture = parameters.cast(tf.float64)
    ends = tf.constant(low, tf.float64), tf.constant(high, tf.float64)
    shares = tf.nn.softmax(mixture.logit + log_mass(*ends, mixture.mean, mixture.width), axis=-1)
    edges = tf.cumsum(shares, axis=-1)
    last = tf.shape(shares)[-1] - 1
    chosen = tf.minimum(tf.reduce_sum(tf.cast(uniform[:, tf.newaxis] >= edges, tf.int32), axis=-1), last)
    one_hot = tf.one_hot(chosen, tf.shape(shares)[-1], dtype=tf.float64)

    def pick(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(one_hot * values, axis=-1)

    share = pick(shares)
    rest = (uniform - pick(edges) + share) / tf.maximum(share, 1e-300)
    return _truncated_normal(tf.clip_by_value(rest, 0.0, 1.0), pick(mixture.mean), pick(mixture.width), low, high)


def _truncated_normal(fraction: tf.Tensor, mean: tf.Tensor, width: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Quantile of a normal distribution truncated to the interval."""
    below, above = (low - mean) / width, (high - mean) / width
    is_upper = below + above > 0
    start, stop = tf.where(is_upper, -above, below), tf.where(is_upper, -below, above)
    fraction = tf.where(is_upper, 1.0 - fraction, fraction)
    cdf_start, cdf_stop = (0.5 * tf.math.erfc(-z * SQRT_HALF) for z in (start, stop))
    quantile = tf.math.ndtri(cdf_start + fraction * (cdf_stop - cdf_start))
    # Where both CDFs underflow, all mass sits at the end that is nearer to the mean.
    quantile = tf.clip_by_value(quantile, start, stop)
    return tf.clip_by_value(mean + width * tf.where(is_upper, -quantile, quantile), low, high)
