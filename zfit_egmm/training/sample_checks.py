"""What a training says of its events: doubts before it starts, and a loss that ran away after it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from rich.console import Console

FAR, RAN_AWAY = 20.0, 0.5
"""Nats above the median loss where events are lost, and nats per event that those of negative weight gain there."""


def show_doubts(doubts: Sequence[str], *, progress: bool) -> None:
    """Tell what is doubtful about the events: on the standard error stream with the progress, else as a warning."""
    if progress:
        console = Console(stderr=True)
        for doubt in doubts:
            console.print(f"Doubtful: {doubt}", highlight=False, markup=False, soft_wrap=True)
    elif doubts:
        warnings.warn("Doubtful events. " + " ".join(doubts), UserWarning, stacklevel=3)


def with_doubts(verdict: str, doubts: Sequence[str], runaway: str | None) -> str:
    """A verdict with what is known of the events; of a loss that ran away nothing else is worth saying."""
    if runaway is not None:
        return " ".join([runaway, *doubts])
    return " ".join([verdict, *doubts])


def runaway(losses: np.ndarray, weights: np.ndarray) -> str | None:
    """Whether a loss fell without limit because events of negative weight are where the density was made to vanish.

    Args:
        losses: Loss of each event, all factors together, nats, shape ``(n_events,)``.
        weights: Their weights.

    Returns:
        A sentence, or ``None`` if it did not.
    """
    excess = weights * np.maximum(losses - np.median(losses) - FAR, 0.0)
    gain = -float(excess.sum() / weights.sum())
    if not gain > RAN_AWAY:
        return None
    n_events = int(np.sum(excess < 0))
    return (
        f"The loss ran away: it is lower by {gain:.2g} nats per event because the density vanishes at {n_events} "
        "events of negative weight, which outweigh the positive ones near them. The density is wrong everywhere; "
        "correct the weights, or cut the places away where their sum is negative."
    )


def gap_error(losses: np.ndarray, weights: np.ndarray, rows_per_event: float) -> float:
    """Statistical error of the difference between the losses of two samples of this size, nats per event.

    Args:
        losses: Loss of each event, nats, shape ``(n_events,)``.
        weights: Their weights, of any sign.
        rows_per_event: Rows that hold the same event, on average.
    """
    shares = weights / weights.sum()
    mean = shares @ losses
    return float(np.sqrt(2 * rows_per_event * np.sum(np.square(shares * (losses - mean)))))
