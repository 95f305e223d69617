"""The conditional distributions of the mixture family, in physical units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from zfit_egmm.coordinates.latent_map import LatentMap, place_between
from zfit_egmm.coordinates.projection import Projection
from zfit_egmm.density.conditionals import Conditionals
from zfit_egmm.density.factors import CategoricalFactor, Factor, Part, category_number
from zfit_egmm.families.egmm import mixture
from zfit_egmm.families.egmm.autoregressive import Autoregressive, joined
from zfit_egmm.families.egmm.mixture import MixtureParameters
from zfit_egmm.families.egmm.networks import Weights
from zfit_egmm.observables import LATENT_LIMIT

ENDS = (-LATENT_LIMIT, LATENT_LIMIT)


@dataclass(frozen=True)
class MixtureFactor(Factor):
    """A mixture on the latent axis of an observable.

    Args:
        parameters: Mixture of each event, or one for all.
        projection: Map to the latent axis.
    """

    parameters: MixtureParameters
    projection: Projection

    def log_density(self, x: tf.Tensor) -> tf.Tensor:
        """See :meth:`Factor.log_density`."""
        u, log_slope = self.projection.latent(x)
        return mixture.log_density(u, self.parameters, *ENDS) + log_slope

    def cumulative(self, x: tf.Tensor) -> tf.Tensor:
        """See :meth:`Factor.cumulative`."""
        return mixture.cumulative(self.projection.latent(x)[0], self.parameters, *ENDS)

    def mass(self, part: Part) -> tf.Tensor:
        """See :meth:`Factor.mass`."""
        return mixture.mass(*self._latent(part), self.parameters, *ENDS)

    def quantile(self, fraction: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """See :meth:`Factor.quantile`."""
        start, stop = ENDS if part is None else self._latent(part)
        return self.projection.physical(mixture.quantile(fraction, start, stop, self.parameters, *ENDS))

    def sample(self, uniform: tf.Tensor, part: Part | None = None) -> tf.Tensor:
        """Like :meth:`quantile`, but faster, and with jumps where another component is drawn."""
        ends = None if part is None else self._latent(part)
        return self.projection.physical(mixture.sample(uniform, self.parameters, *ENDS, part=ends))

    def tiled(self, tile: Callable[[tf.Tensor], tf.Tensor]) -> MixtureFactor:
        """See :meth:`Factor.tiled`."""
        return MixtureFactor(MixtureParameters(*map(tile, self.parameters)), self.projection)

    def _latent(self, part: Part) -> tuple[tf.Tensor, tf.Tensor]:
        ends = tf.stack([tf.convert_to_tensor(end, tf.float64) for end in part])
        low, high = self.projection.knots_x[0], self.projection.knots_x[-1]
        u, _ = self.projection.latent(tf.reshape(tf.clip_by_value(ends, low, high), (-1,)))
        start, stop = tf.unstack(tf.reshape(u, tf.shape(ends)), num=2)
        return start, stop


@dataclass(frozen=True)
class MixtureConditionals(Conditionals):
    """The factors of all observables at given theta.

    Args:
        autoregressive: The networks.
        latent_map: Maps to the latent axes.
        weights: Weights of the networks, in the type to compute with.
        inputs: Inputs made of theta, shape ``(n_events or 1, n_inputs)``.
    """

    autoregressive: Autoregressive
    latent_map: LatentMap
    weights: Sequence[Weights]
    inputs: tf.Tensor

    def factor(self, axis: int, seen: Sequence[Any]) -> Factor:
        """See :meth:`Conditionals.factor`."""
        outputs = self.autoregressive.conditioners[axis](self.weights[axis], self.inputs, joined(seen))
        projection = self.latent_map.projections[axis]
        if projection is None:
            return CategoricalFactor(outputs, self.latent_map.observables[axis].low)
        return MixtureFactor(outputs, projection)

    def see(self, axis: int, seen: Sequence[Any], x: tf.Tensor) -> tf.Tensor:
        """The features that later networks have of an observable."""
        del seen
        observable, projection = self.latent_map.observables[axis], self.latent_map.projections[axis]
        if projection is None:
            return self.autoregressive.features(axis, category_number(x, observable.low, observable.n_categories))
        return self.autoregressive.features(axis, projection.latent(x)[0], place_between(x, *observable.limits))
