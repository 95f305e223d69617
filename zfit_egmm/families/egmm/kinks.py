"""Kinks of the density in theta: kept if short trainings with them predict simulated values that were left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.families.egmm.theta_inputs import grid_values
from zfit_egmm.training.config import TrainingConfig, resolve
from zfit_egmm.training.loop import Loop
from zfit_egmm.training.model import Batch, Start
from zfit_egmm.training.progress import TrainingProgress
from zfit_egmm.training.record import History
from zfit_egmm.training.steps import Optimiser

if TYPE_CHECKING:
    from zfit_egmm.families.egmm.model import MixtureModel

SIGNIFICANCE = 3.0
"""Standard deviations by which events must ask for a bend in a short training."""

LEAST_KINK = 0.05
"""Norm of the weights of a bend above which it counts as used; kernels have norms of one and more."""

LEAST_SHARE = 0.5
"""The same in units of the most used bend of the same parameter."""

TRIAL_SHARE = 0.15
"""Epochs of each of the five short trainings in units of those of the training; four have fewer events."""

# Two trainings of one factor without kinks differ by up to 1.6e-4 nats per event at values left out.
LEAST_GAIN, GAIN_SIGNIFICANCE, SHARE_OF_LOST = 2e-4, 3.0, 1 / 3

# Of a grid of many parameters, or one that is not a product, hardly any point may be left.
LEAST_EVENTS, MOST_HELD = 10_000, 300_000

SAME_INPUT, STREAM = 1e-4, 3


class Trial(NamedTuple):
    """What two short trainings, with bends and without, leave out.

    Args:
        is_tested: Bends at values that stay, shape ``(n_bends,)``.
        kept: Positions of the training events at such values of all parameters.
        held: For each parameter, positions of training events at values left out of this one alone.
    """

    is_tested: np.ndarray
    kept: np.ndarray
    held: dict[int, np.ndarray]


class KinkSearch:
    """Finds out which factors have kinks in theta, and at which of the simulated values.

    A smooth density that changes fast between two simulated values can be followed by a bend as well as by a smooth
    network; only events in between tell them apart. So every second value of each parameter is left out. A factor has
    kinks at the others if bends there make up for a third of what leaving out costs on the events at the values left
    out. Then the other values are left out in turn. The lowest and the highest value always stay.

    A factor uses bends of any parameter to make up for layers that it lacks. So kinks of a parameter are judged by
    events at values left out of this one alone.

    Args:
        model: The model with its events.
        config: Configuration of the training that is to follow.
        optimiser: The optimiser, which is started anew for every short training.
        progress: Where to show progress.
    """

    def __init__(
        self,
        model: MixtureModel,
        config: TrainingConfig,
        optimiser: Optimiser,
        progress: TrainingProgress,
    ) -> None:
        settings = resolve(config, len(model.training), model.effective_events)
        epochs = max(1, round(TRIAL_SHARE * settings.epochs))
        share = TRIAL_SHARE / (1 + 5 * TRIAL_SHARE)
        self.config = replace(
            config, epochs=epochs, time_budget=None if config.time_budget is None else share * config.time_budget
        )
        self.model, self.optimiser, self.progress = model, optimiser, progress
        self.names = model.parts
        self.grids = [grid_values(column) for column in model.sample.theta.T]
        self.parameters = np.array([bend.parameter for bend in model.scaling.bends], dtype=int)

    def thresholds(self) -> np.ndarray:
        """Thresholds of the bends, infinite where there is no kink; see :meth:`.Optimiser.start`.

        Returns:
            Float32, shape ``(n_factors, n_bends)``.
        """
        is_open = np.zeros((len(self.names), len(self.parameters)), dtype=bool)
        trials = self._trials() if self.model.validation is not None else []
        if trials:
            self.progress.note("looking for kinks in theta, in short trainings that leave out some of its values")
            events = np.unique(np.concatenate([rows for trial in trials for rows in trial.held.values()]))
            self._train(self.model.training, np.zeros(len(self.parameters), dtype=bool))
            losses = self.optimiser.event_losses(self.model.training.part(events))
            for trial in trials:
                nothing_left_out = {
                    number: losses[np.searchsorted(events, rows)] for number, rows in trial.held.items()
                }
                is_open |= self._used(trial, nothing_left_out)
        return thresholds(is_open, 0.0)

    def _trials(self) -> list[Trial]:
        """Leave out every second value of each parameter, then the others."""
        trials = []
        bends = self.model.scaling.bends
        parities = np.array([np.abs(self.grids[bend.parameter] - bend.value).argmin() % 2 for bend in bends])
        for parity in np.unique(parities):
            is_tested = parities == parity
            is_left_out = {n: self._is_left_out(n, parity) for n in np.unique(self.parameters[is_tested]).tolist()}
            n_left_out = np.sum(list(is_left_out.values()), axis=0)
            held = {number: self._draw(is_out & (n_left_out == 1)) for number, is_out in is_left_out.items()}
            trial = Trial(is_tested, np.flatnonzero(n_left_out == 0), held)
            if min(len(trial.kept), *map(len, held.values())) >= LEAST_EVENTS:
                trials.append(trial)
        return trials

    def _used(self, trial: Trial, nothing_left_out: Mapping[int, np.ndarray]) -> np.ndarray:
        """Bends that factors use and that are right at the values left out, shape ``(n_factors, n_bends)``.

        Args:
            trial: What to leave out.
            nothing_left_out: Losses of the events held out of each parameter after a training with all events.
        """
        events = self.model.training
        kept, held = events.part(trial.kept), {number: events.part(rows) for number, rows in trial.held.items()}
        self._train(kept, np.zeros_like(trial.is_tested))
        straight = {number: self.optimiser.event_losses(part) for number, part in held.items()}
        self._train(kept, trial.is_tested)
        bent = {number: self.optimiser.event_losses(part) for number, part in held.items()}
        factors = [self.optimiser.averaged(number) for number in range(len(self.names))]
        norms = np.stack([np.linalg.norm(factor["bends"], axis=1) for factor in factors])
        is_used = np.zeros(norms.shape, dtype=bool)
        for number, part in held.items():
            gained, error = weighted_mean(straight[number] - bent[number], part.weights)
            error *= math.sqrt(self.model.rows_per_event)
            lost, _ = weighted_mean(straight[number] - nothing_left_out[number], part.weights)
            is_better = gained > np.maximum(np.maximum(LEAST_GAIN, GAIN_SIGNIFICANCE * error), SHARE_OF_LOST * lost)
            # What leaving out did not cost cannot be won.
            is_better &= lost > SHARE_OF_LOST * gained
            # A kink draws on bends at other values of the same parameter.
            is_own = self.parameters == number
            largest = norms[:, is_own].max(axis=1, keepdims=True)
            is_used |= is_better[:, np.newaxis] & is_own & (norms > np.maximum(LEAST_KINK, LEAST_SHARE * largest))
        return is_used

    def _train(self, events: Batch, is_open: np.ndarray) -> None:
        """Train for a short time, with bends that all factors may use, shape ``(n_bends,)``."""
        settings = resolve(self.config, len(events), self.model.effective_events)
        # The gradient of a weight fluctuates about as much as its batches, compared with a mean over all of them.
        allowed = thresholds(is_open, SIGNIFICANCE / math.sqrt(len(events) // settings.batch_size))
        start = Start(np.tile(allowed, (len(self.names), 1)), np.ones(len(self.names)))
        self.optimiser.start(settings.average_decay, start.thresholds)
        loop = Loop(self.model, events, self.config, settings, self.optimiser, History(self.names), start)
        loop.run(self.progress)

    def _is_left_out(self, number: int, parity: int) -> np.ndarray:
        """Whether a training event is at a value to be left out of a parameter."""
        events, scaling = self.model.training, self.model.scaling
        values = self.grids[number][1:-1]
        values = values[np.arange(1, len(values) + 1) % 2 != parity]
        points = np.tile([low for low, _ in scaling.trained_range], (len(values), 1))
        points[:, number] = values
        there = scaling(tf.constant(points)).numpy()[:, number]
        return np.any([np.abs(events.arrays[2][:, number] - point) < SAME_INPUT for point in there], axis=0)

    def _draw(self, is_eligible: np.ndarray) -> np.ndarray:
        """Positions of some training events, in ascending order."""
        rows = np.random.default_rng([self.config.seed, STREAM]).permutation(np.flatnonzero(is_eligible))
        return np.sort(rows[:MOST_HELD])


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over events and its error, each of shape ``(n_factors,)``.

    Args:
        values: Shape ``(n_events, n_factors)``.
        weights: Weights of the events.
    """
    shares = weights[:, np.newaxis] / weights.sum(dtype=float)
    mean = np.sum(shares * values, axis=0)
    return mean, np.sqrt(np.sum(np.square(shares * (values - mean)), axis=0))


def thresholds(is_open: np.ndarray, height: float) -> np.ndarray:
    """Thresholds of bends, float32: infinite for closed ones."""
    return np.where(is_open, height, np.inf).astype(np.float32)


def used_kinks(weights: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Which bends have weights that make a kink, shape ``(n_bends,)``."""
    return np.max([np.linalg.norm(part["bends"], axis=1) for part in weights], axis=0) > LEAST_KINK


def named_kinks(scaling: ThetaScaling, is_used: np.ndarray, theta_names: Sequence[str]) -> dict[str, list[float]]:
    """Values of every parameter at which there is a kink."""
    kinks: dict[str, list[float]] = {}
    for bend in (bend for bend, used in zip(scaling.bends, is_used, strict=True) if used):
        kinks.setdefault(theta_names[bend.parameter], []).append(bend.value)
    return kinks


def kinks_in_words(kinks: Mapping[str, Sequence[float]]) -> str:
    """For example ``in c at 0``."""
    return "; ".join(f"in {name} at {', '.join(f'{value:g}' for value in values)}" for name, values in kinks.items())
