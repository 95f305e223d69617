"""split_sample: events to train on, and events held out to choose the best weights."""

from __future__ import annotations

from zfit_egmm.events.sample import EventSample
from zfit_egmm.training.config import TrainingConfig, validation_fraction


def split_sample(sample: EventSample, config: TrainingConfig) -> tuple[EventSample, EventSample | None]:
    """Split a sample at random as its configuration says.

    Returns:
        Training events, and validation events if there are any.
    """
    held = validation_fraction(config, sample.n_events)
    if held <= 0:
        return sample, None
    training, validation = sample.split(1 - held, held, seed=config.seed)
    return training, validation
