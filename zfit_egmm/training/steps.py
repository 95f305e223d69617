"""Optimisation steps: Adam on the parts of a model side by side, compiled, with a running average of the weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zfit_egmm.training.model import Batch, Model

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
AVERAGE_START = 10.0
CHUNK = 16_384
"""Events that are evaluated at a time."""


class StepSize(NamedTuple):
    """How far one step of a part goes, float32.

    Args:
        step: Number of the step, from one.
        rate: Learning rate.
        weight_decay: Decay of the weights that decay, in units of the learning rate.
        average_decay: Decay of the running average.
        thresholds: Shape ``(n_rows,)``, see :meth:`Optimiser.start`.
    """

    step: tf.Tensor
    rate: tf.Tensor
    weight_decay: tf.Tensor
    average_decay: tf.Tensor
    thresholds: tf.Tensor


class Optimiser:
    """Weights of all parts of a model, with the state of Adam and a running average of the weights.

    Call :meth:`start` before the first step.

    Args:
        model: The model.
        weights: Initial weights of every part.
        use_xla: Whether steps are compiled with XLA, which takes about a second per part and then
            saves a quarter of the time.

    Source:
        Kingma and Ba, "Adam: a method for stochastic optimization", algorithm 1, with the decoupled
        weight decay of Loshchilov and Hutter, "Decoupled weight decay regularization", and for sparse weights the soft
        threshold of proximal gradient methods.
    """

    PARTS = ("weights", "first", "second", "average")

    def __init__(
        self,
        model: Model,
        weights: Sequence[dict[str, np.ndarray]],
        *,
        use_xla: bool,
    ) -> None:
        self.model = model
        self.average_decay = 0.0
        self.thresholds = np.empty((len(weights), 0), dtype=np.float32)
        self.use_xla = use_xla
        self.step = tf.Variable(0.0, dtype=tf.float32, trainable=False)

        def variables(scale: float) -> list[dict[str, tf.Variable]]:
            return [{name: tf.Variable(scale * value) for name, value in factor.items()} for factor in weights]

        self._initial = weights
        self.weights, self.average = variables(1.0), variables(1.0)
        self.first, self.second = variables(0.0), variables(0.0)
        self._compiled: dict[tuple[int, int], tf.types.experimental.ConcreteFunction] = {}
        # A compiled step hardly uses more than one core, but the parts do not depend on each other.
        self._pool = ThreadPoolExecutor(max_workers=min(len(weights), _n_threads()))
        self._evaluate = tf.function(self._losses, reduce_retracing=True, autograph=False)

    def start(self, average_decay: float, thresholds: np.ndarray) -> None:
        """Begin a training with the initial weights; what was compiled for an earlier one is used again.

        Args:
            average_decay: Decay per step of the running average.
            thresholds: Float32, shape ``(n_parts, n_rows)``. Rows of sparse weights move towards zero by so much in
                units of the learning rate, and stay there unless their gradient is that many times as large as it
                fluctuates from batch to batch.
        """
        self.average_decay, self.thresholds = average_decay, thresholds
        self.step.assign(0.0)
        for part in self.PARTS:
            scale = 1.0 if part in ("weights", "average") else 0.0
            for factor, initial in zip(getattr(self, part), self._initial, strict=True):
                for name, variable in factor.items():
                    variable.assign(scale * initial[name])

    def train_step(
        self,
        active: tuple[int, ...],
        rates: np.ndarray,
        decays: np.ndarray,
        events: Batch,
    ) -> np.ndarray:
        """One step on a batch.

        Args:
            active: Positions of the parts that still train.
            rates: Learning rate of every part, float32, shape ``(n_parts,)``.
            decays: Decay of every part in units of the learning rate, float32, same shape.
            events: The batch.

        Returns:
            Loss of each active part before the step, nats per event.
        """
        self.step.assign_add(1.0)
        batch = tuple(tf.constant(array) for array in (*events.arrays, events.weights))
        step = self.step.read_value()

        def loss(number: int) -> float:
            average = np.float32(self.average_decay)
            size = StepSize(step, *map(tf.constant, (rates[number], decays[number], average, self.thresholds[number])))
            return self._function(number, size, batch)(size, *batch).numpy()

        return np.array(list(self._pool.map(loss, active)))

    def losses(self, events: Batch, weights: Sequence[Mapping[str, np.ndarray]] | None = None) -> np.ndarray:
        """Mean loss of each part, by default with the averaged weights, nats per event."""
        return events.weights.astype(float) @ self.event_losses(events, weights) / events.weights.sum(dtype=float)

    def event_losses(self, events: Batch, weights: Sequence[Mapping[str, np.ndarray]] | None = None) -> np.ndarray:
        """Loss of every event, by default with the averaged weights, nats, shape ``(n_events, n_parts)``."""
        given = [
            {name: tf.convert_to_tensor(value) for name, value in part.items()}
            for part in (self.average if weights is None else weights)
        ]
        parts = [events.part(slice(start, start + CHUNK)) for start in range(0, len(events), CHUNK)]
        return np.concatenate([self._evaluate(given, part.arrays).numpy() for part in parts]).astype(float)

    def averaged(self, number: int) -> dict[str, np.ndarray]:
        """Averaged weights of one part."""
        return {name: variable.numpy() for name, variable in self.average[number].items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything needed to go on later, as named arrays."""
        arrays = {"step": self.step.numpy(), "thresholds": self.thresholds}
        for part in self.PARTS:
            for number, factor in enumerate(getattr(self, part)):
                arrays |= {f"{part}_{number}_{name}": variable.numpy() for name, variable in factor.items()}
        return arrays

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`."""
        self.step.assign(arrays["step"])
        self.thresholds = arrays["thresholds"]
        for part in self.PARTS:
            for number, factor in enumerate(getattr(self, part)):
                for name, variable in factor.items():
                    variable.assign(arrays[f"{part}_{number}_{name}"])

    def _losses(self, weights: Sequence[Mapping[str, tf.Tensor]], arrays: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.stack(self.model.losses(weights, arrays), axis=1)

    def _function(
        self, number: int, size: StepSize, batch: Sequence[tf.Tensor]
    ) -> tf.types.experimental.ConcreteFunction:
        """Compiled step of one part; traced by hand, because TensorFlow warns of so many traces of one function."""
        key = number, len(batch[0])
        if key not in self._compiled:
            function = tf.function(partial(self._step, number), jit_compile=self.use_xla, autograph=False)
            self._compiled[key] = function.get_concrete_function(size, *batch)
        return self._compiled[key]

    def _step(self, number: int, size: StepSize, *batch: tf.Tensor) -> tf.Tensor:
        *arrays, event_weights = batch
        with tf.GradientTape() as tape:
            (losses,) = self.model.losses(self.weights, arrays, only=(number,))
            loss = tf.reduce_mean(event_weights * losses)
        gradient = tape.gradient(loss, self.weights[number], unconnected_gradients="zero")
        rate = size.rate * tf.sqrt(1 - BETA_2**size.step) / (1 - BETA_1**size.step)
        decay = tf.minimum(size.average_decay, (1 + size.step) / (AVERAGE_START + size.step))
        for name, slope in gradient.items():
            change = self._change(number, name, slope)
            weight, average = self.weights[number][name], self.average[number][name]
            if name in self.model.sparse:
                moved = weight - rate * change
                new_weight = tf.sign(moved) * tf.maximum(tf.abs(moved) - rate * size.thresholds[:, tf.newaxis], 0.0)
            elif self.model.decays(name, weight.shape):
                new_weight = weight - rate * (change + size.weight_decay * weight)
            else:
                new_weight = weight - rate * change
            weight.assign(new_weight)
            average.assign(decay * average + (1 - decay) * new_weight)
        return loss

    def _change(self, number: int, name: str, slope: tf.Tensor) -> tf.Tensor:
        """Change of some weights in units of the learning rate, from their gradient."""
        first, second = self.first[number][name], self.second[number][name]
        new_first = first.assign(BETA_1 * first + (1 - BETA_1) * slope)
        new_second = second.assign(BETA_2 * second + (1 - BETA_2) * tf.square(slope))
        return new_first / (tf.sqrt(new_second) + EPSILON)


def _n_threads() -> int:
    """Threads that TensorFlow was told to use, or the cores that this process may use."""
    told = tf.config.threading.get_intra_op_parallelism_threads()
    if not told and os.environ.get("TF_NUM_INTRAOP_THREADS", "").isdigit():
        told = int(os.environ["TF_NUM_INTRAOP_THREADS"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, told or cores or 1)
