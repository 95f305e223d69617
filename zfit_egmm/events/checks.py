"""What is doubtful about a sample before a density is learned from it."""

from __future__ import annotations

import numpy as np

from zfit_egmm.events.dependence_checks import dependence_doubts
from zfit_egmm.events.sample import EventSample
from zfit_egmm.events.theta_steps import step_doubts
from zfit_egmm.events.value_checks import value_doubts


def sample_doubts(sample: EventSample) -> tuple[str, ...]:
    """What may make a density wrong that is learned from these events, one sentence or two each; usually nothing.

    Copies of events, integers, rounded values and spikes in continuous observables, constant columns and columns that
    follow from others, and steps in theta that are wider than the structures.
    """
    return (*_copies(sample), *value_doubts(sample), *dependence_doubts(sample), *step_doubts(sample))


def _copies(sample: EventSample) -> list[str]:
    if not sample.has_copies:
        return []
    counted = f"{sample.n_events} rows are {sample.n_independent} simulated events"
    if sample.event_id is None:
        return [f"The {counted}, as their equal observables show; each counts once."]
    order = np.argsort(sample.event_numbers, kind="stable")
    is_copy = np.diff(sample.event_numbers[order]) == 0
    differs = is_copy & np.any(np.diff(sample.x[order], axis=0) != 0, axis=1)
    if differs.any():
        hint = "if numbers start anew in each file, name a second branch that tells the files apart"
        different = f"{differs.sum()} rows differ in their observables from others of the same id"
        return [f"The {counted} by their event ids, though {different}: {hint}."]
    return [f"The {counted} by their event ids; each counts once."]
