"""What a training did: history per epoch, and a summary with a verdict in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OVERFIT_GAP = 0.02
"""Gap between training and validation loss, nats per event, above which over-fitting is reported."""

UNFINISHED_GAIN = 1e-3
"""Improvement over the last tenth of the epochs, nats per event, above which more epochs would help."""


@dataclass
class History:
    """Losses per epoch and observable; the losses are ``-log p(u | theta)`` on the latent axes.

    Args:
        observables: Names, in the order of the columns of the losses.
        rows: One entry per epoch with ``epoch``, ``seconds``, ``learning_rate``, and the lists
            ``training`` and ``validation`` in nats per event.
    """

    observables: tuple[str, ...]
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
        """Validation losses, shape ``(n_epochs, n_observables)``."""
        return np.array([row["validation"] for row in self.rows]).reshape(-1, len(self.observables))


def summarise(
    history: History,
    *,
    stopped: Sequence[str],
    best: Sequence[float],
    training_loss: Sequence[float],
    best_epochs: Sequence[int],
    seconds: float,
    n_events: int,
    n_weights: int,
) -> dict[str, Any]:
    """Summary of a training as plain data, with a verdict in words.

    Args:
        history: The history.
        stopped: Why the training of each observable ended: ``"epochs"``, ``"patience"`` or ``"time"``.
        best: Validation loss of the chosen weights per observable.
        training_loss: Training loss of the chosen weights per observable.
        best_epochs: Epoch of the chosen weights per observable.
        seconds: Wall time.
        n_events: Training events.
        n_weights: Trained weights.
    """
    gap = float(np.sum(best) - np.sum(training_loss))
    losses = history.validation()
    late = max(1, len(losses) // 10)
    reference = losses[-1 - late] if len(losses) > late else losses[0]
    gain = (
        float(np.sum(np.min(losses[:-late], axis=0) - np.min(losses, axis=0))) if len(losses) > late else float("inf")
    )
    sentences = [f"{len(losses)} epochs over {n_events} events in {seconds:.0f} s, {n_weights} weights."]
    if "time" in stopped:
        sentences.append("The time budget ended the training.")
    elif "patience" in stopped and "epochs" not in stopped:
        sentences.append("It stopped by itself: the held-out events showed no further improvement.")
    if gain > UNFINISHED_GAIN and reference is not None:
        sentences.append(
            f"The loss still fell by {gain:.2g} nats per event in the last tenth of the epochs: "
            "more epochs or time would help."
        )
    else:
        sentences.append("It has converged.")
    if gap > OVERFIT_GAP:
        sentences.append(
            f"Over-fitting: held-out events are {gap:.2g} nats per event worse than training events; "
            "the weights with the best held-out loss were kept. More events or a smaller network would help."
        )
    else:
        sentences.append(f"No sign of over-fitting (held-out minus training loss {gap:.2g} nats per event).")
    return {
        "epochs": len(losses),
        "seconds": round(seconds, 1),
        "n_events": n_events,
        "n_weights": n_weights,
        "stopped": dict(zip(history.observables, stopped, strict=True)),
        "best_epoch": dict(zip(history.observables, [int(e) for e in best_epochs], strict=True)),
        "validation_loss": dict(zip(history.observables, [float(b) for b in best], strict=True)),
        "training_loss": dict(zip(history.observables, [float(b) for b in training_loss], strict=True)),
        "generalisation_gap": gap,
        "verdict": " ".join(sentences),
    }
