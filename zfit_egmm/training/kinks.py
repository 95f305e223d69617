"""Kinks of the density in theta: kept if short trainings with them predict simulated values that were left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from zfit_egmm.density.theta import ThetaScaling
from zfit_egmm.events.sample import EventSample
from zfit_egmm.training.config import MOST_VALIDATION_EVENTS, TrainingConfig, resolve
from zfit_egmm.training.loop import Loop
from zfit_egmm.training.prepare import Batchable, Prepared
from zfit_egmm.training.progress import TrainingProgress
from zfit_egmm.training.record import History
from zfit_egmm.training.steps import Optimiser
from zfit_egmm.training.theta_inputs import grid_values

SIGNIFICANCE = 3.0
"""Standard deviations by which the training events must ask for a bend, where it is allowed."""

LEAST_KINK = 0.05
"""Norm of the weights of a bend above which it counts as used; kernels have norms of one and more."""

LEAST_SHARE = 0.5
"""The same in units of the most used bend of the same parameter."""

TRIAL_SHARE = 0.15
"""Epochs of each of the five short trainings in units of those of the training; four have fewer events."""

# Two trainings of one factor without kinks differ by up to 1.4e-4 nats per event, and by more at values left out.
LEAST_GAIN, GAIN_SIGNIFICANCE, SHARE_OF_LOST = 1.5e-4, 3.0, 1 / 3

# Of a grid of many parameters, or one that is not a product, hardly any point may be left.
LEAST_EVENTS = 10_000

SAME_INPUT, STREAM = 1e-4, 3


class KinkSearch:
    """Finds out which factors have kinks in theta, and at which of the simulated values.

    A smooth density that changes fast between two simulated values can be followed by a bend as well as by a smooth
    network; only events in between tell them apart. So every second value of each parameter is left out. A factor has
    kinks at the others if bends there make up for a third of what leaving out costs on the events at the values left
    out. Then the other values are left out in turn. The lowest and the highest value always stay.

    The first factor, whose network has one layer, has no kinks: it used bends of parameters on which it does not
    depend, and its slopes in theta were wrong.

    Args:
        prepared: The events.
        sample: The sample that they come from.
        config: Configuration of the training that is to follow.
        optimiser: The optimiser, which is started anew for every short training.
        progress: Where to show progress.
    """

    def __init__(
        self,
        prepared: Prepared,
        sample: EventSample,
        config: TrainingConfig,
        optimiser: Optimiser,
        progress: TrainingProgress,
    ) -> None:
        n_train = len(prepared.training)
        epochs = max(1, round(TRIAL_SHARE * resolve(config, n_train, prepared.effective_events).epochs))
        share = TRIAL_SHARE / (1 + 5 * TRIAL_SHARE)
        self.config = replace(
            config, epochs=epochs, time_budget=None if config.time_budget is None else share * config.time_budget
        )
        self.prepared, self.optimiser, self.progress = prepared, optimiser, progress
        self.names = tuple(observable.name for observable in sample.observables)
        self.grids = [grid_values(column) for column in sample.theta.T]

    def thresholds(self) -> np.ndarray:
        """Thresholds of the bends, infinite where there is no kink; see :meth:`.Optimiser.start`.

        Returns:
            Float32, shape ``(n_factors, n_bends)``.
        """
        bends = self.prepared.scaling.bends
        is_open = np.zeros((len(self.names), len(bends)), dtype=bool)
        if bends and len(self.names) > 1 and self.prepared.validation is not None:
            parities = np.array([np.abs(self.grids[bend.parameter] - bend.value).argmin() % 2 for bend in bends])
            self.progress.note("looking for kinks in theta, in short trainings that leave out some of its values")
            nothing_left_out = self._losses(self.prepared, np.zeros(len(bends), dtype=bool), self.prepared.training)
            for parity in np.unique(parities):
                is_open |= self._used(parities == parity, int(parity), nothing_left_out)
            is_open[0] = False
        n_train = len(self.prepared.training)
        return thresholds(is_open, n_train // resolve(self.config, n_train, self.prepared.effective_events).batch_size)

    def _used(self, is_tested: np.ndarray, parity: int, nothing_left_out: np.ndarray) -> np.ndarray:
        """Bends that factors use and that are right at the values left out, shape ``(n_factors, n_bends)``.

        Args:
            is_tested: The bends to be tested, shape ``(n_bends,)``.
            parity: Values at even or at odd positions stay.
            nothing_left_out: Losses of all events after a training with all of them, shape ``(n_events, n_factors)``.
        """
        is_left_out = self._is_left_out(parity)
        rows = np.random.default_rng([self.config.seed, STREAM]).permutation(np.flatnonzero(is_left_out))
        rows = np.sort(rows[: int(MOST_VALIDATION_EVENTS)])
        training, held = (self.prepared.training.part(part) for part in (np.flatnonzero(~is_left_out), rows))
        if min(len(training), len(held)) < LEAST_EVENTS:
            return np.zeros((len(self.names), len(is_tested)), dtype=bool)
        thinned = replace(self.prepared, training=training, validation=held)
        straight = self._losses(thinned, np.zeros_like(is_tested), held)
        gain = straight - self._losses(thinned, is_tested, held)
        weights = held.weights[:, np.newaxis] / held.weights.sum(dtype=float)
        mean, lost = np.sum(weights * gain, axis=0), np.sum(weights * (straight - nothing_left_out[rows]), axis=0)
        error = np.sqrt(np.sum(np.square(weights * (gain - mean)), axis=0))
        factors = [self.optimiser.averaged(number) for number in range(len(self.names))]
        norms = np.stack([np.linalg.norm(factor["bends"], axis=1) for factor in factors])
        # A kink draws on bends at other values of the same parameter.
        parameters = np.array([bend.parameter for bend in self.prepared.scaling.bends])
        largest = np.stack([norms[:, parameters == number].max(axis=1) for number in parameters], axis=1)
        is_better = mean > np.maximum(np.maximum(LEAST_GAIN, GAIN_SIGNIFICANCE * error), SHARE_OF_LOST * lost)
        return is_better[:, np.newaxis] & (norms > np.maximum(LEAST_KINK, LEAST_SHARE * largest))

    def _losses(self, prepared: Prepared, is_open: np.ndarray, events: Batchable) -> np.ndarray:
        """Loss of every event and factor after a short training, shape ``(n_events, n_factors)``."""
        settings = resolve(self.config, len(prepared.training), prepared.effective_events)
        allowed = np.tile(thresholds(is_open, len(prepared.training) // settings.batch_size), (len(self.names), 1))
        self.optimiser.start(settings.average_decay, allowed)
        Loop(prepared, self.config, settings, self.optimiser, History(self.names), None).run(self.progress)
        return self.optimiser.event_losses(events)

    def _is_left_out(self, parity: int) -> np.ndarray:
        """Whether a training event is at a value to be left out of a parameter that can bend."""
        events, scaling = self.prepared.training, self.prepared.scaling
        is_left_out = np.zeros(len(events), dtype=bool)
        for number in {bend.parameter for bend in scaling.bends}:
            values = self.grids[number][1:-1]
            values = values[np.arange(1, len(values) + 1) % 2 != parity]
            points = np.tile([low for low, _ in scaling.trained_range], (len(values), 1))
            points[:, number] = values
            for point in scaling(tf.constant(points)).numpy()[:, number]:
                is_left_out |= np.abs(events.theta[:, number] - point) < SAME_INPUT
        return is_left_out


def thresholds(is_open: np.ndarray, steps_per_epoch: int) -> np.ndarray:
    """Thresholds of the bends of every factor: infinite for closed ones, noise of the gradient for open ones."""
    return np.where(is_open, SIGNIFICANCE / math.sqrt(steps_per_epoch), np.inf).astype(np.float32)


def named_kinks(scaling: ThetaScaling, is_used: np.ndarray, theta_names: Sequence[str]) -> dict[str, list[float]]:
    """Values of every parameter at which there is a kink."""
    kinks: dict[str, list[float]] = {}
    for bend in (bend for bend, used in zip(scaling.bends, is_used, strict=True) if used):
        kinks.setdefault(theta_names[bend.parameter], []).append(bend.value)
    return kinks


def kinks_in_words(kinks: Mapping[str, Sequence[float]]) -> str:
    """For example ``in c at 0``."""
    return "; ".join(f"in {name} at {', '.join(f'{value:g}' for value in values)}" for name, values in kinks.items())
