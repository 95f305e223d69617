"""Split: events to train on, and events held out to choose the best weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zfit_egmm.events.sample import EventSample

if TYPE_CHECKING:
    from zfit_egmm.training.config import TrainingConfig

VALIDATION_FRACTION, MOST_VALIDATION_EVENTS = 0.15, 1e5


@dataclass(frozen=True)
class Split:
    """A sample in two parts, which share no simulated event.

    Args:
        training: Events to train on.
        validation: Events held out, if any.
        rows_per_event: Rows that hold the same simulated event, on average.
    """

    training: EventSample
    validation: EventSample | None
    rows_per_event: float


def split_sample(sample: EventSample, config: TrainingConfig) -> Split:
    """Split a sample at random as its configuration says."""
    held = validation_fraction(config, sample.n_events)
    rows_per_event = sample.n_events / sample.n_independent
    if held <= 0:
        return Split(sample, None, rows_per_event)
    training, validation = sample.split(1 - held, held, seed=config.seed)
    return Split(training, validation, rows_per_event)


def validation_fraction(config: TrainingConfig, n_events: int) -> float:
    """Share of the events to hold out."""
    if config.validation_fraction is not None:
        return config.validation_fraction
    return min(VALIDATION_FRACTION, MOST_VALIDATION_EVENTS / n_events)
