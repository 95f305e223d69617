"""Model: what the training loop trains, without knowing what it describes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from zfit_egmm.density.base import Density
from zfit_egmm.events.sample import EventSample
from zfit_egmm.training.split import Split

if TYPE_CHECKING:
    from zfit_egmm.training.config import TrainingConfig
    from zfit_egmm.training.progress import TrainingProgress
    from zfit_egmm.training.steps import Optimiser

Weights = Mapping[str, tf.Tensor]


@dataclass(frozen=True)
class Batch:
    """Events as a model reads them.

    Args:
        arrays: Whatever the model needs of each event, float32, first axis the events.
        weights: Event weights with mean one, float32, shape ``(n_events,)``.
    """

    arrays: tuple[np.ndarray, ...]
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def part(self, rows: np.ndarray | slice) -> Batch:
        """Some of the events."""
        return Batch(tuple(array[rows] for array in self.arrays), self.weights[rows])


@dataclass(frozen=True)
class Start:
    """What a search before the training decided.

    Args:
        thresholds: Of the sparse weights of every part, float32, shape ``(n_parts, n_rows)``, see
            :attr:`Model.sparse`.
        rate_scales: Learning rate of every part in units of that of the schedule, shape ``(n_parts,)``.
    """

    thresholds: np.ndarray
    rate_scales: np.ndarray


class Model(ABC):
    """A density to be trained, as parts that do not share weights and are trained side by side.

    Args:
        parts: Names of the parts: one per observable, or a single one.
        training: Events to train on.
        validation: Events held out to choose the best weights, if any.
        sample: The events that these were made of.
    """

    sparse: frozenset[str] = frozenset()
    """Weights, by name and with a common number of rows, that stay zero unless events ask for them clearly."""

    n_sparse = 0
    """Rows of the sparse weights."""

    def __init__(self, parts: Sequence[str], training: Batch, validation: Batch | None, sample: Split) -> None:
        self.parts = tuple(parts)
        self.training, self.validation = training, validation
        self.effective_events, self.rows_per_event = sample.training.effective_events, sample.rows_per_event

    @abstractmethod
    def initial_weights(self, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
        """Initial weights of every part, float32, by name."""

    @abstractmethod
    def losses(
        self, weights: Sequence[Weights], arrays: Sequence[tf.Tensor], only: Sequence[int] | None = None
    ) -> list[tf.Tensor]:
        """Loss of every event.

        Args:
            weights: Weights of every part.
            arrays: As in :class:`~zfit_egmm.training.model.Batch`, in tensors.
            only: Positions of the parts wanted. Default: all.

        Returns:
            One tensor of shape ``(n_events,)`` per wanted part, nats.
        """

    @abstractmethod
    def density(self, weights: Sequence[Mapping[str, np.ndarray]], training: Mapping[str, Any]) -> Density:
        """The density with some weights.

        Args:
            weights: Of every part.
            training: Record of the training.
        """

    def decays(self, name: str, shape: Sequence[int]) -> bool:
        """Whether a weight decays. Default: kernels, which are matrices, do."""
        del name
        return len(shape) == 2

    def decay_factors(self, weight_decay: float, best_losses: np.ndarray) -> np.ndarray:
        """Decay of every part in units of the learning rate, float32. Default: the same for all.

        Args:
            weight_decay: What the settings say.
            best_losses: Lowest validation losses so far, nats per event; infinite where there is none yet.
        """
        return np.full(len(best_losses), weight_decay, dtype=np.float32)

    def search(
        self, config: TrainingConfig, optimiser: Optimiser, progress: TrainingProgress, *, is_resumed: bool
    ) -> Start:
        """Decisions that need short trainings of their own, before the training. Default: none.

        Args:
            config: Configuration of the training that is to follow.
            optimiser: The optimiser, which is started anew for every training.
            progress: Where to show progress.
            is_resumed: Whether the training goes on from a saved state, which holds what was found.
        """
        del config, optimiser, progress, is_resumed
        return self.plain_start()

    def plain_start(self) -> Start:
        """All sparse weights closed, all learning rates as scheduled."""
        n_parts = len(self.parts)
        return Start(np.full((n_parts, self.n_sparse), np.inf, dtype=np.float32), np.ones(n_parts))

    def tidied(self, weights: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """The best weights without those that turned out to be of no use."""
        return [dict(part) for part in weights]

    def remarks(self, weights: Sequence[Mapping[str, np.ndarray]]) -> tuple[dict[str, Any], str]:
        """Entries for the summary of the training, and a sentence for its verdict, possibly empty."""
        del weights
        return {}, ""


class ModelSettings(Protocol):
    """Settings of a model: a frozen dataclass, whose fields a configuration may set."""

    @property
    def name(self) -> str:
        """Name of the model, as ``TrainingConfig(model=...)`` accepts it."""

    def resolved(self, effective_events: float) -> ModelSettings:
        """The same with every choice made.

        Args:
            effective_events: Number of training events, reduced for unequal weights.
        """

    def prepare(self, sample: EventSample, config: TrainingConfig) -> Model:
        """The model, with the events split and in its coordinates.

        Raises:
            ValueError: If the sample does not suit the model; the message says which would.
        """

    def as_text(self) -> dict[str, Any]:
        """The settings as plain data that JSON can hold."""

    @classmethod
    def of_text(cls, text: Mapping[str, Any]) -> ModelSettings:
        """Settings from plain data, such as a part of a configuration file.

        Raises:
            ValueError: If there is no such entry, or a value makes no sense.
        """
