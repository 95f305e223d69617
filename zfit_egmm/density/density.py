"""Density: p(x | theta) in physical coordinates, to evaluate, to sample, to save."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from zfit_egmm.density.autoregressive import Autoregressive
from zfit_egmm.density.chunks import map_in_chunks
from zfit_egmm.density.conditioners import Network
from zfit_egmm.density.latent import LatentMap
from zfit_egmm.density.region import TOLERANCE, Integral, Region
from zfit_egmm.density.theta import ThetaScaling
from zfit_egmm.observables import Observable, check_observables
from zfit_egmm.projection import Projection

CHUNK_SIZE = 8192
MOST_REGIONS = 64


class Source(NamedTuple):
    """The file that a density was saved to or loaded from."""

    path: Path
    sha256: str


class Density:
    """Learned density p(x | theta), normalised exactly to one over the box of its observables.

    Objects come from :func:`zfit_egmm.train` or :meth:`Density.load`.

    Args:
        observables: The axes, in their order.
        theta_names: Names of the parameters, possibly none.
        scaling: Map of the parameters to inputs of the networks, with their trained range.
        network: Configuration of the conditioners.
        projections: Map to the latent axis of each continuous observable, ``None`` for discrete ones.
        latent_ranges: Lowest and highest latent coordinate of the training events per observable.
        weights: Weights of the network of each observable, by name.
        training: Plain record of the training: configuration, history, summary.
    """

    def __init__(
        self,
        observables: Sequence[Observable],
        theta_names: Sequence[str],
        scaling: ThetaScaling,
        *,
        network: Network,
        projections: Sequence[Projection | None],
        latent_ranges: Sequence[tuple[float, float]],
        weights: Sequence[Mapping[str, np.ndarray]],
        training: Mapping[str, Any] | None = None,
    ) -> None:
        self._observables = check_observables(observables)
        self._theta_names = tuple(theta_names)
        self.scaling = scaling
        self.latent_map = LatentMap(self._observables, tuple(projections))
        self.autoregressive = Autoregressive(
            self._observables,
            network,
            scaling.n_theta,
            tuple((float(a), float(b)) for a, b in latent_ranges),
            self.latent_map.projections,
            len(scaling.bends),
        )
        # Constants, not variables: a graph does not read them in order, and is traced in less time.
        with tf.init_scope():
            self._weights = [
                {name: tf.constant(value, dtype=tf.float64) for name, value in factor.items()} for factor in weights
            ]
        self.training: dict[str, Any] = dict(training or {})
        self._functions: dict[str, Callable] = {}
        self._regions: dict[tuple, Region] = {}
        self._has_warned = False
        self.source: Source | None = None

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The axes, in the order of the columns of ``x``."""
        return self._observables

    @property
    def theta_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the columns of ``theta``."""
        return self._theta_names

    @property
    def theta_range(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest trained value of each parameter."""
        return self.scaling.trained_range

    @property
    def n_weights(self) -> int:
        """Number of trained weights."""
        return sum(int(np.prod(value.shape)) for factor in self._weights for value in factor.values())

    @property
    def projections(self) -> tuple[Projection | None, ...]:
        """Map to the latent axis of each observable, ``None`` for discrete ones."""
        return self.latent_map.projections

    @property
    def weights(self) -> list[dict[str, np.ndarray]]:
        """Copy of the weights of each observable's network, by name."""
        return [{name: value.numpy().astype(np.float32) for name, value in factor.items()} for factor in self._weights]

    def __repr__(self) -> str:
        names = ", ".join(observable.name for observable in self.observables)
        given = f" | {', '.join(self.theta_names)}" if self.theta_names else ""
        return f"Density({names}{given})"

    def __getstate__(self) -> dict[str, Any]:
        return {
            "observables": self._observables,
            "theta_names": self._theta_names,
            "scaling": self.scaling,
            "network": self.autoregressive.network,
            "projections": self.projections,
            "latent_ranges": self.autoregressive.latent_ranges,
            "weights": self.weights,
            "training": self.training,
            "source": self.source,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        source = state.pop("source")
        self.__init__(**state)  # type: ignore[misc]
        self.source = source

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
        events = self._checked_x(x)
        point = self._checked_theta(theta, len(events))
        return self._function("log_prob", self.log_prob_tensor, point.ndim)(events, point).numpy()

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
        uniform = np.random.default_rng(seed).random((int(n), len(self.observables)))
        return self._function("sample", self.sample_tensor, point.ndim)(uniform, point).numpy()

    def log_prob_tensor(self, x: tf.Tensor, theta: tf.Tensor, *, chunk_size: int = CHUNK_SIZE) -> tf.Tensor:
        """Log density inside TensorFlow graphs, differentiable with respect to ``theta`` and ``x``.

        Args:
            x: Float64, shape ``(n_events, n_observables)``.
            theta: Float64, shape ``(n_theta,)`` or ``(n_events, n_theta)``.
            chunk_size: Most events in memory at a time.

        Returns:
            Float64, shape ``(n_events,)``, nats; ``-inf`` outside the box.
        """
        return map_in_chunks(self._log_prob, x, theta, chunk_size)

    def sample_tensor(self, uniform: tf.Tensor, theta: tf.Tensor, *, chunk_size: int = CHUNK_SIZE) -> tf.Tensor:
        """Events from uniform numbers, inside TensorFlow graphs.

        Args:
            uniform: In [0, 1), float64, shape ``(n_events, n_observables)``.
            theta: Float64, shape ``(n_theta,)`` or ``(n_events, n_theta)``.
            chunk_size: Most events in memory at a time.

        Returns:
            Float64, shape ``(n_events, n_observables)``, physical units.
        """
        return map_in_chunks(self._sample, uniform, theta, chunk_size)

    def latent(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Latent coordinates of events inside the box, and the log of the Jacobian: shapes (n, d) and (n,)."""
        return self.latent_map.latent(x)

    def box_mass(
        self, low: ArrayLike, high: ArrayLike, theta: ArrayLike | None = None, *, tolerance: float = TOLERANCE
    ) -> Integral:
        """Probability of a part of the box, with its numerical error.

        Exact if no limit but those of the first observable cuts anything off. A cell of a discrete
        observable that lies partly inside counts in proportion.

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

        Exact for the first observables in the order of the density.

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
        own = [observable.name for observable in self.observables]
        names = list(names)
        if not names or len(set(names)) < len(names) or not set(names) <= set(own):
            raise ValueError(f"names must be some of {own}, each once, got {names}")
        events = np.asarray(x, dtype=float)
        if events.ndim != 2 or events.shape[1] != len(names):
            raise ValueError(f"expected x of shape (n_events, {len(names)}), got {events.shape}")
        given = tuple(sorted(own.index(name) for name in names))
        events = events[:, [names.index(own[axis]) for axis in given]]
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
    ) -> Region:
        """Part of the box, for use inside TensorFlow graphs; see :class:`zfit_egmm.density.region.Region`.

        The same limits give the same object, so that its number of points is searched only once.
        """
        region = Region(self, low, high, given=given, tolerance=tolerance, n_points=n_points)
        if region.is_symbolic:
            return region
        key = (region.low.tobytes(), region.high.tobytes(), given, tolerance, n_points)
        if key not in self._regions:
            if len(self._regions) >= MOST_REGIONS:
                self._regions.pop(next(iter(self._regions)))
            self._regions[key] = region
        return self._regions[key]

    @property
    def factor_weights(self) -> Sequence[Mapping[str, tf.Tensor]]:
        """Weights of the network of each observable, as TensorFlow sees them."""
        return self._weights

    def inputs(self, theta: tf.Tensor) -> tf.Tensor:
        """Inputs of the networks, shape ``(n_events or 1, n_theta)``, from parameters."""
        return self.scaling(theta if theta.shape.rank == 2 else theta[tf.newaxis, :])

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save to one file, by convention with the suffix ``.egmm``. See :mod:`zfit_egmm.saved_model`."""
        from zfit_egmm.saved_model import save

        return save(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Density:
        """Load from a file. See :mod:`zfit_egmm.saved_model`."""
        from zfit_egmm.saved_model import load

        return load(path)

    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        u, log_jacobian, is_inside, safe = self.latent_map.checked_latent(x)
        parts = self.autoregressive.log_densities(self._weights, self.inputs(theta), u, self.latent_map.places(safe))
        return tf.where(is_inside, tf.add_n(parts) + log_jacobian, tf.constant(-np.inf, tf.float64))

    def _sample(self, uniform: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        # Networks in single precision are twice as fast and change log densities by 6e-7, which no sample can show.
        weights = [{name: tf.cast(value, tf.float32) for name, value in factor.items()} for factor in self._weights]
        return self.latent_map.physical(self.autoregressive.sample(weights, self.inputs(theta), uniform))

    def _function(self, name: str, method: Callable, theta_rank: int) -> Callable:
        key = f"{name}_{theta_rank}"
        if key not in self._functions:
            n_theta = len(self.theta_names)
            signature = [
                tf.TensorSpec((None, len(self.observables)), tf.float64),
                tf.TensorSpec((n_theta,) if theta_rank == 1 else (None, n_theta), tf.float64),
            ]
            traced = tf.function(method, input_signature=signature, autograph=False).get_concrete_function()
            self._functions[key] = lambda *arrays: traced(*(tf.constant(array, tf.float64) for array in arrays))
        return self._functions[key]

    def traced(self, key: str, function: Callable) -> Callable:
        """A graph of a function of float64 tensors, for any number of rows, kept under a key to trace it only once."""

        def call(*tensors: tf.Tensor) -> tf.Tensor:
            if key not in self._functions:
                # The last axis of a matrix is fixed, as is the length of a vector.
                shapes = [(None, t.shape[1]) if t.shape.rank == 2 else t.shape for t in tensors]
                signature = [tf.TensorSpec(shape, tf.float64) for shape in shapes]
                self._functions[key] = tf.function(function, input_signature=signature, autograph=False)
            return self._functions[key](*tensors)

        return call

    def _checked_x(self, x: np.ndarray) -> np.ndarray:
        events = np.asarray(x, dtype=float)
        if events.ndim != 2 or events.shape[1] != len(self.observables):
            names = ", ".join(observable.name for observable in self.observables)
            raise ValueError(
                f"expected x of shape (n_events, {len(self.observables)}) with columns ({names}), got {events.shape}"
            )
        is_nan = np.isnan(events).any(axis=1)
        if is_nan.any():
            raise ValueError(f"{is_nan.sum()} of {len(events)} events hold NaN, the first at row {np.argmax(is_nan)}")
        return events

    def _checked_theta(self, theta: ArrayLike | None, n_events: int) -> np.ndarray:
        names = self.theta_names
        if theta is None:
            if names:
                raise ValueError(f"this density depends on {', '.join(names)}; pass theta with {len(names)} value(s)")
            return np.empty(0)
        point = np.atleast_1d(np.asarray(theta, dtype=float))
        if point.shape not in ((len(names),), (n_events, len(names))):
            raise ValueError(
                f"expected theta of shape ({len(names)},) or ({n_events}, {len(names)}) for "
                f"{list(names)}, got {point.shape}"
            )
        if not np.isfinite(point).all():
            raise ValueError("theta holds NaN or infinite values")
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
