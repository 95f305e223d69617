"""Walk: weights of points in a part of the box, by sequential importance sampling.

Axis by axis, each point of a fixed sequence takes a value inside the part from the conditional distribution, and
its weight is multiplied by the conditional probability of the part (Geweke, Hajivassiliou and Keane). The mean
weight is the probability of the part; it is smooth in theta and in the limits. Observables that are given instead
of integrated multiply their conditional density, which makes marginals.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zfit_egmm.density.conditionals import Conditionals
from zfit_egmm.density.points import Points
from zfit_egmm.observables import Observable


class Walked(NamedTuple):
    """Points after a walk.

    Args:
        weight: Of each point; with events, of each pair of an event and a point, points running faster.
        columns: Values of the axes that were visited, in the same rows.
        n_points: Number of points.
    """

    weight: tf.Tensor
    columns: list[tf.Tensor]
    n_points: tf.Tensor


@dataclass(frozen=True)
class Walk:
    """One pass through the axes of a density, in physical units.

    Args:
        observables: The axes.
        cut: Whether the limits of each axis cut anything off.
        given: Axes whose values are given, increasing; they are not integrated.
        cells: Categories inside the limits of each discrete axis, ``None`` for all and for other axes.
        is_complete: Whether points visit all axes, also those at the end that integrate to one.
    """

    observables: tuple[Observable, ...]
    cut: tuple[bool, ...]
    given: tuple[int, ...] = ()
    cells: tuple[tuple[int, ...] | None, ...] = ()
    is_complete: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether nothing is cut off and nothing is given."""
        return not any(self.cut) and not self.given

    @property
    def last(self) -> int:
        """The last axis that is visited. Minus one if none is."""
        if self.is_complete:
            return len(self.observables) - 1
        return max((axis for axis, is_cut in enumerate(self.cut) if is_cut or axis in self.given), default=-1)

    @property
    def sampled(self) -> tuple[int, ...]:
        """Axes whose values are needed to go on, but not given: those that points are needed for."""
        stop = self.last + 1 if self.is_complete else self.last
        return tuple(axis for axis in range(stop) if axis not in self.given)

    def n_choices(self, axis: int) -> int:
        """Number of categories inside the limits of a discrete axis, zero for others."""
        observable = self.observables[axis]
        if not observable.is_discrete:
            return 0
        allowed = self._allowed(axis)
        return observable.n_categories if allowed is None else len(allowed)

    def walk(
        self, conditionals: Conditionals, points: tf.Tensor, limits: tf.Tensor, values: tf.Tensor | None = None
    ) -> Walked:
        """Weight and place of each point, for each event if values are given.

        Args:
            conditionals: The factors, at one theta.
            points: In (0, 1), float64, shape ``(n_points, len(sampled))``.
            limits: Ends of all axes, float64, shape ``(2, n_observables)``.
            values: Values of the given axes, shape ``(n_events, len(given))``.
        """
        n_points = tf.shape(points)[0]
        weight = tf.ones((n_points,), tf.float64)
        seen: list[Any] = []
        columns: list[tf.Tensor] = []
        is_paired = False
        for axis in range(self.last + 1):
            factor = conditionals.factor(axis, seen)
            if axis in self.given:
                assert values is not None
                if not is_paired:
                    # From here on, one row per pair of an event and a point.
                    tile = _Tile(tf.shape(values)[0])
                    weight, points, columns = tile(weight), tile(points), [tile(one) for one in columns]
                    seen, factor = tf.nest.map_structure(tile, seen), factor.tiled(tile)
                    is_paired = True
                x = tf.repeat(values[:, self.given.index(axis)], n_points)
                weight *= tf.exp(factor.log_density(x))
            else:
                part = (limits[0, axis], limits[1, axis]) if self.cut[axis] else None
                if axis not in self.sampled:
                    assert part is not None
                    weight *= factor.mass(part)
                    break
                fraction = points[:, self.sampled.index(axis)]
                x, mass = factor.spread(fraction, part, self._allowed(axis))
                weight *= mass
            columns.append(x)
            seen.append(conditionals.see(axis, seen, x))
        return Walked(weight, columns, n_points)

    def proposals(
        self, conditionals: Conditionals, uniform: tf.Tensor, limits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Events inside the limits, and the weights that make their distribution that of the density.

        Args:
            conditionals: The factors, at one theta.
            uniform: In [0, 1), float64, shape ``(n_events, n_observables)``.
            limits: Ends of all axes, shape ``(2, n_observables)``.

        Returns:
            Events, shape ``(n_events, n_observables)``, and weights, shape ``(n_events,)``.
        """
        weight = tf.ones_like(uniform[:, 0])
        seen: list[Any] = []
        drawn: list[tf.Tensor] = []
        for axis in range(len(self.observables)):
            factor = conditionals.factor(axis, seen)
            part = (limits[0, axis], limits[1, axis]) if self.cut[axis] else None
            if part is not None:
                weight *= factor.mass(part)
            x = factor.sample(uniform[:, axis], part)
            drawn.append(x)
            seen.append(conditionals.see(axis, seen, x))
        return tf.stack(drawn, axis=-1), weight

    def _allowed(self, axis: int) -> np.ndarray | None:
        cells = self.cells[axis] if self.cells else None
        return None if cells is None else np.array(cells, dtype=np.int32)

    @cached_property
    def point_choices(self) -> tuple[int, ...]:
        """Number of categories of each sampled axis, zero for continuous ones."""
        return tuple(self.n_choices(axis) for axis in self.sampled)

    def points(self, n_points: int, *, is_trial: bool = False) -> Points:
        """Points to integrate the sampled axes with, see :meth:`Points.make`."""
        return Points.make(self.point_choices, n_points, is_trial)


@dataclass(frozen=True)
class _Tile:
    """Repeats all rows of a tensor as a whole; a single row, which stands for any number, stays."""

    times: tf.Tensor

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        if rows.shape[0] == 1:
            return rows
        return tf.tile(rows, tf.concat([[self.times], tf.ones((rows.shape.rank - 1,), tf.int32)], axis=0))
