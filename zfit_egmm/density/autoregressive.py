"""Product of conditional factors, p(u | theta) = prod_i p_i(u_i | u_<i, theta), on the latent axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from zfit_egmm.density import categorical, mixture
from zfit_egmm.density.conditioners import (
    INPUT_LIMIT,
    MixtureConditioner,
    Network,
    PaperNetwork,
    SmoothLayers,
    SmoothNetwork,
    Weights,
    categorical_conditioner,
    mixture_conditioner,
)
from zfit_egmm.density.latent import place_between
from zfit_egmm.density.mixture import MixtureParameters
from zfit_egmm.observables import LATENT_LIMIT, Observable
from zfit_egmm.projection import Projection

MAX_ONE_HOT = 32

Part = tuple[tf.Tensor, tf.Tensor]
"""Ends of a range of latent coordinates, scalars."""


@dataclass(frozen=True)
class MixtureFactor:
    """Conditional density of a continuous observable on ``[-5, 5]``; its state is a mixture per event."""

    conditioner: MixtureConditioner
    limits = (-LATENT_LIMIT, LATENT_LIMIT)

    def log_density(self, state: MixtureParameters, u: tf.Tensor) -> tf.Tensor:
        """Log density of each event's coordinate, in the type of ``u``, shape ``(n_events,)``."""
        return mixture.log_density(u, state, *self.limits)

    def sample(self, state: MixtureParameters, uniform: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """Coordinate of each event in a part of the interval, from uniform numbers of shape ``(n_events,)``."""
        return mixture.sample(uniform, state, *self.limits, part=part)

    def mass(self, state: MixtureParameters, part: Part) -> tf.Tensor:
        """Probability of a part of the interval, shape ``(n_events or 1,)``."""
        return mixture.mass(*part, state, *self.limits)

    def spread(
        self, state: MixtureParameters, fraction: tf.Tensor, part: Part | None, allowed: np.ndarray | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Coordinates that fill a part of the interval, smooth in everything, and the weights to give them."""
        del allowed
        start, stop = self.limits if part is None else part
        u = mixture.quantile(fraction, start, stop, state, *self.limits)
        return u, tf.ones_like(u) if part is None else self.mass(state, part)


@dataclass(frozen=True)
class CategoricalFactor:
    """Conditional probability of a discrete observable, counted from zero; its state is a logit per category."""

    conditioner: SmoothLayers

    def log_density(self, state: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
        """Log probability of each event's category, in the type of ``u``, shape ``(n_events,)``."""
        return categorical.log_density(tf.cast(u, tf.int32), state, u.dtype)

    def sample(self, state: tf.Tensor, uniform: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """Category of each event as a float64, from uniform numbers of shape ``(n_events,)``."""
        return tf.cast(categorical.sample(uniform, self._probabilities(state, part)), tf.float64)

    def mass(self, state: tf.Tensor, part: Part) -> tf.Tensor:
        """Probability of a range of category numbers, shape ``(n_events or 1,)``."""
        return tf.reduce_sum(self._probabilities(state, part), axis=-1)

    def spread(
        self, state: tf.Tensor, fraction: tf.Tensor, part: Part | None, allowed: np.ndarray | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Categories that come equally often, whatever their probability, and the weights to give them."""
        probabilities = self._probabilities(state, part)
        choice = tf.range(probabilities.shape[-1]) if allowed is None else tf.constant(allowed, tf.int32)
        number = tf.cast(fraction * tf.cast(tf.size(choice), tf.float64), tf.int32)
        category = tf.gather(choice, tf.minimum(number, tf.size(choice) - 1))
        chosen = tf.one_hot(category, probabilities.shape[-1], dtype=tf.float64)
        weight = tf.cast(tf.size(choice), tf.float64) * tf.reduce_sum(chosen * probabilities, axis=-1)
        return tf.cast(category, tf.float64), weight

    @staticmethod
    def _probabilities(state: tf.Tensor, part: Part | None) -> tf.Tensor:
        if part is None:
            return tf.nn.softmax(tf.cast(state, tf.float64), axis=-1)
        return categorical.cell_probabilities(*part, state)


Factor = MixtureFactor | CategoricalFactor


@dataclass(frozen=True)
class Autoregressive:
    """The conditional factors of all observables, and the features they see of each other.

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

    @property
    def factors(self) -> tuple[Factor, ...]:
        """One factor per observable."""
        result: list[Factor] = []
        n_features = 0
        for observable, latent_range in zip(self.observables, self.latent_ranges, strict=True):
            if observable.is_discrete:
                layers = categorical_conditioner(
                    self.network, self.n_theta, n_features, observable.n_categories, self.n_bends
                )
                result.append(CategoricalFactor(layers))
            else:
                conditioner = mixture_conditioner(self.network, self.n_theta, n_features, latent_range, self.n_bends)
                result.append(MixtureFactor(conditioner))
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
        """Initial weights of every factor."""
        return [factor.conditioner.initial_weights(rng) for factor in self.factors]

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
        factors = self.factors
        return [
            factors[number].log_density(
                factors[number].conditioner(weights[number], theta, joined(columns[:number], u)), coordinates[number]
            )
            for number in wanted
        ]

    def sample(self, weights: Sequence[Weights], theta: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        """Latent coordinates from uniform numbers.

        Args:
            weights: Weights of every factor.
            theta: Scaled parameters and bends, shape ``(n_events or 1, n_theta + n_bends)``.
            uniform: Uniform in [0, 1), float64, shape ``(n_events, n_observables)``.

        Returns:
            Float64, shape ``(n_events, n_observables)``.
        """
        columns: list[tf.Tensor] = []
        drawn: list[tf.Tensor] = []
        for number, factor in enumerate(self.factors):
            state = factor.conditioner(weights[number], theta, joined(columns, uniform))
            u = factor.sample(state, uniform[:, number])
            drawn.append(u)
            columns.append(self.features(number, u))
        return tf.stack(drawn, axis=-1)


def joined(columns: Sequence[tf.Tensor], like: tf.Tensor) -> tf.Tensor:
    """Features side by side, shape ``(n_events, n_features)``; without any, as many rows as ``like`` has."""
    if not columns:
        return tf.zeros((tf.shape(like)[0], 0), like.dtype)
    return tf.concat(list(columns), axis=-1)
