"""What a training did: history per epoch, and a summary with a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OVERFIT_GAP = 0.02
"""Gap between training and validation loss, nats per event, above which over-fitting is reported."""

UNFINISHED_GAIN = 1e-3
"""Improvement over the last tenth of the epochs, nats per event, above which more epochs would help."""


ENOUGH_EPOCHS = 0.5
"""Share of the planned epochs below which a time budget is said to cost quality."""


@dataclass
class History:
    """Losses per epoch and part of a model, for densities ``-log p(u | theta)`` on latent axes.

    Args:
        parts: Names, in the order of the columns of the losses.
        rows: One entry per epoch with ``epoch``, ``seconds``, ``learning_rate``, and the lists
            ``training`` and ``validation`` in nats per event.
    """

    parts: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, seconds: float, learning_rate: float, training: Iterable[float], validation: Iterable[float]) -> None:
        """Append an epoch."""
        self.rows.append(
            {
                "epoch": len(self.rows) + 1,
                "seconds": round(seconds, 3),
                "learning_rate": float(learning_rate),
                "training": [float(value) for value in training],
                "validation": [float(value) for value in validation],
            }
        )

    def validation(self) -> np.ndarray:
        """Validation losses, shape ``(n_epochs, n_parts)``."""
        return np.array([row["validation"] for row in self.rows]).reshape(-1, len(self.parts))


@dataclass
class PartState:
    """How the training of one part of a model stands.

    Args:
        best_loss: Lowest validation loss, nats per event.
        best_epoch: Its epoch.
        best_training: Lowest training loss, nats per event.
        rate_scale: Factor of the learning rate.
        stalled: Epochs without improvement of the training loss.
        stopped: Why the training ended: ``"epochs"``, ``"patience"`` or ``"time"``; empty while it runs.
        weights: Averaged weights of the best epoch.
    """

    best_loss: float = math.inf
    best_epoch: int = 0
    best_training: float = math.inf
    rate_scale: float = 1.0
    stalled: int = 0
    stopped: str = ""
    weights: dict[str, np.ndarray] = field(default_factory=dict)


def summarise(
    history: History,
    *,
    states: Sequence[PartState],
    training_loss: Sequence[float],
    gap_error: float,
    seconds: float,
    planned_epochs: int,
    n_events: int,
    n_weights: int,
) -> dict[str, Any]:
    """Summary of a training as plain data, with a verdict in words.

    Args:
        history: The history.
        states: The training of each part, ended.
        training_loss: Training loss of the chosen weights per part.
        gap_error: Statistical error of the difference between the two, summed over the parts.
        seconds: Wall time.
        planned_epochs: Epochs without a time budget.
        n_events: Training events.
        n_weights: Trained weights.
    """
    stopped, best = [state.stopped for state in states], [state.best_loss for state in states]
    gap = float(np.sum(best) - np.sum(training_loss))
    losses = history.validation()
    late = max(1, len(losses) // 10)
    gain = float(np.sum(losses[:-late].min(axis=0) - losses.min(axis=0))) if len(losses) > late else math.nan
    sentences = [f"{len(losses)} epochs over {n_events} events in {seconds:.0f} s, {n_weights} weights."]
    if "time" in stopped:
        sentences.append(f"The time budget ended the training after {len(losses)} of {planned_epochs} epochs.")
    elif "patience" in stopped and "epochs" not in stopped:
        sentences.append("It stopped by itself: the held-out events showed no further improvement.")
    if math.isnan(gain):
        sentences.append("Too few epochs to tell whether it has converged.")
    elif gain > UNFINISHED_GAIN:
        sentences.append(
            f"The loss still fell by {gain:.2g} nats per event in the last tenth of the epochs: "
            "more epochs or time would help."
        )
    elif "time" in stopped and len(losses) < ENOUGH_EPOCHS * planned_epochs:
        # The learning rate falls to zero in the time there is, so the loss is flat at the end in any case.
        sentences.append("More time would probably help.")
    else:
        sentences.append("It has converged.")
    if gap > max(OVERFIT_GAP, 3 * gap_error):
        sentences.append(
            f"Over-fitting: held-out events are {gap:.2g} nats per event worse than training events; "
            "the weights with the best held-out loss were kept. More events or a smaller network would help."
        )
    else:
        sentences.append(
            f"No sign of over-fitting (held-out minus training loss {gap:.2g} +- {gap_error:.1g} nats per event)."
        )
    return {
        "epochs": len(losses),
        "seconds": round(seconds, 1),
        "n_events": n_events,
        "n_weights": n_weights,
        "stopped": dict(zip(history.parts, stopped, strict=True)),
        "best_epoch": dict(zip(history.parts, [state.best_epoch for state in states], strict=True)),
        "validation_loss": dict(zip(history.parts, [float(b) for b in best], strict=True)),
        "training_loss": dict(zip(history.parts, [float(b) for b in training_loss], strict=True)),
        "generalisation_gap": gap,
        "generalisation_gap_error": gap_error,
        "verdict": " ".join(sentences),
    }
