"""MixtureModel: the mixture family as the training loop sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zfit_egmm.coordinates.latent_map import LatentMap
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.events.sample import EventSample
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.decay import decay_factors, marginal_losses
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.families.egmm.kinks import KinkSearch, kinks_in_words, named_kinks, used_kinks
from zfit_egmm.families.egmm.networks import PaperNetwork
from zfit_egmm.families.egmm.theta_inputs import theta_inputs
from zfit_egmm.observables import LATENT_LIMIT
from zfit_egmm.training.config import MANY_EVENTS, TrainingConfig
from zfit_egmm.training.model import Batch, Model, Start, Weights
from zfit_egmm.training.split import split_sample

if TYPE_CHECKING:
    from zfit_egmm.families.egmm.settings import MixtureSettings
    from zfit_egmm.training.progress import TrainingProgress
    from zfit_egmm.training.steps import Optimiser

CHUNK = 200_000
"""Events that are projected at a time."""

KINK_RATE = 3.0
"""The single layer of the first factor learns a kink slowly; where there is none, this rate makes it drift in theta."""


class MixtureModel(Model):
    """One part per observable; batches hold latent coordinates, places in the box, and inputs made of theta.

    Args:
        sample: The events.
        config: Configuration of the training.
        settings: What the mixture may choose.
    """

    sparse = frozenset({"bends"})

    def __init__(self, sample: EventSample, config: TrainingConfig, settings: MixtureSettings) -> None:
        split = split_sample(sample, config)
        training, validation = split.training, split.validation
        self.sample, self.config = sample, config
        self.projections = tuple(
            None
            if observable.is_discrete
            else build_projection(observable, *training.merged(observable.name), kind=settings.projection)
            for observable in sample.observables
        )
        if isinstance(settings.network, PaperNetwork):
            self.scaling = ThetaScaling.from_values(sample.theta)
        else:
            self.scaling = theta_inputs(sample.theta, has_bends=training.effective_events >= MANY_EVENTS)
        events = self._batch(training)
        held = None if validation is None else self._batch(validation)
        super().__init__([one.name for one in sample.observables], events, held, split)
        u = events.arrays[0]
        self.latent_ranges = tuple(_latent_range(column) for column in u.T)
        self.marginal_losses = marginal_losses(sample.observables, u, events.weights)
        self.n_sparse = len(self.scaling.bends)
        network = settings.resolved(training.effective_events).network
        assert network is not None
        self.autoregressive = Autoregressive(
            sample.observables, network, self.scaling.n_theta, self.latent_ranges, self.projections, self.n_sparse
        )

    def initial_weights(self, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
        """See :meth:`Model.initial_weights`."""
        return self.autoregressive.initial_weights(rng)

    def losses(
        self, weights: Sequence[Weights], arrays: Sequence[tf.Tensor], only: Sequence[int] | None = None
    ) -> list[tf.Tensor]:
        """Minus the log densities on the latent axes, see :meth:`Model.losses`."""
        u, places, theta = arrays
        return [-part for part in self.autoregressive.log_densities(weights, theta, u, places, only=only)]

    def decay_factors(self, weight_decay: float, best_losses: np.ndarray) -> np.ndarray:
        """See :meth:`Model.decay_factors`."""
        return decay_factors(weight_decay, self.marginal_losses, best_losses)

    def search(
        self, config: TrainingConfig, optimiser: Optimiser, progress: TrainingProgress, *, is_resumed: bool
    ) -> Start:
        """Kinks in theta, see :class:`KinkSearch`."""
        start = self.plain_start()
        if not is_resumed:
            start = replace(start, thresholds=KinkSearch(self, config, optimiser, progress).thresholds())
        if np.isfinite(start.thresholds[0]).any() and config.learning_rate is None:
            start.rate_scales[0] = KINK_RATE
        return start

    def tidied(self, weights: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """The same without the bends that no factor uses."""
        if not self.scaling.bends:
            return super().tidied(weights)
        used = self._used_bends(weights)
        if not used.any():
            return [{name: value for name, value in part.items() if name != "bends"} for part in weights]
        return [{**part, "bends": part["bends"][used]} for part in weights]

    def remarks(self, weights: Sequence[Mapping[str, np.ndarray]]) -> tuple[dict[str, Any], str]:
        """The kinks that the density follows."""
        kinks = {}
        if self.scaling.bends:
            kinks = named_kinks(self.scaling, used_kinks(weights), self.sample.theta_names)
        if not kinks:
            return {"kinks": {}}, ""
        return {"kinks": kinks}, f"The events show kinks, which the density follows: {kinks_in_words(kinks)}."

    def density(self, weights: Sequence[Mapping[str, np.ndarray]], training: Mapping[str, Any]) -> MixtureDensity:
        """See :meth:`Model.density`."""
        scaling = self.scaling
        if scaling.bends:
            used = self._used_bends(weights)
            scaling = replace(
                scaling, bends=tuple(bend for bend, is_used in zip(scaling.bends, used, strict=True) if is_used)
            )
        return MixtureDensity(
            self.sample.observables,
            self.sample.theta_names,
            scaling,
            network=self.autoregressive.network,
            projections=self.projections,
            latent_ranges=self.latent_ranges,
            weights=self.tidied(weights),
            training=training,
        )

    @staticmethod
    def _used_bends(weights: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        return np.any([part["bends"].any(axis=1) for part in weights], axis=0)

    def _batch(self, sample: EventSample) -> Batch:
        latent_map = LatentMap(sample.observables, self.projections)
        latent, places, inputs = [], [], []
        for start in range(0, sample.n_events, CHUNK):
            part = slice(start, start + CHUNK)
            u, _ = latent_map.latent(tf.constant(sample.x[part]))
            latent.append(u.numpy().astype(np.float32))
            places.append(latent_map.places(sample.x[part]).astype(np.float32))
            inputs.append(self.scaling(tf.constant(sample.theta[part])).numpy().astype(np.float32))
        weights = (sample.weights / sample.weights.mean()).astype(np.float32)
        return Batch(tuple(np.concatenate(parts) for parts in (latent, places, inputs)), weights)


def _latent_range(column: np.ndarray) -> tuple[float, float]:
    low, high = float(column.min()), float(column.max())
    if high - low < 0.01 * LATENT_LIMIT:
        # All events nearly at one place: leave the components room to be placed around it.
        low, high = max(low - 0.5, -LATENT_LIMIT), min(high + 0.5, LATENT_LIMIT)
    return low, high
