"""Which rows are the same event: events with weights for several theta appear once for each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfit_egmm.events.arrays import unmasked
from zfit_egmm.events.repeated_values import chance_of_agreement, fewest_in_spike
from zfit_egmm.observables import Observable

TIMES_CHANCE = 3.0
"""So many times as many equal pairs of rows as chance gives are copies of events."""

LARGEST_EXACT_FLOAT = 2.0**53


def as_event_id(event_id: np.ndarray, n_events: int) -> np.ndarray:
    """Check the numbers that a user gives to events.

    Args:
        event_id: Integers, shape ``(n_events,)``, or ``(n_events, k)`` if k numbers together name an event.
        n_events: Number of rows.

    Returns:
        Shape ``(n_events, k)``, 64-bit integers.

    Raises:
        ValueError: If the shape is wrong or the numbers are no integers.
    """
    ids = np.asarray(unmasked(event_id, "event_id"))
    if ids.ndim == 1:
        ids = ids[:, np.newaxis]
    if ids.ndim != 2 or len(ids) != n_events or not ids.shape[1]:
        raise ValueError(
            f"expected event_id of shape ({n_events},), one number per row, or ({n_events}, k), got shape "
            f"{np.shape(event_id)}"
        )
    if ids.dtype.kind == "f":
        bad = ~((np.abs(ids) < LARGEST_EXACT_FLOAT) & (ids == np.round(ids)))
        if bad.any():
            row = int(np.argmax(bad.any(axis=1)))
            raise ValueError(f"event_id must hold integers, got {ids[row][bad[row]][0]:g} in row {row}")
    elif ids.dtype.kind not in "iu":
        raise ValueError(
            f"event_id must hold integers, got the type {ids.dtype}; number texts with "
            "np.unique(texts, return_inverse=True)[1]"
        )
    return ids.astype(np.int64)


def numbers_from_ids(ids: np.ndarray) -> np.ndarray:
    """Number of the event of every row, from 0, shape ``(n_rows,)``; those of the rows if all events are different.

    Args:
        ids: Integers, shape ``(n_rows, k)``.
    """
    different, numbers = np.unique(ids[:, 0] if ids.shape[1] == 1 else _keys(ids), return_inverse=True)
    return np.arange(len(ids)) if len(different) == len(ids) else numbers.reshape(-1)


def numbers_from_rows(observables: Sequence[Observable], x: np.ndarray) -> np.ndarray:
    """Number of the event of every row, if rows with equal observables are the same event.

    They are if there are several times as many of them as two different events agree by chance in the observable that
    is stored most finely. Rows that agree in default values and in discrete observables alone are different events.

    Args:
        observables: The axes.
        x: Shape ``(n_rows, n_observables)``.

    Returns:
        Numbers from 0, shape ``(n_rows,)``; all different if no rows are copies.
    """
    rows = np.arange(len(x))
    continuous = [column for observable, column in zip(observables, x.T, strict=True) if not observable.is_discrete]
    _, first, numbers, counts = np.unique(_keys(x), return_index=True, return_inverse=True, return_counts=True)
    if not continuous or len(counts) == len(x):
        return rows
    numbers = numbers.reshape(-1)
    told, chance = np.zeros(len(x), dtype=bool), 1.0
    for column in continuous:
        values, index, times = np.unique(column, return_inverse=True, return_counts=True)
        fewest = fewest_in_spike(times)
        told |= (times < fewest)[index.reshape(-1)]
        chance = min(chance, chance_of_agreement(values, np.minimum(times, fewest)))
    copies = counts[told[first]].astype(float)
    n_told = copies.sum()
    if not np.sum(copies * (copies - 1)) > TIMES_CHANCE * chance * n_told * (n_told - 1):
        return rows
    return numbers_from_ids(np.where(told, numbers, len(x) + rows)[:, np.newaxis])


def with_patterns(numbers: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Mark of every event: the same for events whose rows have the same marks.

    Args:
        numbers: Number of the event of every row, shape ``(n_rows,)``.
        marks: Integers, same shape.

    Returns:
        Integers from 0, shape ``(n_events,)``.
    """
    mixed = _mixed(marks.astype(np.uint64) + np.uint64(1))
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(numbers.max() + 1))
    return np.unique(np.add.reduceat(mixed[order], starts), return_inverse=True)[1].reshape(-1)


def _keys(values: np.ndarray) -> np.ndarray:
    """One 64-bit number per row that is different for different rows."""
    keys = np.zeros(len(values), dtype=np.uint64)
    for column in values.T:
        # Adding zero makes a negative zero a positive one.
        keys = _mixed(keys + np.ascontiguousarray(column + 0).view(np.uint64))
    return keys


def _mixed(bits: np.ndarray) -> np.ndarray:
    """An invertible map of 64-bit numbers whose values look random."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
