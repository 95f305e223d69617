"""Region: a part of a density's box, with its probability, its marginals and events inside it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zfit_egmm.density.acceptance import accepted
from zfit_egmm.density.chunks import map_in_chunks
from zfit_egmm.density.integral import Integral
from zfit_egmm.density.points import Points
from zfit_egmm.density.walk import Walk

if TYPE_CHECKING:
    from zfit_egmm.density.base import Density, Uniform

TOLERANCE = 1e-4
SAME_LIMIT = 1e-9
FEWEST_POINTS, MOST_POINTS = 256, 2**17
POINTS_OF_TENSORS = 1024
CHUNK_SIZE, MOST_PAIRS = 8192, 2**16
N_TRIAL_THETA, N_TRIAL_EVENTS = 4, 16
NEGLIGIBLE = 1e-12


class Region:
    """Part of the box of a density, for all parameters theta.

    Args:
        density: The density.
        low: Lower limits in physical units, shape ``(n_observables,)``; arrays, or tensors inside graphs.
        high: Upper limits.
        given: Positions of observables that are not integrated over, increasing.
        tolerance: Relative error that decides on the number of points. It is met at several values
            of theta in the trained range, or a warning says what was reached. Does not apply to limits that
            are tensors: they get a fixed number of points.
        n_points: Number of points instead.

    Raises:
        ValueError: If the limits are empty or leave the box; the message says where.
    """

    def __init__(
        self,
        density: Density,
        low: Any,
        high: Any,
        *,
        given: tuple[int, ...] = (),
        tolerance: float = TOLERANCE,
        n_points: int | None = None,
    ) -> None:
        self.density, self.given, self.tolerance = density, tuple(given), tolerance
        self.is_symbolic = tf.is_tensor(low) or tf.is_tensor(high)
        self._n_points = POINTS_OF_TENSORS if self.is_symbolic and n_points is None else n_points
        cut: tuple[bool, ...] = (True,) * len(density.observables)
        cells: tuple[tuple[int, ...] | None, ...] = ()
        if self.is_symbolic:
            self.low, self.high = low, high
        else:
            self.low, self.high = self._checked(low, high)
            cut, cells = self._cuts(), self._cells()
        cut = tuple(is_cut and axis not in self.given for axis, is_cut in enumerate(cut))
        self.guide = density.guide()
        self.walk = Walk(density.observables, cut, self.given, cells, is_complete=not self._is_own_guide)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is cut off and nothing is given."""
        return self.walk.is_everything

    @property
    def _is_trivial(self) -> bool:
        return self.is_everything and self.density.is_normalised

    @property
    def _is_own_guide(self) -> bool:
        return self.guide is self.density

    @cached_property
    def points(self) -> Points:
        """The points of the integration, as many as the tolerance needs."""
        if self._n_points is not None or not self.walk.sampled:
            return self.walk.points(self._n_points or 1)
        # A first look may be inside a graph: the search for the number of points is not part of it.
        with tf.init_scope():
            return self._enough_points()

    def mass(self, theta: tf.Tensor) -> tf.Tensor:
        """Probability of the region, differentiable with respect to theta and to limits that are tensors.

        Args:
            theta: Float64, shape ``(n_theta,)``.

        Returns:
            Float64 scalar.
        """
        if self._is_trivial:
            return tf.ones((), tf.float64)
        weights = self._evaluated("mass", self._chunked)(tf.constant(self.points.positions), self._extended(theta))
        return tf.tensordot(weights, tf.constant(self.points.weights), 1)

    def marginal(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Density of the given observables, integrated over the region in the others.

        Args:
            x: Values of the given observables, float64, shape ``(n_events, len(given))``, physical units.
            theta: Float64, shape ``(n_theta,)``.

        Returns:
            Float64, shape ``(n_events,)``: per product of the units of the given observables, zero outside
            of their ranges.
        """
        points = self.points
        positions, weights = tf.constant(points.positions), tf.constant(points.weights)

        def integrated(rows: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
            return tf.linalg.matvec(self._of_events(rows, extended, positions), weights)

        return map_in_chunks(integrated, x, self._extended(theta), max(1, MOST_PAIRS // len(points)))

    def sample(self, n: tf.Tensor, theta: tf.Tensor, uniform: Uniform) -> tf.Tensor:
        """Events inside the region.

        Proposals come from the conditional distributions inside the limits, and are accepted in proportion to
        their weights: exact, up to the largest weight that was ever met.

        Args:
            n: Number of events, an integer or a tensor.
            theta: Float64, shape ``(n_theta,)``.
            uniform: Function of a shape that returns uniform random numbers in [0, 1).

        Returns:
            Float64, shape ``(n, n_observables)``, physical units.
        """
        n_axes = len(self.density.observables)
        n = tf.cast(n, tf.int32)
        extended = self._extended(theta)
        if self._is_own_guide and not any(self.walk.cut[1:]):
            # Only the first axis is cut, if any: all weights are equal.
            return self._proposals(uniform((n, n_axes)), extended)[:, :n_axes]
        return accepted(n, n_axes, lambda size: self._proposals(uniform((size, n_axes)), extended), uniform)

    def integral(self, theta: np.ndarray, x: np.ndarray | None = None, points: Points | None = None) -> Integral:
        """Probability, or marginal density of events, with the numerical error; outside of graphs."""
        points = self.points if points is None else points
        if self._is_trivial:
            return Integral(np.ones(()), np.zeros(()), 0)
        value, error = points.estimate(self._values(points, theta, x))
        if points.kind == "gauss":
            half = self.walk.points(len(points) // 2)
            error = np.abs(value - half.estimate(self._values(half, theta, x))[0])
        return Integral(value, error, len(points))

    def _values(self, points: Points, theta: np.ndarray, x: np.ndarray | None) -> np.ndarray:
        positions, extended = tf.constant(points.positions), self._extended(tf.constant(theta, tf.float64))
        if x is None:
            return self._evaluated("mass", self._chunked)(positions, extended).numpy()
        rows = max(1, MOST_PAIRS // len(points))
        marginal = self._evaluated("marginal", self._of_events)
        parts = [
            marginal(tf.constant(x[start : start + rows], tf.float64), extended, positions).numpy()
            for start in range(0, len(x), rows)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(points)))

    def _chunked(self, positions: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
        return map_in_chunks(self._of_points, positions, extended, CHUNK_SIZE)

    # The limits travel with theta in one vector, so that evaluation in chunks knows their gradients too.

    def _extended(self, theta: tf.Tensor) -> tf.Tensor:
        low, high = (tf.convert_to_tensor(end, tf.float64) for end in (self.low, self.high))
        return tf.concat([tf.cast(theta, tf.float64), low, high], axis=0)

    def _unpacked(self, extended: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Parameters, and the limits of the axes, clipped to the box."""
        n_axes = len(self.density.observables)
        limits = tf.reshape(extended[-2 * n_axes :], (2, n_axes))
        return extended[: -2 * n_axes], tf.clip_by_value(limits, *self.density.axes.box)

    def _of_points(self, positions: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
        return self._walked(positions, extended, None)[:, 0]

    def _of_events(self, rows: tf.Tensor, extended: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        low, high = self.density.axes.box[:, list(self.given)]
        is_inside = tf.reduce_all((rows >= low) & (rows <= high), axis=-1)
        safe = tf.where(is_inside[:, tf.newaxis], rows, tf.constant(0.5 * (low + high)))
        weights = self._walked(positions, extended, safe)
        return tf.where(is_inside[:, tf.newaxis], weights, tf.zeros_like(weights))

    def _walked(self, positions: tf.Tensor, extended: tf.Tensor, values: tf.Tensor | None) -> tf.Tensor:
        """Weight of each point, shape ``(n_events, n_points)``, or ``(n_points, 1)`` without events."""
        theta, limits = self._unpacked(extended)
        weight, columns, n_points = self.walk.walk(self.guide.conditionals(theta), positions, limits, values)
        if not self._is_own_guide:
            weight *= self._ratio(tf.stack(columns, axis=-1), theta)
        return tf.reshape(weight, (-1, 1) if values is None else (-1, n_points))

    def _ratio(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """The density over its guide."""
        return tf.exp(self.density.log_prob_tensor(x, theta) - self.guide.log_prob_tensor(x, theta))

    def _proposals(self, uniform: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
        """Events and, as last column, their weights."""

        def propose(rows: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
            theta, limits = self._unpacked(extended)
            x, weight = self.walk.proposals(self.guide.conditionals(theta), rows, limits)
            if not self._is_own_guide:
                weight *= self._ratio(x, theta)
            return tf.concat([x, weight[:, tf.newaxis]], axis=-1)

        def all_proposals(uniform: tf.Tensor, extended: tf.Tensor) -> tf.Tensor:
            return map_in_chunks(propose, uniform, extended, CHUNK_SIZE)

        uniform = tf.ensure_shape(uniform, (None, len(self.density.observables)))
        return self._evaluated("proposals", all_proposals)(uniform, extended)

    def _evaluated(self, name: str, function: Callable) -> Callable:
        """A function of this region; outside of graphs as a graph, shared by all regions that cut the same axes."""
        if not tf.executing_eagerly():
            return function
        return self.density.traced(f"{name} {self.walk.cut} {self.walk.given} {self.walk.cells}", function)

    def _checked(self, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
        limits = self.density.axes.box.T
        margin = SAME_LIMIT * (limits[:, 1] - limits[:, 0])

        def checked(name: str, given: Any, default: np.ndarray) -> np.ndarray:
            end = np.array(default if given is None else given, dtype=float)
            if end.shape != default.shape or np.isnan(end).any():
                raise ValueError(f"the {name} limits need one number per observable ({len(default)}), got {end}")
            end = np.clip(end, limits[:, 0], limits[:, 1])
            return np.where(np.abs(end - default) <= margin, default, end)

        ends = checked("lower", low, limits[:, 0]), checked("upper", high, limits[:, 1])
        for observable, a, b in zip(self.density.observables, *ends, strict=True):
            if not a < b:
                raise ValueError(
                    f"the range of {observable.name!r} contains nothing of its box [{observable.limits[0]:g}, "
                    f"{observable.limits[1]:g}]: lower limit {a:g}, upper limit {b:g} after clipping"
                )
        return ends[0], ends[1]

    def _cuts(self) -> tuple[bool, ...]:
        return tuple(((self.low > self.density.axes.box[0]) | (self.high < self.density.axes.box[1])).tolist())

    def _cells(self) -> tuple[tuple[int, ...] | None, ...]:
        cells: list[tuple[int, ...] | None] = []
        for observable, a, b in zip(self.density.observables, self.low, self.high, strict=True):
            if not observable.is_discrete:
                cells.append(None)
                continue
            first = int(np.floor(a - observable.limits[0] + SAME_LIMIT))
            last = int(np.ceil(b - observable.limits[0] - SAME_LIMIT))
            cells.append(tuple(range(first, last)))
        return tuple(cells)

    def _enough_points(self) -> Points:
        """Fewest points, in powers of two, whose error is below the tolerance at several theta.

        They have other scramblings than those of the search, which may stop where its own error is low by chance.
        """
        trials = self._trials()
        n_points = FEWEST_POINTS
        while True:
            points = self.walk.points(n_points, is_trial=True)
            errors = [self._relative_errors(points, *trial) for trial in trials]
            worst = [max(error[k] for error in errors) for k in range(len(errors[0]))]
            if worst[0] <= self.tolerance or points.kind == "exact":
                # Part of the points may do; their values tell already.
                n_halvings = sum(1 for _ in itertools.takewhile(lambda error: error <= self.tolerance, worst[1:]))
                return self.walk.points(len(points) // 2**n_halvings)
            if 2 * len(points) > MOST_POINTS:
                break
            # The error falls about as one over the number of points.
            n_points = min(MOST_POINTS, len(points) * 2 ** int(np.clip(np.log2(worst[0] / self.tolerance), 1, 4)))
        warnings.warn(
            f"an integral over part of the box has a relative error of {worst[0]:.1e} with {len(points)} points, "
            f"more than the tolerance of {self.tolerance:.1e} (said once per region)",
            stacklevel=2,
        )
        return self.walk.points(len(points))

    def _trials(self) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Some theta in the trained range, with events for marginals."""
        rng = np.random.default_rng(0)
        low, high = np.array(self.density.theta_range).reshape(-1, 2).T
        points = [0.5 * (low + high), *(low + (high - low) * rng.random((N_TRIAL_THETA - 1, len(low))))]
        axes = list(self.given)
        return [
            (theta, self.density.sample(N_TRIAL_EVENTS, theta, seed=0)[:, axes] if axes else None)
            for theta in (points if len(low) else points[:1])
        ]

    def _relative_errors(self, points: Points, theta: np.ndarray, x: np.ndarray | None) -> list[float]:
        """Relative error with all points, with half of them, a quarter, and so on."""
        if points.kind == "gauss":
            result = self.integral(theta, x, points)
            found = [(result.value, result.error)]
        else:
            values = self._values(points, theta, x)
            n_halvings = int(np.log2(len(points) // FEWEST_POINTS)) if points.kind == "sobol" else 0
            found = [points.estimate(values, 2**k) for k in range(n_halvings + 1)]
        scale = float(np.mean(found[0][0]))
        return [float(np.mean(error) / scale) if scale > NEGLIGIBLE else 0.0 for _, error in found]
