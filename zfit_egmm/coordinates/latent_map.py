"""LatentMap: between events in physical units and the coordinates in which the factors are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from zfit_egmm.coordinates.projection import Projection
from zfit_egmm.observables import Observable


def place_between(x: tf.Tensor, low: ArrayLike, high: ArrayLike) -> tf.Tensor:
    """Where values lie between two limits: -1 at the lower one, 1 at the upper one."""
    low, high = np.asarray(low), np.asarray(high)
    return (x - 0.5 * (low + high)) / (0.5 * (high - low))


@dataclass(frozen=True, eq=False)
class LatentMap:
    """The maps of all observables; discrete ones count their categories from zero, in cells of width one.

    Args:
        observables: The axes.
        projections: One per observable, ``None`` for discrete ones.

    Source:
        Eq. 10 of Menary and Price, "Learning to discover".
    """

    observables: tuple[Observable, ...]
    projections: tuple[Projection | None, ...]

    def latent(self, x: tf.Tensor, axes: Sequence[int] | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Latent coordinates of events inside the box, and the log of the Jacobian.

        Args:
            x: Float64, shape ``(n_events, n_axes)``.
            axes: Positions of the observables in the columns. Default: all.

        Returns:
            ``u``, shape ``(n_events, n_axes)``, and ``log |du/dx|``, shape ``(n_events,)``.
        """
        axes = range(len(self.observables)) if axes is None else axes
        columns, log_slopes = [], []
        for axis, values in zip(axes, tf.unstack(x, num=len(axes), axis=1), strict=True):
            observable, projection = self.observables[axis], self.projections[axis]
            if projection is None:
                category = tf.floor(values - observable.low + 0.5)
                columns.append(tf.clip_by_value(category, 0.0, observable.n_categories - 1.0))
            else:
                u, log_slope = projection.latent(values)
                columns.append(u)
                log_slopes.append(log_slope)
        total = tf.add_n(log_slopes) if log_slopes else tf.zeros(tf.shape(x)[:1], tf.float64)
        return tf.stack(columns, axis=-1), total

    def places(self, x: tf.Tensor) -> tf.Tensor:
        """Where events lie in the box, both of shape ``(n_events, n_observables)``: from -1 to 1 along each axis."""
        return place_between(x, *np.array([observable.limits for observable in self.observables]).T)

    def physical(self, u: tf.Tensor) -> tf.Tensor:
        """Events in physical units from latent coordinates, both of shape ``(n_events, n_observables)``."""
        columns = []
        coordinates = tf.unstack(u, num=len(self.observables), axis=1)
        for observable, projection, values in zip(self.observables, self.projections, coordinates, strict=True):
            columns.append(values + observable.low if projection is None else projection.physical(values))
        return tf.stack(columns, axis=-1)
