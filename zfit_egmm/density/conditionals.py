"""Conditionals: a density as a product of one-dimensional distributions, axis by axis, at given theta."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from zfit_egmm.density.factors import Factor


class Conditionals(ABC):
    """``p(x | theta) = prod_i p(x_i | x_<i, theta)`` at given parameters, as factors of one axis after the other.

    Whoever walks along the axes asks for the factor of an axis, decides on values, and shows them with :meth:`see`;
    what that returns is handed to the factors of later axes.
    """

    @abstractmethod
    def factor(self, axis: int, seen: Sequence[Any]) -> Factor:
        """Distribution of an axis for each event.

        Args:
            axis: Position of the axis.
            seen: What :meth:`see` returned for the axes before, in their order.
        """

    def see(self, axis: int, seen: Sequence[Any], x: tf.Tensor) -> Any:
        """What later factors are to know of the values of an axis.

        Args:
            axis: Position of the axis.
            seen: What was returned for the axes before.
            x: Values, float64, shape ``(n_events,)``, physical units.

        Returns:
            Tensors, in any structure, with one row per event; by default the values.
        """
        del axis, seen
        return x


def draw(conditionals: Conditionals, uniform: tf.Tensor) -> tf.Tensor:
    """Events from uniform numbers, both float64 of shape ``(n_events, n_observables)``."""
    seen: list[Any] = []
    drawn: list[tf.Tensor] = []
    for axis in range(uniform.shape[1]):
        x = conditionals.factor(axis, seen).sample(uniform[:, axis])
        drawn.append(x)
        seen.append(conditionals.see(axis, seen, x))
    return tf.stack(drawn, axis=-1)


def log_factors(conditionals: Conditionals, x: tf.Tensor) -> tf.Tensor:
    """Log density of each observable given those before, shape of ``x``, ``(n_events, n_observables)``."""
    return _along(conditionals, x, x, lambda factor, values: factor.log_density(values))


def cumulatives(conditionals: Conditionals, x: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Probability integral transform of every factor, shape of ``x``.

    Args:
        conditionals: The factors.
        x: Events, float64, shape ``(n_events, n_observables)``.
        places: The same, with values of discrete observables spread over their cells.
    """
    return _along(conditionals, x, places, lambda factor, values: factor.cumulative(values))


def _along(conditionals: Conditionals, x: tf.Tensor, values: tf.Tensor, function: Any) -> tf.Tensor:
    seen: list[Any] = []
    result = []
    columns = tf.unstack(x, num=x.shape[1], axis=1)
    for axis, (column, value) in enumerate(zip(columns, tf.unstack(values, num=x.shape[1], axis=1), strict=True)):
        result.append(tf.broadcast_to(function(conditionals.factor(axis, seen), value), tf.shape(value)))
        seen.append(conditionals.see(axis, seen, column))
    return tf.stack(result, axis=-1)
