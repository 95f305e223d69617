"""Parts of the box: their probability, marginals, and events inside them, by sequential importance sampling.

Axis by axis, each point of a fixed sequence takes a value inside the part from the conditional distribution, and
its weight is multiplied by the conditional probability of the part (Geweke, Hajivassiliou and Keane). The mean
weight is the probability of the part; it is smooth in theta and in the limits. Observables that are given instead
of integrated multiply their conditional density, which makes marginals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from zfit_egmm.density.autoregressive import Autoregressive, joined
from zfit_egmm.density.conditioners import Weights
from zfit_egmm.density.points import Points


@dataclass(frozen=True)
class Walk:
    """One pass through the axes, in latent coordinates.

    Args:
        autoregressive: The factors.
        cut: Whether the limits of each axis cut anything off.
        given: Axes whose values are given, increasing; they are not integrated.
        cells: Categories inside the limits of each discrete axis, ``None`` for all and for other axes.
    """

    autoregressive: Autoregressive
    cut: tuple[bool, ...]
    given: tuple[int, ...] = ()
    cells: tuple[tuple[int, ...] | None, ...] = ()

    @property
    def last(self) -> int:
        """The last axis that matters; what follows integrates to one. Minus one if none does."""
        return max((axis for axis, is_cut in enumerate(self.cut) if is_cut or axis in self.given), default=-1)

    @property
    def sampled(self) -> tuple[int, ...]:
        """Axes whose values are needed to go on, but not given: those that points are needed for."""
        return tuple(axis for axis in range(self.last) if axis not in self.given)

    def n_choices(self, axis: int) -> int:
        """Number of categories inside the limits of a discrete axis, zero for others."""
        observable = self.autoregressive.observables[axis]
        if not observable.is_discrete:
            return 0
        allowed = self._allowed(axis)
        return observable.n_categories if allowed is None else len(allowed)

    def weights_of_points(
        self,
        weights: Sequence[Weights],
        inputs: tf.Tensor,
        points: tf.Tensor,
        limits: tf.Tensor,
        values: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Weight of each point, for each event if values are given.

        Args:
            weights: Weights of the networks.
            inputs: Scaled parameters, shape ``(1, n_theta)``.
            points: In (0, 1), float64, shape ``(n_points, len(sampled))``.
            limits: Latent ends of all axes, shape ``(2, n_observables)``.
            values: Latent coordinates of the given axes, shape ``(n_events, len(given))``.

        Returns:
            Shape ``(n_events, n_points)``, or ``(n_points,)`` without values.
        """
        n_points, factors = tf.shape(points)[0], self.autoregressive.factors
        weight = tf.ones((n_points,), tf.float64)
        columns: list[tf.Tensor] = []
        is_paired = False
        for axis in range(self.last + 1):
            factor = factors[axis]
            state = factor.conditioner(weights[axis], inputs, joined(columns, weight[:, tf.newaxis]))
            if axis in self.given:
                assert values is not None
                if not is_paired:
                    # From here on, one row per pair of an event and a point, points running faster.
                    state, weight, columns, points = _tiled((state, weight, columns, points), tf.shape(values)[0])
                    is_paired = True
                u = tf.repeat(values[:, self.given.index(axis)], n_points)
                weight *= tf.exp(factor.log_density(state, u))
            else:
                part = (limits[0, axis], limits[1, axis]) if self.cut[axis] else None
                if axis == self.last:
                    assert part is not None
                    weight *= factor.mass(state, part)
                    break
                fraction = points[:, self.sampled.index(axis)]
                u, mass = factor.spread(state, fraction, part, self._allowed(axis))
                weight *= mass
            columns.append(self.autoregressive.features(axis, u))
        return tf.reshape(weight, (-1, n_points)) if is_paired else weight

    def proposals(
        self, weights: Sequence[Weights], inputs: tf.Tensor, uniform: tf.Tensor, limits: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Events inside the limits, and the weights that make their distribution that of the density.

        Args:
            weights: Weights of the networks.
            inputs: Scaled parameters, shape ``(1, n_theta)``.
            uniform: In [0, 1), float64, shape ``(n_events, n_observables)``.
            limits: Latent ends of all axes, shape ``(2, n_observables)``.

        Returns:
            Latent coordinates, shape ``(n_events, n_observables)``, and weights, shape ``(n_events,)``.
        """
        weight = tf.ones_like(uniform[:, 0])
        columns: list[tf.Tensor] = []
        drawn: list[tf.Tensor] = []
        for axis, factor in enumerate(self.autoregressive.factors):
            state = factor.conditioner(weights[axis], inputs, joined(columns, uniform))
            part = (limits[0, axis], limits[1, axis]) if self.cut[axis] else None
            if part is not None:
                weight *= factor.mass(state, part)
            u = factor.sample(state, uniform[:, axis], part)
            drawn.append(u)
            columns.append(self.autoregressive.features(axis, u))
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


def _tiled(structure: Any, times: tf.Tensor) -> Any:
    """All rows of all tensors repeated as a whole; a single row, which stands for any number, stays."""

    def tile(rows: tf.Tensor) -> tf.Tensor:
        if rows.shape[0] == 1:
            return rows
        return tf.tile(rows, tf.concat([[times], tf.ones((rows.shape.rank - 1,), tf.int32)], axis=0))

    return tf.nest.map_structure(tile, structure)
