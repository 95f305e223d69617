"""EnsembleDensity: the mean of several densities of the same observables, usable as one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from zfit_egmm.density.axes import Axes
from zfit_egmm.density.base import Density, Uniform
from zfit_egmm.density.composed.ensemble_region import EnsembleRegion, by_member
from zfit_egmm.density.state import State


class EnsembleDensity(Density, kind="ensemble"):
    """Mean of densities with equal weights, p(x | theta) = sum_k p_k(x | theta) / K.

    It is normalised as its members are. An evaluation costs as much as all of its members.

    Args:
        members: Densities of any kind, ensembles too; see :func:`zfit_egmm.training.ensemble.train_ensemble`.

    Raises:
        TypeError: If a member is no density.
        ValueError: If there are no members, or they differ in observables or parameters, or their trained ranges
            have nothing in common.
    """

    def __init__(self, members: Sequence[Density]) -> None:
        self.members = tuple(members)
        super().__init__(_common_axes(self.members))

    @property
    def training(self) -> dict[str, Any]:
        """Records of the members' trainings, as ``{"members": [...]}``."""
        return {"members": [member.training for member in self.members]}

    def __repr__(self) -> str:
        return f"EnsembleDensity({len(self.members)} members, {self.members[0]!r})"

    def state(self) -> State:
        """See :meth:`Density.state`."""
        return State(members=self.members)

    @classmethod
    def from_state(cls, axes: Axes, state: State, training: Mapping[str, Any]) -> EnsembleDensity:
        """See :meth:`Density.from_state`."""
        del training
        ensemble = cls(state.members)
        if ensemble.axes != axes:
            raise ValueError(f"the members describe p({ensemble.axes}), not p({axes}) in the ranges of the ensemble")
        return ensemble

    def guide(self) -> Density:
        """The guide of the first member, which is near all of them."""
        return self.members[0].guide()

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

    def to_uniform(self, x: ArrayLike, theta: ArrayLike | None = None, *, seed: int = 0) -> np.ndarray:
        """Probability integral transform of every observable, see :meth:`Density.to_uniform`.

        A member counts with the density that it gives to the observables before.
        """
        cumulatives = np.stack([member.to_uniform(x, theta, seed=seed) for member in self.members])
        logs = np.stack([member.log_factors(x, theta) for member in self.members])
        before = np.cumsum(logs, axis=-1) - logs
        shares = np.exp(before - logsumexp(before, axis=0))
        return np.sum(shares * cumulatives, axis=0)

    def log_factors(self, x: ArrayLike, theta: ArrayLike | None = None) -> np.ndarray:
        """See :meth:`Density.log_factors`."""
        joint = np.cumsum(np.stack([member.log_factors(x, theta) for member in self.members]), axis=-1)
        return np.diff(logsumexp(joint, axis=0) - np.log(len(self.members)), axis=-1, prepend=0.0)

    def _log_prob(self, x: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        values = tf.stack([member._log_prob(x, theta) for member in self.members])
        return tf.reduce_logsumexp(values, axis=0) - np.log(len(self.members))

    def _sample(self, n: Any, theta: tf.Tensor, uniform: Uniform) -> tf.Tensor:
        """Events of members chosen at random; what is left of the number that chose one is again uniform."""
        n_members = len(self.members)
        rows = tf.ensure_shape(uniform((n, len(self.observables))), (None, len(self.observables)))
        scaled = n_members * rows[:, :1]
        number = tf.minimum(tf.floor(scaled), n_members - 1.0)
        rows = tf.concat([scaled - number, rows[:, 1:]], axis=1)

        def draw(member: Density, own: tf.Tensor) -> tf.Tensor:
            point = theta if theta.shape.rank == 1 else tf.gather(theta, own)
            numbers = tf.gather(rows, own)
            # With conditionals, a member asks once for as many numbers as it has events.
            source = (lambda _: numbers) if member.has_conditionals else uniform
            return member._sample(tf.size(own), point, source)

        return by_member(self.members, tf.cast(number[:, 0], tf.int32), draw)

    def _new_region(self, low: Any, high: Any, **options: Any) -> EnsembleRegion:
        return EnsembleRegion([member.region(low, high, **options) for member in self.members])


def _common_axes(members: Sequence[Density]) -> Axes:
    if not members:
        raise ValueError("an ensemble needs at least one density")
    first = members[0]
    for number, member in enumerate(members):
        if not isinstance(member, Density):
            raise TypeError(f"the members of an ensemble are Density objects, got {type(member).__name__}")
        if member.observables != first.observables or member.theta_names != first.theta_names:
            raise ValueError(f"member {number} is {member!r}, member 0 {first!r}: all need the same axes and theta")
    ranges = tuple(
        (max(low for low, _ in pairs), min(high for _, high in pairs))
        for pairs in zip(*(member.theta_range for member in members), strict=True)
    )
    for name, (low, high) in zip(first.theta_names, ranges, strict=True):
        if not low < high:
            raise ValueError(f"the members were trained in ranges of {name!r} that have nothing in common")
    return Axes(first.observables, first.theta_names, ranges)
