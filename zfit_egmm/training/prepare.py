"""From an EventSample to the arrays that the optimiser reads: checks, split, projection, scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zfit_egmm.density.conditioners import PaperNetwork
from zfit_egmm.density.latent import LatentMap
from zfit_egmm.density.theta import ThetaScaling
from zfit_egmm.events.sample import EventSample
from zfit_egmm.events.weight_checks import check_weights
from zfit_egmm.observables import LATENT_LIMIT
from zfit_egmm.projection import Projection, build_projection
from zfit_egmm.training.config import MANY_EVENTS, TrainingConfig, validation_fraction
from zfit_egmm.training.decay import marginal_losses
from zfit_egmm.training.theta_inputs import theta_inputs

FEWEST_EVENTS = 100
FEWEST_PER_COLUMN = 25
CHUNK = 200_000


@dataclass(frozen=True)
class Batchable:
    """Events as the optimiser wants them.

    Args:
        u: Latent coordinates, float32, shape ``(n_events, n_observables)``.
        places: Where the events lie in the box, from -1 to 1 along each axis, float32, same shape.
        theta: Network inputs, float32, shape ``(n_events, n_inputs)``.
        weights: Event weights with mean one, float32, shape ``(n_events,)``.
    """

    u: np.ndarray
    places: np.ndarray
    theta: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.u)

    def part(self, rows: np.ndarray | slice) -> Batchable:
        """Some of the events."""
        return Batchable(self.u[rows], self.places[rows], self.theta[rows], self.weights[rows])


@dataclass(frozen=True)
class Prepared:
    """Training and validation events with the maps derived from the training events.

    Args:
        training: Events to train with.
        validation: Events held out.
        projections: Maps to the latent axes.
        scaling: Map of theta to the inputs of the networks.
        latent_ranges: Lowest and highest latent coordinate of every observable.
        marginal_losses: See :func:`zfit_egmm.training.decay.marginal_losses`.
        effective_events: Training events, fewer for unequal weights and for rows that are copies of an event.
        rows_per_event: Rows that hold the same event, on average.
    """

    training: Batchable
    validation: Batchable | None
    projections: tuple[Projection | None, ...]
    scaling: ThetaScaling
    latent_ranges: tuple[tuple[float, float], ...]
    marginal_losses: np.ndarray
    effective_events: float
    rows_per_event: float


def check_sample(sample: EventSample) -> None:
    """Check that a density can be learned from the sample at all.

    Raises:
        TypeError: If it is not an :class:`EventSample`.
        ValueError: If there are too few events, a parameter takes a single value, or weights sum to a negative
            number somewhere.
    """
    if not isinstance(sample, EventSample):
        raise TypeError(
            f"train needs an EventSample, got {type(sample).__name__}; build one with EventSample(observables, x) or "
            "EventSample.from_root(path, tree, observables)"
        )
    for name, (low, high) in zip(sample.theta_names, sample.theta_range, strict=True):
        if low == high:
            raise ValueError(
                f"theta {name!r} takes the single value {low:g} in all {sample.n_events} events, so the dependence on "
                "it cannot be learned; add samples at other values, or leave it out of theta"
            )
    columns = len(sample.observables) + len(sample.theta_names)
    needed = max(FEWEST_EVENTS, FEWEST_PER_COLUMN * columns)
    if sample.effective_events < needed:
        raise ValueError(
            f"the sample has {sample.n_events} events with the statistical power of {sample.effective_events:.0f} "
            f"unweighted ones; {len(sample.observables)} observables and {len(sample.theta_names)} parameters need at "
            f"least {needed}. Add events, or drop observables"
        )
    check_weights(sample)


def prepare(sample: EventSample, config: TrainingConfig) -> Prepared:
    """Split, project and scale the events."""
    held = validation_fraction(config, sample.n_events)
    if held > 0:
        training, validation = sample.split(1 - held, held, seed=config.seed)
    else:
        training, validation = sample, None
    projections = tuple(
        None
        if observable.is_discrete
        else build_projection(observable, *_merged(training, observable.name), kind=config.projection)
        for observable in sample.observables
    )
    if isinstance(config.network, PaperNetwork):
        scaling = ThetaScaling.from_values(sample.theta)
    else:
        scaling = theta_inputs(sample.theta, has_bends=training.effective_events >= MANY_EVENTS)
    train_arrays = _batchable(training, projections, scaling)
    return Prepared(
        training=train_arrays,
        validation=None if validation is None else _batchable(validation, projections, scaling),
        projections=projections,
        scaling=scaling,
        latent_ranges=tuple(_latent_range(column) for column in train_arrays.u.T),
        marginal_losses=marginal_losses(sample.observables, train_arrays.u, train_arrays.weights),
        effective_events=training.effective_events,
        rows_per_event=sample.n_events / sample.n_independent,
    )


def _merged(sample: EventSample, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of an observable with their weights; copies of an event as one, so that they count as one."""
    column = sample.column(name)
    if not sample.has_copies:
        return column, sample.weights
    values, index = np.unique(column, return_inverse=True)
    return values, np.bincount(index.reshape(-1), sample.weights)


def _batchable(sample: EventSample, projections: Sequence[Projection | None], scaling: ThetaScaling) -> Batchable:
    latent_map = LatentMap(sample.observables, tuple(projections))
    latent, places, inputs = [], [], []
    for start in range(0, sample.n_events, CHUNK):
        part = slice(start, start + CHUNK)
        u, _ = latent_map.latent(tf.constant(sample.x[part]))
        latent.append(u.numpy().astype(np.float32))
        places.append(latent_map.places(sample.x[part]).astype(np.float32))
        inputs.append(scaling(tf.constant(sample.theta[part])).numpy().astype(np.float32))
    weights = (sample.weights / sample.weights.mean()).astype(np.float32)
    return Batchable(np.concatenate(latent), np.concatenate(places), np.concatenate(inputs), weights)


def _latent_range(column: np.ndarray) -> tuple[float, float]:
    low, high = float(column.min()), float(column.max())
    if high - low < 0.01 * LATENT_LIMIT:
        # All events nearly at one place: leave the components room to be placed around it.
        low, high = max(low - 0.5, -LATENT_LIMIT), min(high + 0.5, LATENT_LIMIT)
    return low, high
