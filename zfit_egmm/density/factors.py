"""Factors: one-dimensional distributions, one per event, and the categorical one of discrete observables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

Part = tuple[tf.Tensor | float, tf.Tensor | float]
"""Lower and upper end of a part of an axis, physical units: scalars, or one number per event."""


class Factor(ABC):
    """Distribution of one observable for each event, normalised over its range, in physical units.

    Its parameters have one row per event, or a single row that stands for any number of events.
    """

    @abstractmethod
    def log_density(self, x: tf.Tensor) -> tf.Tensor:
        """Log density of each event's value, shape ``(n_events,)``."""

    @abstractmethod
    def cumulative(self, x: tf.Tensor) -> tf.Tensor:
        """Probability below each event's value, shape ``(n_events,)``."""

    @abstractmethod
    def mass(self, part: Part) -> tf.Tensor:
        """Probability of a part of the range, shape ``(n_events or 1,)``."""

    @abstractmethod
    def quantile(self, fraction: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """Values below which a fraction of the probability of a part of the range lies.

        Smooth in the fraction, in the parameters and in the ends of the part.

        Args:
            fraction: In (0, 1), float64, shape ``(n_events,)``.
            part: The part. Default: the whole range.
        """

    @abstractmethod
    def tiled(self, tile: Callable[[tf.Tensor], tf.Tensor]) -> Factor:
        """The same with ``tile`` applied to all tensors that have rows of events."""

    def sample(self, uniform: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """Values in a part of the range, from uniform numbers in [0, 1) of shape ``(n_events,)``."""
        return self.quantile(uniform, part)

    def spread(self, fraction: tf.Tensor, part: Part | None, allowed: np.ndarray | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Values that fill a part of the range, smooth in everything, and the weights to give them.

        Args:
            fraction: Places in (0, 1), float64, shape ``(n_events,)``.
            part: The part, ``None`` for the whole range.
            allowed: Numbers of the categories that the part contains, ``None`` for all and for continuous observables.
        """
        del allowed
        x = self.quantile(fraction, part)
        return x, tf.ones_like(x) if part is None else self.mass(part)


@dataclass(frozen=True)
class CategoricalFactor(Factor):
    """Probabilities of a discrete observable; the integer k covers ``[k - 1/2, k + 1/2]``.

    Args:
        logit: Log probabilities up to a constant, shape ``(n_events or 1, n_categories)``.
        lowest: Integer of the first category.
    """

    logit: tf.Tensor
    lowest: float

    def log_density(self, x: tf.Tensor) -> tf.Tensor:
        """Log probability of each event's category, which spread over its cell is a density too."""
        return log_probability(tf.cast(self._number(x), tf.int32), self.logit)

    def cumulative(self, x: tf.Tensor) -> tf.Tensor:
        """Probability below each event's value, which grows evenly along a cell."""
        number = self._number(x)
        probabilities = self._probabilities(None)
        chosen = tf.one_hot(tf.cast(number, tf.int32), probabilities.shape[-1], dtype=tf.float64)
        below = tf.cumsum(probabilities, axis=-1, exclusive=True)
        along = x - self.lowest - number + 0.5
        return tf.reduce_sum(chosen * (below + along[:, tf.newaxis] * probabilities), axis=-1)

    def mass(self, part: Part) -> tf.Tensor:
        """Probability of a part of the range; a cell counts in proportion to what lies inside."""
        return tf.reduce_sum(self._probabilities(part), axis=-1)

    def quantile(self, fraction: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """Integers from uniform numbers; a jump cannot be smooth."""
        probabilities = self._probabilities(part)
        edges = tf.cumsum(probabilities, axis=-1)
        number = tf.reduce_sum(tf.cast(fraction[:, tf.newaxis] * edges[:, -1:] >= edges, tf.int32), axis=-1)
        return self.lowest + tf.cast(tf.minimum(number, tf.shape(probabilities)[-1] - 1), tf.float64)

    def spread(self, fraction: tf.Tensor, part: Part | None, allowed: np.ndarray | None) -> tuple[tf.Tensor, tf.Tensor]:
        """Integers that come equally often, whatever their probability, and the weights to give them."""
        probabilities = self._probabilities(part)
        choice = tf.range(probabilities.shape[-1]) if allowed is None else tf.constant(allowed, tf.int32)
        number = tf.cast(fraction * tf.cast(tf.size(choice), tf.float64), tf.int32)
        category = tf.gather(choice, tf.minimum(number, tf.size(choice) - 1))
        chosen = tf.one_hot(category, probabilities.shape[-1], dtype=tf.float64)
        weight = tf.cast(tf.size(choice), tf.float64) * tf.reduce_sum(chosen * probabilities, axis=-1)
        return self.lowest + tf.cast(category, tf.float64), weight

    def tiled(self, tile: Callable[[tf.Tensor], tf.Tensor]) -> CategoricalFactor:
        """See :meth:`Factor.tiled`."""
        return CategoricalFactor(tile(self.logit), self.lowest)

    def _number(self, x: tf.Tensor) -> tf.Tensor:
        return category_number(x, self.lowest, self.logit.shape[-1])

    def _probabilities(self, part: Part | None) -> tf.Tensor:
        probabilities = tf.nn.softmax(tf.cast(self.logit, tf.float64), axis=-1)
        if part is None:
            return probabilities
        start, stop = (_column(end) for end in part)
        centre = self.lowest + tf.range(self.logit.shape[-1], dtype=tf.float64)
        return tf.clip_by_value(tf.minimum(stop, centre + 0.5) - tf.maximum(start, centre - 0.5), 0.0, 1.0) * (
            probabilities
        )


def log_probability(category: tf.Tensor, logit: tf.Tensor, dtype: tf.DType = tf.float64) -> tf.Tensor:
    """Log probability of each event's category.

    Args:
        category: Category numbers from zero, int32, shape ``(n_events,)``.
        logit: Log probabilities up to a constant, shape ``(n_events or 1, n_categories)``.
        dtype: Type to compute in.

    Returns:
        ``ln p``, shape ``(n_events,)``, nats.
    """
    logs = tf.nn.log_softmax(tf.cast(logit, dtype), axis=-1)
    chosen = tf.one_hot(category, tf.shape(logit)[-1], dtype=dtype)
    return tf.reduce_sum(chosen * logs, axis=-1)


def category_number(x: tf.Tensor, lowest: float, n_categories: int) -> tf.Tensor:
    """Number from zero of the cell that values lie in, as floats."""
    return tf.clip_by_value(tf.floor(x - lowest + 0.5), 0.0, n_categories - 1.0)


def _column(end: tf.Tensor | float) -> tf.Tensor:
    end = tf.convert_to_tensor(end, tf.float64)
    return end[:, tf.newaxis] if end.shape.rank else end
