"""The training loop: epochs, learning rates, early stopping per part, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from zfit_egmm.training.checkpoint import Checkpoint
from zfit_egmm.training.config import Settings, TrainingConfig
from zfit_egmm.training.interruption import Interrupted, Interruption
from zfit_egmm.training.model import Batch, Model, Start
from zfit_egmm.training.progress import TrainingProgress
from zfit_egmm.training.record import History, PartState
from zfit_egmm.training.steps import Optimiser

WARM_UP = 0.03
FINAL_RATE = 1e-3
RATE_FACTOR = 0.5
SMALLEST_RATE = 1e-3
CHECKPOINT_INTERVAL = 15.0
SHOW_EVERY = 10


class Loop:
    """Runs epochs until every part of a model has stopped, or the epochs or the time are used up.

    Args:
        model: What is trained.
        training: The events to train on.
        config: What the user asked for.
        settings: The same with every choice made.
        optimiser: Weights and optimiser state.
        history: Filled epoch by epoch.
        start: What a search before the training decided.
        checkpoint: Where to save the state from time to time, if anywhere. An earlier state there must be restored
            with :meth:`Checkpoint.restore` before :meth:`run`.
    """

    def __init__(
        self,
        model: Model,
        training: Batch,
        config: TrainingConfig,
        settings: Settings,
        optimiser: Optimiser,
        history: History,
        start: Start,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.model, self.training, self.config, self.settings = model, training, config, settings
        self.optimiser, self.history, self.checkpoint = optimiser, history, checkpoint
        self.parts = [
            PartState(weights=optimiser.averaged(number), rate_scale=float(scale))
            for number, scale in enumerate(start.rate_scales)
        ]
        self.steps_per_epoch = len(training) // settings.batch_size
        self.earlier_seconds = 0.0
        self._compiling = 0.0
        self._start = time.monotonic()
        self._last_save = self._start
        self.sums = np.zeros(len(self.parts))

    @property
    def seconds(self) -> float:
        """Wall time of this and earlier, interrupted runs."""
        return self.earlier_seconds + time.monotonic() - self._start

    @property
    def steps(self) -> int:
        """Steps done so far."""
        return int(self.optimiser.step.numpy())

    @property
    def fraction(self) -> float:
        """Part of the schedule that is done."""
        done = self.steps / (self.steps_per_epoch * self.settings.epochs)
        if self.config.time_budget is None:
            return min(1.0, done)
        # Seconds spent on compiling the first step are lost to the schedule, not part of it.
        left = max(self.config.time_budget - self._compiling, 1e-9)
        return min(1.0, max(done, (self.seconds - self._compiling) / left))

    @property
    def active(self) -> tuple[int, ...]:
        """Positions of the parts that still train."""
        return tuple(number for number, part in enumerate(self.parts) if not part.stopped)

    def run(self, progress: TrainingProgress) -> None:
        """Train to the end.

        Raises:
            FloatingPointError: If a loss is not finite.
            KeyboardInterrupt: After the current step and, if there is a checkpoint, saving the state. A second
                one is raised at once, and the checkpoint remains as it was last saved.
        """
        try:
            with Interruption() as interruption:
                while self.active and len(self.history.rows) < self.settings.epochs:
                    if self._is_out_of_time() and self.history.rows:
                        break
                    self._epoch(progress, interruption)
                    interruption.check()
        except Interrupted:
            if self.checkpoint is not None:
                self.checkpoint.save(self)
                progress.note(f"interrupted; saved to {self.checkpoint.path}. The same call continues from there.")
            raise
        for number in self.active:
            self.parts[number].stopped = "time" if self._is_out_of_time() else "epochs"

    def _is_out_of_time(self) -> bool:
        return self.config.time_budget is not None and self.seconds >= self.config.time_budget

    def _epoch(self, progress: TrainingProgress, interruption: Interruption) -> None:
        epoch = len(self.history.rows)
        order = np.random.default_rng([self.config.seed, 1, epoch]).permutation(len(self.training))
        first = self.steps - epoch * self.steps_per_epoch
        active, scales = self.active, np.array([part.rate_scale for part in self.parts])
        best = np.array([part.best_loss for part in self.parts])
        decays = self.model.decay_factors(self.settings.weight_decay, best)
        data, size = self.training, self.settings.batch_size
        done = first
        for number in range(first, self.steps_per_epoch):
            if self._is_out_of_time() and done:
                break
            rows = order[number * size : (number + 1) * size]
            rates = (self._rate() * scales).astype(np.float32)
            before = self.seconds
            losses = self.optimiser.train_step(active, rates, decays, data.part(rows))
            if not self._compiling:
                self._compiling = self.seconds - before
            self._check_finite(losses, active, epoch, rates)
            self.sums[list(active)] += losses
            done = number + 1
            if number % SHOW_EVERY == 0:
                progress.update(
                    self.fraction,
                    epoch=epoch + 1,
                    training=float(self._with_stopped(self.sums / done, active).sum()),
                    validation=sum(self.history.rows[-1]["validation"]) if self.history.rows else None,
                )
            if self.checkpoint is not None and time.monotonic() - self._last_save > CHECKPOINT_INTERVAL:
                self._save()
            interruption.check()
        if done:
            self._finish_epoch(self.sums / done, active)

    def _rate(self) -> float:
        """Learning rate of the schedule, to be multiplied with the scale of each part."""
        if self.config.schedule == "plateau":
            return self.settings.learning_rate
        fraction = self.fraction
        warm = min(1.0, (fraction + 1e-6) / WARM_UP)
        cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, fraction - WARM_UP) / (1 - WARM_UP)))
        return self.settings.learning_rate * warm * (FINAL_RATE + (1 - FINAL_RATE) * cosine)

    def _finish_epoch(self, training: np.ndarray, active: tuple[int, ...]) -> None:
        self.sums = np.zeros(len(self.parts))
        training = self._with_stopped(training, active)
        held = self.model.validation
        validation = training if held is None else self.optimiser.losses(held)
        self._check_finite(validation, range(len(validation)), len(self.history.rows), np.zeros(len(validation)))
        self.history.add(self.seconds, self._rate() * self.parts[active[-1]].rate_scale, training, validation)
        for number in active:
            self._judge(number, float(validation[number]), float(training[number]))
        if self.checkpoint is not None and time.monotonic() - self._last_save > 1.0:
            self._save()

    def _with_stopped(self, training: np.ndarray, active: tuple[int, ...]) -> np.ndarray:
        """Training losses of an epoch; parts that have stopped keep their last one."""
        if not self.history.rows:
            return training
        return np.where(np.isin(np.arange(len(training)), active), training, self.history.rows[-1]["training"])

    def _judge(self, number: int, validation: float, training: float) -> None:
        """Keep the best weights of a part; lower its learning rate or stop it when it stalls."""
        part, config = self.parts[number], self.config
        epoch = len(self.history.rows)
        if validation < part.best_loss - config.min_delta:
            part.best_loss, part.best_epoch = validation, epoch
            part.weights = self.optimiser.averaged(number)
        if training < part.best_training - config.min_delta:
            part.best_training, part.stalled = training, 0
        else:
            part.stalled += 1
        if config.schedule == "plateau" and part.stalled >= config.rate_patience:
            part.rate_scale = max(SMALLEST_RATE, RATE_FACTOR * part.rate_scale)
            part.stalled = 0
        if epoch - part.best_epoch >= self.settings.stop_patience:
            part.stopped = "patience"

    def _save(self) -> None:
        assert self.checkpoint is not None
        self.checkpoint.save(self)
        self._last_save = time.monotonic()

    def _check_finite(self, losses: np.ndarray, numbers: Sequence[int], epoch: int, rates: np.ndarray) -> None:
        if np.isfinite(losses).all():
            return
        names = [self.model.parts[number] for number in numbers]
        bad = [name for name, loss in zip(names, losses, strict=True) if not np.isfinite(loss)]
        weights = self.training.weights
        raise FloatingPointError(
            f"the loss of {', '.join(bad)} is not finite in epoch {epoch + 1} (learning rate {rates.max():.2g}, "
            f"largest event weight {np.abs(weights).max():.3g} times the mean). Usual reasons: a learning rate that "
            "is too high, or single events with huge weights; lower learning_rate, or cut or clip these events"
        )
