"""The networks of all observables: conditional densities on the latent axes, as they are trained and evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import tensorflow as tf

from zfit_egmm.coordinates.latent_map import place_between
from zfit_egmm.coordinates.projection import Projection
from zfit_egmm.coordinates.theta import INPUT_LIMIT
from zfit_egmm.density.factors import log_probability
from zfit_egmm.families.egmm import mixture
from zfit_egmm.families.egmm.networks import (
    MixtureConditioner,
    Network,
    PaperNetwork,
    SmoothLayers,
    SmoothNetwork,
    Weights,
    categorical_conditioner,
    mixture_conditioner,
)
from zfit_egmm.observables import LATENT_LIMIT, Observable

MAX_ONE_HOT = 32
"""Categories up to which later networks see one column for each of them."""


@dataclass(frozen=True)
class Autoregressive:
    """The networks of all observables, and the features they see of each other.

    Latent coordinates have shape ``(n_events, n_observables)``, float64: ``[-5, 5]`` for continuous
    observables, the category number for discrete ones.

    Args:
        observables: The axes.
        network: Configuration of the conditioners.
        n_theta: Number of parameters.
        latent_ranges: Lowest and highest latent coordinate of the training events per observable.
        projections: Map to the latent axis of each continuous observable, ``None`` for discrete ones.
        n_bends: Number of inputs for kinks in theta, which follow the parameters.
    """

    observables: tuple[Observable, ...]
    network: Network
    n_theta: int
    latent_ranges: tuple[tuple[float, float], ...]
    projections: tuple[Projection | None, ...] = field(compare=False)
    n_bends: int = 0

    @cached_property
    def conditioners(self) -> tuple[MixtureConditioner | SmoothLayers, ...]:
        """Network of each observable: of mixtures, or of logits of its categories."""
        result: list[MixtureConditioner | SmoothLayers] = []
        n_features = 0
        for observable, latent_range in zip(self.observables, self.latent_ranges, strict=True):
            sizes = self.network, self.n_theta, n_features
            if observable.is_discrete:
                result.append(categorical_conditioner(*sizes, observable.n_categories, self.n_bends))
            else:
                result.append(mixture_conditioner(*sizes, latent_range, self.n_bends))
            n_features += self._n_features(observable)
        return tuple(result)

    def _is_one_hot(self, observable: Observable) -> bool:
        is_paper = isinstance(self.network, PaperNetwork)
        return observable.is_discrete and not is_paper and observable.n_categories <= MAX_ONE_HOT

    def _n_features(self, observable: Observable) -> int:
        if self._is_one_hot(observable):
            return observable.n_categories
        return 2 if self._has_physical_inputs(observable) else 1

    def _has_physical_inputs(self, observable: Observable) -> bool:
        return isinstance(self.network, SmoothNetwork) and self.network.physical_inputs and not observable.is_discrete

    def features(self, number: int, u: tf.Tensor, place: tf.Tensor | None = None) -> tf.Tensor:
        """What later factors see of one observable.

        Args:
            number: Its position.
            u: Its latent coordinates, shape ``(n_events,)``.
            place: Where they lie between the limits in physical units, from -1 to 1; else it is computed from ``u``.

        Returns:
            Shape ``(n_events, k)``, in the type of ``u``: the latent and the physical coordinate scaled to
            ``[-2, 2]``, or one column per category.
        """
        observable = self.observables[number]
        if self._is_one_hot(observable):
            return tf.one_hot(tf.cast(u, tf.int32), observable.n_categories, dtype=u.dtype)
        if observable.is_discrete:
            middle = max((observable.n_categories - 1) / 2, 0.5)
            scaled = (u - middle) / middle
        else:
            scaled = u / LATENT_LIMIT
        if not self._has_physical_inputs(observable):
            return tf.expand_dims(INPUT_LIMIT * scaled, 1)
        if place is None:
            projection = self.projections[number]
            assert projection is not None
            place = place_between(projection.physical(u), *observable.limits)
        return INPUT_LIMIT * tf.stack([scaled, place], axis=1)

    def initial_weights(self, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
        """Initial weights of every network."""
        return [conditioner.initial_weights(rng) for conditioner in self.conditioners]

    def log_densities(
        self,
        weights: Sequence[Weights],
        theta: tf.Tensor,
        u: tf.Tensor,
        places: tf.Tensor,
        *,
        only: Sequence[int] | None = None,
    ) -> list[tf.Tensor]:
        """Log density of each factor.

        Args:
            weights: Weights of every factor; their type is that of the networks' computation.
            theta: Scaled parameters and bends, shape ``(n_events or 1, n_theta + n_bends)``.
            u: Latent coordinates, float64 (float32 in training), shape ``(n_events, n_observables)``.
            places: Where the events lie in the box, from -1 to 1 along each axis, in the type and shape of ``u``.
            only: Positions of the factors wanted. Default: all.

        Returns:
            One tensor of shape ``(n_events,)`` per wanted factor, in the type of ``u``, nats.

        Source:
            Eq. 7 of Menary and Price, "Learning to discover".
        """
        wanted = range(len(self.observables)) if only is None else only
        coordinates = tf.unstack(u, num=len(self.observables), axis=1)
        along = tf.unstack(places, num=len(self.observables), axis=1)
        columns = [self.features(n, coordinates[n], along[n]) for n in range(max(wanted, default=0))]
        return [
            self._log_density(
                number, weights[number], theta, joined(columns[:number], tf.shape(u)[0], u.dtype), coordinates[number]
            )
            for number in wanted
        ]

    def _log_density(
        self, number: int, weights: Weights, theta: tf.Tensor, features: tf.Tensor, u: tf.Tensor
    ) -> tf.Tensor:
        outputs = self.conditioners[number](weights, theta, features)
        if self.observables[number].is_discrete:
            return log_probability(tf.cast(u, tf.int32), outputs, u.dtype)
        return mixture.log_density(u, outputs, -LATENT_LIMIT, LATENT_LIMIT)


def joined(columns: Sequence[tf.Tensor], n_events: tf.Tensor | int = 1, dtype: tf.DType = tf.float64) -> tf.Tensor:
    """Features side by side, shape ``(n_events, n_features)``."""
    if not columns:
        return tf.zeros((n_events, 0), dtype)
    return tf.concat(list(columns), axis=-1)
