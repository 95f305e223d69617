"""Density: p(x | theta) in physical coordinates, to evaluate, to sample, to integrate, to save."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from zfit_egmm import registry
from zfit_egmm.density import conditionals as walks
from zfit_egmm.density import files
from zfit_egmm.density.acceptance import accepted_by_row
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.chunks import map_in_chunks
from zfit_egmm.density.conditionals import Conditionals
from zfit_egmm.density.integral import Integral
from zfit_egmm.density.kind import Kind
from zfit_egmm.density.region import TOLERANCE, Region
from zfit_egmm.density.state import State
from zfit_egmm.observables import Observable

CHUNK_SIZE = 8192
MOST_REGIONS = 64

PLACE_STREAM = 40_127
"""Keeps places in the cells of discrete observables apart from events that were drawn with the same small seed."""

Uniform = Callable[[Any], tf.Tensor]
"""Source of random numbers: a function of a shape that returns float64 numbers, uniform in [0, 1)."""


class Density(Kind):
    """Density p(x | theta), normalised to one over the box of its observables.

    Objects come from :func:`zfit_egmm.train`, :func:`zfit_egmm.load_density`, or are composed of others.

    A new kind is a subclass with ``_log_prob``, ``state`` and ``from_state``, and a name for files:
    ``class Mine(Density, kind="mine")``. Everything else follows. If it also has ``conditionals``, parts of its box,
    marginals and samples take few evaluations; else a ``guide`` near it does.

    Args:
        axes: Observables and parameters.
        training: Plain record of the training: configuration, history, summary.
    """

    def __init__(self, axes: Axes, training: Mapping[str, Any] | None = None) -> None:
        super().__init__(axes, training)
        self._graphs: dict[str, Callable] = {}
        self._regions: dict[tuple, Any] = {}
        self._has_warned = False
        self.source: files.Source | None = None

    def _sample(self, n: Any, theta: tf.Tensor, uniform: Uniform) -> tf.Tensor:
        if self.has_conditionals:
            return self._drawn(uniform((n, len(self.observables))), theta)
        if theta.shape.rank == 1:
            return self.region(None, None).sample(n, theta, uniform)
        return accepted_by_row(self, theta, uniform)

    def to_uniform(self, x: ArrayLike, theta: ArrayLike | None = None, *, seed: int = 0) -> np.ndarray:
        """Map of events to numbers that are uniform in [0, 1] and independent if the density is right.

        Default: the probability integral transform of every conditional factor, ``P(X_i < x_i | x_<i, theta)``.
        Values of a discrete observable take random places in their cells.

        Args:
            x: Events inside the box, shape ``(n_events, n_observables)``, physical units.
            theta: Parameters, shape ``(n_theta,)`` or ``(n_events, n_theta)``.
            seed: Seed of the places inside cells.

        Returns:
            Shape ``(n_events, n_observables)``.

        Raises:
            TypeError: If this kind has no such map.
            ValueError: If shapes do not match or events lie outside the box.
        """
        return self._along_factors("cumulatives", walks.cumulatives, x, theta, seed)

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The axes, in the order of the columns of ``x``."""
        return self.axes.observables

    @property
    def theta_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the columns of ``theta``."""
        return self.axes.theta_names

    @property
    def theta_range(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest trained value of each parameter."""
        return self.axes.theta_range

    @property
    def training(self) -> dict[str, Any]:
        """Configuration, history and summary of the training, as plain data."""
        return self._training

    @property
    def n_weights(self) -> int:
        """Number of trained weights."""
        state = self.state()
        return sum(array.size for array in state.arrays.values()) + sum(one.n_weights for one in state.members)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides on the values of the density, in hexadecimal."""
        return files.fingerprint(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.axes})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.kind, self.axes, self.state(), self._training, self.source)

    def log_prob(self, x: Any, theta: Any = None) -> Any:
        """Log density of events.

        Args:
            x: Events in physical units, shape ``(n_events, n_observables)``.
            theta: Parameters, shape ``(n_theta,)`` for all events or ``(n_events, n_theta)``.

        Returns:
            Natural logarithm of the density per product of the observables' units, float64, shape
            ``(n_events,)``; ``-inf`` outside the box. A NumPy array, or a differentiable tensor if
            ``x`` or ``theta`` is one.

        Raises:
            ValueError: If shapes do not match or values are NaN, or theta is missing.
        """
        if tf.is_tensor(x) or tf.is_tensor(theta):
            return self._log_prob_of_tensors(x, theta)
        events = self.axes.checked_x(x)
        point = self._checked_theta(theta, len(events))
        traced = self.traced(f"log_prob {point.ndim}", self.log_prob_tensor)
        return traced(tf.constant(events), tf.constant(point)).numpy()

    def _log_prob_of_tensors(self, x: Any, theta: Any) -> tf.Tensor:
        events = tf.convert_to_tensor(x, tf.float64)
        point = tf.convert_to_tensor(np.empty(0) if theta is None else theta, tf.float64)
        point = point[tf.newaxis] if point.shape.rank == 0 else point
        if events.shape.rank != 2 or events.shape[1] != len(self.observables):
            raise ValueError(f"expected x of shape (n_events, {len(self.observables)}), got {events.shape}")
        if point.shape.rank not in (1, 2) or point.shape[-1] != len(self.theta_names):
            raise ValueError(
                f"expected theta with {len(self.theta_names)} columns {self.theta_names}, got {point.shape}"
            )
        return self.log_prob_tensor(events, point)

    def log_prob_tensor(self, x: tf.Tensor, theta: tf.Tensor, *, chunk_size: int = CHUNK_SIZE) -> tf.Tensor:
        """Log density inside TensorFlow graphs, differentiable with respect to ``theta`` and ``x``.

        Args:
            x: Float64, shape ``(n_events, n_observables)``.
            theta: Float64, shape ``(n_theta,)`` or ``(n_events, n_theta)``.
            chunk_size: Most events in memory at a time.

        Returns:
            Float64, shape ``(n_events,)``, nats; ``-inf`` outside the box.
        """

        def kernel(rows: tf.Tensor, point: tf.Tensor) -> tf.Tensor:
            is_inside, safe = self.axes.inside(rows)
            return tf.where(is_inside, self._log_prob(safe, point), tf.constant(-np.inf, tf.float64))

        return map_in_chunks(kernel, x, theta, chunk_size)

    def sample(self, n: int, theta: ArrayLike | None = None, *, seed: int | None = None) -> np.ndarray:
        """Draw events.

        Args:
            n: Number of events.
            theta: Parameters, shape ``(n_theta,)`` for all events or ``(n, n_theta)``.
            seed: Seed; the same seed gives the same events. Default: a fresh one.

        Returns:
            Events in physical units, float64, shape ``(n, n_observables)``.

        Raises:
            ValueError: If ``n`` is negative or theta does not match.
        """
        if int(n) != n or n < 0:
            raise ValueError(f"the number of events must be a non-negative integer, got {n!r}")
        point = self._checked_theta(theta, int(n))
        rng = np.random.default_rng(seed)

        def uniform(shape: Any) -> tf.Tensor:
            return tf.constant(rng.random(tuple(int(length) for length in shape)))

        return self._sample(int(n), tf.constant(point, tf.float64), uniform).numpy()

    def sample_tensor(self, n: tf.Tensor, theta: tf.Tensor, uniform: Uniform) -> tf.Tensor:
        """Events inside TensorFlow graphs.

        Args:
            n: Number of events.
            theta: Float64, shape ``(n_theta,)`` or ``(n, n_theta)``.
            uniform: Function of a shape that returns uniform random numbers in [0, 1).

        Returns:
            Float64, shape ``(n, n_observables)``, physical units.
        """
        return self._sample(n, theta, uniform)

    def box_mass(
        self, low: ArrayLike, high: ArrayLike, theta: ArrayLike | None = None, *, tolerance: float = TOLERANCE
    ) -> Integral:
        """Probability of a part of the box, with its numerical error.

        With conditionals it is exact if no limit but those of the first observable cuts anything off. A cell of a
        discrete observable that lies partly inside counts in proportion.

        Args:
            low: Lower limits, shape ``(n_observables,)``, physical units.
            high: Upper limits, shape ``(n_observables,)``; what leaves the box is clipped.
            theta: Parameters, shape ``(n_theta,)``.
            tolerance: Relative error to aim for; it decides on the number of points.

        Returns:
            Value, error and number of points.

        Raises:
            ValueError: If the limits or theta do not match the density.

        Warns:
            UserWarning: If the tolerance was not reached.

        Source:
            Geweke, Hajivassiliou and Keane; the points are scrambled Sobol sequences.
        """
        region = self.region(np.asarray(low, dtype=float), np.asarray(high, dtype=float), tolerance=tolerance)
        return region.integral(self._checked_theta(theta, -1))

    def marginal_prob(
        self, names: Sequence[str], x: ArrayLike, theta: ArrayLike | None = None, *, tolerance: float = 1e-3
    ) -> Integral:
        """Density of some of the observables, the others integrated out.

        With conditionals it is exact for the first observables in the order of the density.

        Args:
            names: Names of the observables to keep.
            x: Their values, shape ``(n_events, len(names))``, columns in the order of ``names``.
            theta: Parameters, shape ``(n_theta,)``.
            tolerance: Relative error to aim for; it decides on the number of points.

        Returns:
            Density per product of the units of the kept observables, shape ``(n_events,)``, with its error.

        Raises:
            ValueError: If a name is unknown or appears twice, or shapes do not match.
        """
        positions = self.axes.positions(names)
        events = np.asarray(x, dtype=float)
        if events.ndim != 2 or events.shape[1] != len(positions):
            raise ValueError(f"expected x of shape (n_events, {len(positions)}), got {events.shape}")
        given = tuple(sorted(positions))
        events = events[:, [positions.index(axis) for axis in given]]
        region = self.region(None, None, given=given, tolerance=tolerance)
        return region.integral(self._checked_theta(theta, -1), events)

    def region(
        self,
        low: Any,
        high: Any,
        *,
        given: tuple[int, ...] = (),
        tolerance: float = TOLERANCE,
        n_points: int | None = None,
    ) -> Any:
        """Part of the box, for use inside TensorFlow graphs; see :class:`zfit_egmm.density.region.Region`.

        The same limits give the same object, so that its number of points is searched only once.
        """
        if tf.is_tensor(low) or tf.is_tensor(high):
            return self._new_region(low, high, given=given, tolerance=tolerance, n_points=n_points)
        ends = tuple(None if end is None else np.asarray(end, dtype=float).tobytes() for end in (low, high))
        key = (*ends, given, tolerance, n_points)
        if key not in self._regions:
            if len(self._regions) >= MOST_REGIONS:
                self._regions.pop(next(iter(self._regions)))
            self._regions[key] = self._new_region(low, high, given=given, tolerance=tolerance, n_points=n_points)
        return self._regions[key]

    def _new_region(self, low: Any, high: Any, **options: Any) -> Any:
        return Region(self, low, high, **options)

    def log_factors(self, x: ArrayLike, theta: ArrayLike | None = None) -> np.ndarray:
        """Log density of each observable given those before it, shape ``(n_events, n_observables)``, physical units.

        Raises:
            TypeError: If this kind has no conditionals.
            ValueError: If shapes do not match or events lie outside the box.
        """
        return self._along_factors("log_factors", lambda one, x, _: walks.log_factors(one, x), x, theta, 0)

    def _along_factors(self, name: str, function: Callable, x: Any, theta: Any, seed: int) -> np.ndarray:
        """A function of conditionals, events, and events with discrete values spread over their cells."""
        events = self.axes.checked_inside(x)
        point = self.axes.checked_theta(theta, len(events))
        n_axes = events.shape[1]
        is_discrete = np.array([observable.is_discrete for observable in self.observables])
        uniform = np.random.default_rng([PLACE_STREAM, seed]).random(events.shape)
        places = events + np.where(is_discrete, uniform - 0.5, 0.0)

        def kernel(rows: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
            return function(self.conditionals(theta), rows[:, :n_axes], rows[:, n_axes:])

        def chunked(rows: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
            return map_in_chunks(kernel, rows, theta, CHUNK_SIZE)

        rows = tf.constant(np.concatenate([events, places], axis=1))
        return self.traced(f"{name} {point.ndim}", chunked)(rows, tf.constant(point, tf.float64)).numpy()

    def _drawn(self, rows: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        """Events from uniform numbers, shape ``(n_events, n_observables)``, by the conditionals."""

        def kernel(uniform: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
            return walks.draw(self._sampling_conditionals(theta), uniform)

        def chunked(uniform: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
            return map_in_chunks(kernel, uniform, theta, CHUNK_SIZE)

        rows = tf.ensure_shape(rows, (None, len(self.observables)))
        if tf.executing_eagerly():
            return self.traced(f"sample {theta.shape.rank}", chunked)(rows, theta)
        return chunked(rows, theta)

    def _sampling_conditionals(self, theta: tf.Tensor) -> Conditionals:
        """Conditionals to draw events with; they may compute in single precision."""
        return self.conditionals(theta)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save to one file, by convention with the suffix ``.egmm``. See :mod:`zfit_egmm.density.files`."""
        return files.save(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Density:
        """Load from a file, whatever kind it holds. See :mod:`zfit_egmm.density.files`."""
        found = files.load_density(path)
        if not isinstance(found, cls):
            raise TypeError(f"{path} holds {found!r}, no {cls.__name__}; use Density.load")
        return found

    def traced(self, key: str, function: Callable) -> Callable:
        """A graph of a function of float64 tensors, for any number of rows, kept under a key to trace it only once."""

        def call(*tensors: tf.Tensor) -> tf.Tensor:
            if key not in self._graphs:
                # The last axis of a matrix is fixed, as is the length of a vector.
                shapes = [(None, t.shape[1]) if t.shape.rank == 2 else t.shape for t in tensors]
                signature = [tf.TensorSpec(shape, tf.float64) for shape in shapes]
                graph = tf.function(function, input_signature=signature, autograph=False)
                self._graphs[key] = graph.get_concrete_function()
            return self._graphs[key](*tensors)

        return call

    def _checked_theta(self, theta: ArrayLike | None, n_events: int) -> np.ndarray:
        point = self.axes.checked_theta(theta, n_events)
        self._warn_outside(np.atleast_2d(point))
        return point

    def _warn_outside(self, theta: np.ndarray) -> None:
        if self._has_warned or not theta.size:
            return
        for name, column, (low, high) in zip(self.theta_names, theta.T, self.theta_range, strict=True):
            margin = 1e-9 * (high - low)
            if column.min() < low - margin or column.max() > high + margin:
                self._has_warned = True
                warnings.warn(
                    f"{name} in [{column.min():g}, {column.max():g}] leaves the trained range [{low:g}, {high:g}] of "
                    f"{self}; the density is an extrapolation there (said once)",
                    stacklevel=4,
                )


def _rebuilt(kind: str, axes: Axes, state: State, training: dict[str, Any], source: files.Source | None) -> Density:
    density = registry.find("DENSITIES", kind).from_state(axes, state, training)
    density.source = source
    return density
