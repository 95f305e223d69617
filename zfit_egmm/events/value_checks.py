"""Values that a continuous observable should not have: integers, rounded ones, and spikes such as default values."""

from __future__ import annotations

import numpy as np

from zfit_egmm.events.repeated_values import fewest_in_spike
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import MAX_CATEGORIES, Observable

EVENTS_PER_VALUE = 10
"""Rounding shows in a spectrum if a typical value has so many events."""

MOST_VALUES = 1000
"""Of more values than this, the density between two of them is not seen."""

MOST_SPIKES = 3


def value_doubts(sample: EventSample) -> list[str]:
    """What is doubtful about the values of each continuous observable, in sentences.

    Args:
        sample: The events; copies of an event count once.
    """
    _, first = np.unique(sample.event_numbers, return_index=True)
    found = []
    for observable, column in zip(sample.observables, sample.x[first].T, strict=True):
        if not observable.is_discrete and np.ptp(column) > 0:
            found += _doubts(observable, column)
    return found


def _doubts(observable: Observable, column: np.ndarray) -> list[str]:
    values, counts = np.unique(column, return_counts=True)
    if np.array_equal(values, np.round(values)) and len(values) < len(column):
        return [_integers(observable, values)]
    is_spike = counts >= fewest_in_spike(counts)
    others = counts[~is_spike].astype(float)
    # The number of values if all were equally frequent: rare ones in tails do not count.
    n_typical = others.sum() ** 2 / max(np.sum(others**2), 1.0)
    if n_typical <= MOST_VALUES and others.sum() >= EVENTS_PER_VALUE * n_typical:
        return [_rounded(observable, values, len(column))]
    return [_spikes(observable, values, counts, is_spike)] if is_spike.any() else []


def _integers(observable: Observable, values: np.ndarray) -> str:
    name, (low, high) = observable.name, (values[0], values[-1])
    start = f"The continuous observable {name!r} holds only integers, {len(values)} different ones: "
    if high - low < MAX_CATEGORIES:
        return f'{start}write Observable({name!r}, {low:.0f}, {high:.0f}, kind="discrete").'
    return f"{start}add uniform random numbers between -0.5 and 0.5, to simulation and data alike."


def _rounded(observable: Observable, values: np.ndarray, n_events: int) -> str:
    step = float(np.median(np.diff(values))) if len(values) > 1 else 0.0
    return (
        f"The continuous observable {observable.name!r} takes only {len(values)} different values in {n_events} "
        f"events, {step:.3g} apart, as if it were rounded: use it unrounded, or add uniform random numbers between "
        f"{-step / 2:.3g} and {step / 2:.3g}, to simulation and data alike."
    )


def _spikes(observable: Observable, values: np.ndarray, counts: np.ndarray, is_spike: np.ndarray) -> str:
    name, n_events = observable.name, counts.sum()
    largest = np.flatnonzero(is_spike)[np.argsort(-counts[is_spike], kind="stable")]
    shown = ", ".join(
        f"{counts[k]} events ({100 * counts[k] / n_events:.2g} %) at exactly {values[k]:.10g}"
        for k in largest[:MOST_SPIKES]
    )
    more = f", and {len(largest) - MOST_SPIKES} more such values" if len(largest) > MOST_SPIKES else ""
    value = f"{values[largest[0]]:.10g}"
    return (
        f"The continuous observable {name!r} has {shown}{more}, where a density has none: cut default values and "
        f'clipped events away, for example cut="{name} != {value}", and describe real spikes by a discrete observable.'
    )
