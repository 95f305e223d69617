"""EnsembleDensity: the mean of several densities of the same observables, usable as one of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from zfit_egmm.density import pit
from zfit_egmm.density.chunks import map_in_chunks
from zfit_egmm.density.density import CHUNK_SIZE, Density, Source
from zfit_egmm.density.ensemble_region import EnsembleRegion, by_member, mean_integral
from zfit_egmm.density.region import TOLERANCE, Integral
from zfit_egmm.observables import Observable


class EnsembleDensity:
    """Mean of densities with equal weights, p(x | theta) = sum_k p_k(x | theta) / K.

    It has the methods of a :class:`~zfit_egmm.density.density.Density` and can stand wherever one does. It is
    normalised exactly, since its members are. An evaluation costs as much as all of its members.

    Args:
        members: The densities; see :func:`zfit_egmm.training.ensemble.train_ensemble`.

    Raises:
        ValueError: If there are no members, or they differ in observables or parameters, or their trained ranges
            have nothing in common.
    """

    def __init__(self, members: Sequence[Density]) -> None:
        self.members = tuple(members)
        self.source: Source | None = None
        if not self.members:
            raise ValueError("an ensemble needs at least one density")
        first = self.members[0]
        for number, member in enumerate(self.members):
            if not isinstance(member, Density):
                raise TypeError(f"the members of an ensemble are Density objects, got {type(member).__name__}")
            if member.observables != first.observables or member.theta_names != first.theta_names:
                raise ValueError(f"member {number} is {member!r}, member 0 {first!r}: all need the same axes and theta")
        for name, (low, high) in zip(self.theta_names, self.theta_range, strict=True):
            if not low < high:
                raise ValueError(f"the members were trained in ranges of {name!r} that have nothing in common")

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The axes, in the order of the columns of ``x``."""
        return self.members[0].observables

    @property
    def theta_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the columns of ``theta``."""
        return self.members[0].theta_names

    @property
    def theta_range(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest value of each parameter that all members were trained with."""
        ranges = zip(*(member.theta_range for member in self.members), strict=True)
        return tuple((max(low for low, _ in pairs), min(high for _, high in pairs)) for pairs in ranges)

    @property
    def n_weights(self) -> int:
        """Number of trained weights of all members."""
        return sum(member.n_weights for member in self.members)

    @property
    def training(self) -> dict[str, Any]:
        """Records of the members' trainings, as ``{"members": [...]}``."""
        return {"members": [member.training for member in self.members]}

    def __repr__(self) -> str:
        return f"EnsembleDensity({len(self.members)} members, {self.members[0]!r})"

    def log_prob(self, x: Any, theta: Any = None) -> Any:
        """Log density of events, see :meth:`Density.log_prob`."""
        values = self.member_log_probs(x, theta)
        if tf.is_tensor(values):
            return _mean_in_logs(values)
        return logsumexp(values, axis=0) - np.log(len(self.members))

    def member_log_probs(self, x: Any, theta: Any = None) -> Any:
        """Log density of events in every member, shape ``(n_members, n_events)``; arguments as in :meth:`log_prob`."""
        values = [member.log_prob(x, theta) for member in self.members]
        return tf.stack(values) if tf.is_tensor(values[0]) else np.stack(values)

    def spread(self, x: ArrayLike, theta: ArrayLike | None = None) -> np.ndarray:
        """Standard deviation of the members' log densities.

        It estimates how far a single training is from the mean over such trainings. With bootstrapped members it also
        is the error of the ensemble, as far as that comes from the limited number of training events: all members
        share these events. It holds nothing of a bias that all members have in common.

        Args:
            x: Events in physical units, shape ``(n_events, n_observables)``.
            theta: Parameters, shape ``(n_theta,)`` for all events or ``(n_events, n_theta)``.

        Returns:
            Nats, shape ``(n_events,)``; NaN outside the box.

        Raises:
            ValueError: If there is a single member, or the arguments do not match.
        """
        if len(self.members) < 2:
            raise ValueError("the spread needs at least two members, this ensemble has one")
        values = np.asarray(self.member_log_probs(np.asarray(x, dtype=float), theta))
        is_inside = np.isfinite(values).all(axis=0)
        return np.where(is_inside, np.where(is_inside, values, 0.0).std(axis=0, ddof=1), np.nan)

    def sample(self, n: int, theta: ArrayLike | None = None, *, seed: int | None = None) -> np.ndarray:
        """Draw events, each from a member chosen at random; see :meth:`Density.sample`."""
        if int(n) != n or n < 0:
            raise ValueError(f"the number of events must be a non-negative integer, got {n!r}")
        point = self.members[0]._checked_theta(theta, int(n))
        uniform = np.random.default_rng(seed).random((int(n), len(self.observables)))
        return self.sample_tensor(tf.constant(uniform), tf.constant(point, tf.float64)).numpy()

    def log_prob_tensor(self, x: tf.Tensor, theta: tf.Tensor, *, chunk_size: int = CHUNK_SIZE) -> tf.Tensor:
        """Log density inside TensorFlow graphs, see :meth:`Density.log_prob_tensor`."""
        values = [member.log_prob_tensor(x, theta, chunk_size=chunk_size) for member in self.members]
        return _mean_in_logs(tf.stack(values))

    def sample_tensor(self, uniform: tf.Tensor, theta: tf.Tensor, *, chunk_size: int = CHUNK_SIZE) -> tf.Tensor:
        """Events from uniform numbers, inside TensorFlow graphs, see :meth:`Density.sample_tensor`.

        The first number of each event chooses the member; what is left of it is again uniform.
        """
        n_members = len(self.members)
        scaled = n_members * uniform[:, :1]
        number = tf.minimum(tf.floor(scaled), n_members - 1.0)
        uniform = tf.concat([scaled - number, uniform[:, 1:]], axis=1)

        def draw(member: Density, rows: tf.Tensor) -> tf.Tensor:
            point = theta if theta.shape.rank == 1 else tf.gather(theta, rows)
            function: Callable = functools.partial(member.sample_tensor, chunk_size=chunk_size)
            if tf.executing_eagerly():
                function = member.traced(f"sample {theta.shape.rank} {chunk_size}", function)
            return function(tf.gather(uniform, rows), point)

        return by_member(self.members, tf.cast(number[:, 0], tf.int32), draw)

    def box_mass(
        self, low: ArrayLike, high: ArrayLike, theta: ArrayLike | None = None, *, tolerance: float = TOLERANCE
    ) -> Integral:
        """Probability of a part of the box, see :meth:`Density.box_mass`."""
        return mean_integral([member.box_mass(low, high, theta, tolerance=tolerance) for member in self.members])

    def marginal_prob(
        self, names: Sequence[str], x: ArrayLike, theta: ArrayLike | None = None, *, tolerance: float = 1e-3
    ) -> Integral:
        """Density of some of the observables, see :meth:`Density.marginal_prob`."""
        return mean_integral([member.marginal_prob(names, x, theta, tolerance=tolerance) for member in self.members])

    def conditional_cdf(self, x: np.ndarray, theta: np.ndarray | None = None, *, seed: int = 0) -> np.ndarray:
        """Probability integral transform of every observable, see :func:`zfit_egmm.density.pit.conditional_cdf`.

        A member counts with the density that it gives to the observables before.
        """
        cdfs = np.stack([pit.conditional_cdf(member, x, theta, seed=seed) for member in self.members])
        point = np.empty(0) if theta is None else np.atleast_1d(np.asarray(theta, dtype=float))
        logs = np.stack([_log_factors(member, np.asarray(x, dtype=float), point) for member in self.members])
        before = np.cumsum(logs, axis=-1) - logs
        shares = np.exp(before - logsumexp(before, axis=0))
        return np.sum(shares * cdfs, axis=0)

    def region(
        self,
        low: Any,
        high: Any,
        *,
        given: tuple[int, ...] = (),
        tolerance: float = TOLERANCE,
        n_points: int | None = None,
    ) -> EnsembleRegion:
        """Part of the box, for use inside TensorFlow graphs, see :meth:`Density.region`."""
        parts = [m.region(low, high, given=given, tolerance=tolerance, n_points=n_points) for m in self.members]
        return EnsembleRegion(parts)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save to one file. See :mod:`zfit_egmm.saved_ensemble`."""
        from zfit_egmm.saved_ensemble import save_ensemble

        return save_ensemble(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> EnsembleDensity:
        """Load from a file. See :mod:`zfit_egmm.saved_ensemble`."""
        from zfit_egmm.saved_ensemble import load_ensemble

        return load_ensemble(path)


def _log_factors(member: Density, x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Log density of each observable given those before, physical units, shape ``(n_events, n_observables)``."""

    def kernel(rows: tf.Tensor, point: tf.Tensor) -> tf.Tensor:
        u, _ = member.latent(rows)
        places = member.latent_map.places(rows)
        logs = member.autoregressive.log_densities(member.factor_weights, member.inputs(point), u, places)
        slopes = [member.latent_map.latent(rows[:, n : n + 1], (n,))[1] for n in range(len(logs))]
        return tf.stack([log + slope for log, slope in zip(logs, slopes, strict=True)], axis=-1)

    def function(rows: tf.Tensor, point: tf.Tensor) -> tf.Tensor:
        return map_in_chunks(kernel, rows, point, CHUNK_SIZE)

    traced = member.traced(f"log factors {theta.ndim}", function)
    return traced(tf.constant(x), tf.constant(theta, tf.float64)).numpy()


def _mean_in_logs(values: tf.Tensor) -> tf.Tensor:
    """Log of the mean of densities given by their logs, shape ``(n_members, n_events)``."""
    return tf.reduce_logsumexp(values, axis=0) - np.log(values.shape[0])


AnyDensity = Density | EnsembleDensity
"""Whatever has the methods of a density."""
