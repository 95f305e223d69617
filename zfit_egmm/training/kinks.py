"""Kinks of the density in theta: searched with a short training, and kept if they predict values that were left out."""

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
from zfit_egmm.training.prepare import Prepared
from zfit_egmm.training.progress import TrainingProgress
from zfit_egmm.training.record import History
from zfit_egmm.training.steps import Optimiser
from zfit_egmm.training.theta_inputs import grid_values

SIGNIFICANCE = 3.0
"""Standard deviations by which the training events must ask for a bend, where it is allowed."""

LEAST_KINK = 0.05
"""Norm of the weights of a bend above which it counts as used; kernels have norms of one and more."""

TRIAL_SHARE = 0.15
"""Length of each of the three short trainings in units of the epochs of the training."""

# Two trainings of one factor without kinks differ by up to 1.4e-4 nats per event.
LEAST_GAIN, GAIN_SIGNIFICANCE = 1.5e-4, 3.0

SAME_INPUT, STREAM = 1e-4, 3


class KinkSearch:
    """Finds out which factors have kinks in theta, and at which of the simulated values.

    A smooth density that changes fast between two simulated values can be followed by a bend as well as by a smooth
    network; only events in between tell them apart. So a short training with all bends finds candidates, at most one
    per parameter. Two more, with and without these, leave out the simulated values on both sides of the candidates. A
    factor has kinks if it describes the events at these values better with them.

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
        share = TRIAL_SHARE / (1 + 3 * TRIAL_SHARE)
        self.config = replace(
            config, epochs=epochs, time_budget=None if config.time_budget is None else share * config.time_budget
        )
        self.prepared, self.sample = prepared, sample
        self.names = tuple(observable.name for observable in sample.observables)
        self.optimiser, self.progress = optimiser, progress

    def thresholds(self) -> np.ndarray:
        """Thresholds of the bends, infinite where there is no kink; see :meth:`.Optimiser.start`.

        Returns:
            Float32, shape ``(n_factors, n_bends)``.
        """
        is_open = np.zeros((len(self.names), len(self.prepared.scaling.bends)), dtype=bool)
        if is_open.size and self.prepared.validation is not None:
            self.progress.note("looking for kinks in theta")
            is_open |= self._candidates()
            if is_open.any():
                self.progress.note(
                    f"are there kinks {kinks_in_words(self._named(is_open))}? Leaving out values beside them"
                )
                is_open[~self._is_better_with(is_open)] = False
        return thresholds(is_open, self._steps(self.prepared))

    def _candidates(self) -> np.ndarray:
        """Whether a bend is the one that a training uses most for its parameter, shape ``(n_bends,)``."""
        self._train(self.prepared, True)
        # The first observable has a network of one layer, which bends for little reason.
        factors = [self.optimiser.averaged(number) for number in range(len(self.names))]
        norms = np.max([np.linalg.norm(factor["bends"], axis=1) for factor in factors[1:] or factors], axis=0)
        parameters = np.array([bend.parameter for bend in self.prepared.scaling.bends])
        largest = [norms[parameters == number].max() for number in parameters]
        return (norms > LEAST_KINK) & (norms == largest)

    def _is_better_with(self, is_open: np.ndarray) -> np.ndarray:
        """Whether each factor describes values on both sides of the bends better with them, shape ``(n_factors,)``."""
        halved = self._without_neighbours(np.asarray(is_open.any(axis=0)))
        held = halved.validation
        assert held is not None
        losses = []
        for bends in (False, is_open):
            self._train(halved, bends)
            losses.append(self.optimiser.event_losses(held))
        weights = held.weights[:, np.newaxis] / held.weights.sum(dtype=float)
        gain = losses[0] - losses[1]
        mean = np.sum(weights * gain, axis=0)
        error = np.sqrt(np.sum(np.square(weights * (gain - mean)), axis=0))
        return mean > np.maximum(LEAST_GAIN, GAIN_SIGNIFICANCE * error)

    def _train(self, prepared: Prepared, is_open: np.ndarray | bool) -> None:
        settings = resolve(self.config, len(prepared.training), prepared.effective_events)
        shape = len(self.names), len(prepared.scaling.bends)
        allowed = thresholds(np.broadcast_to(is_open, shape), len(prepared.training) // settings.batch_size)
        self.optimiser.start(settings.average_decay, allowed)
        Loop(prepared, self.config, settings, self.optimiser, History(self.names), None).run(self.progress)

    def _without_neighbours(self, is_chosen: np.ndarray) -> Prepared:
        """Training events without the simulated values on both sides of some bends, which are held out instead."""
        events, scaling = self.prepared.training, self.prepared.scaling
        is_beside = np.zeros(len(events), dtype=bool)
        for bend in (bend for bend, chosen in zip(scaling.bends, is_chosen, strict=True) if chosen):
            values = grid_values(self.sample.theta[:, bend.parameter])
            position = int(np.abs(values - bend.value).argmin())
            points = np.repeat(np.array(scaling.trained_range)[:, :1].T, 2, axis=0)
            points[:, bend.parameter] = values[[position - 1, position + 1]]
            for point in scaling(tf.constant(points)).numpy()[:, bend.parameter]:
                is_beside |= np.abs(events.theta[:, bend.parameter] - point) < SAME_INPUT
        left_out = np.random.default_rng([self.config.seed, STREAM]).permutation(np.flatnonzero(is_beside))
        return replace(
            self.prepared,
            training=events.part(np.flatnonzero(~is_beside)),
            validation=events.part(np.sort(left_out[: int(MOST_VALIDATION_EVENTS)])),
        )

    def _steps(self, prepared: Prepared) -> int:
        n_train = len(prepared.training)
        return n_train // resolve(self.config, n_train, prepared.effective_events).batch_size

    def _named(self, is_open: np.ndarray) -> dict[str, list[float]]:
        return named_kinks(self.prepared.scaling, np.asarray(is_open.any(axis=0)), self.sample.theta_names)


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
