"""Optimisation steps: Adam on the factors side by side, compiled, with a running average of the weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from zfit_egmm.density.autoregressive import Autoregressive
from zfit_egmm.training.prepare import Batchable

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
AVERAGE_START = 10.0


class Optimiser:
    """Weights of all factors with the state of Adam and a running average of the weights.

    Args:
        autoregressive: The factors.
        weights: Initial weights of every factor.
        average_decay: Decay per step of the running average.
        use_xla: Whether steps are compiled with XLA, which takes about a second per factor and then
            saves a quarter of the time.

    Source:
        Kingma and Ba, "Adam: a method for stochastic optimization", algorithm 1, with the decoupled
        weight decay of Loshchilov and Hutter, "Decoupled weight decay regularization".
    """

    PARTS = ("weights", "first", "second", "average")

    def __init__(
        self,
        autoregressive: Autoregressive,
        weights: Sequence[dict[str, np.ndarray]],
        average_decay: float,
        *,
        use_xla: bool,
    ) -> None:
        self.autoregressive = autoregressive
        self.average_decay = average_decay
        self.use_xla = use_xla
        self.step = tf.Variable(0.0, dtype=tf.float32, trainable=False)

        def variables(scale: float) -> list[dict[str, tf.Variable]]:
            return [{name: tf.Variable(scale * value) for name, value in factor.items()} for factor in weights]

        self.weights, self.average = variables(1.0), variables(1.0)
        self.first, self.second = variables(0.0), variables(0.0)
        self._compiled: dict[int, tf.types.experimental.GenericFunction] = {}
        # A compiled step hardly uses more than one core, but the factors do not depend on each other.
        self._pool = ThreadPoolExecutor(max_workers=min(len(weights), _n_threads()))
        self._evaluate = tf.function(self._losses, reduce_retracing=True, autograph=False)

    def train_step(
        self,
        active: tuple[int, ...],
        rates: np.ndarray,
        decays: np.ndarray,
        events: Batchable,
    ) -> np.ndarray:
        """One step on a batch.

        Args:
            active: Positions of the factors that still train.
            rates: Learning rate of every factor, float32, shape ``(n_factors,)``.
            decays: Decay of the kernels of every factor in units of the learning rate, float32, same shape.
            events: The batch.

        Returns:
            Loss of each active factor before the step, nats per event.
        """
        self.step.assign_add(1.0)
        batch = tuple(tf.constant(array) for array in (events.u, events.places, events.theta, events.weights))
        step = self.step.read_value()

        def loss(number: int) -> float:
            return self._function(number)(step, rates[number], decays[number], *batch).numpy()

        return np.array(list(self._pool.map(loss, active)))

    def losses(self, events: Batchable, size: int = 16384) -> np.ndarray:
        """Mean loss with the averaged weights, nats per event.

        Returns:
            One value per factor, and last the mean square of the sum of all factors.
        """
        total = np.zeros(len(self.weights) + 1)
        for start in range(0, len(events), size):
            part = events.part(slice(start, start + size))
            total += self._evaluate(part.u, part.places, part.theta, part.weights).numpy()
        return total / events.weights.sum(dtype=float)

    def averaged(self, number: int) -> dict[str, np.ndarray]:
        """Averaged weights of one factor."""
        return {name: variable.numpy() for name, variable in self.average[number].items()}

    def state(self) -> dict[str, np.ndarray]:
        """Everything needed to go on later, as named arrays."""
        arrays = {"step": self.step.numpy()}
        for part in self.PARTS:
            for number, factor in enumerate(getattr(self, part)):
                arrays |= {f"{part}_{number}_{name}": variable.numpy() for name, variable in factor.items()}
        return arrays

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from a :meth:`state`."""
        self.step.assign(arrays["step"])
        for part in self.PARTS:
            for number, factor in enumerate(getattr(self, part)):
                for name, variable in factor.items():
                    variable.assign(arrays[f"{part}_{number}_{name}"])

    def _losses(self, u: tf.Tensor, places: tf.Tensor, theta: tf.Tensor, event_weights: tf.Tensor) -> tf.Tensor:
        parts = self.autoregressive.log_densities(self.average, theta, u, places)
        weights = tf.cast(event_weights, tf.float64)
        losses = [-tf.cast(part, tf.float64) for part in parts]
        return tf.stack([tf.reduce_sum(weights * loss) for loss in [*losses, tf.square(tf.add_n(losses))]])

    def _function(self, number: int) -> tf.types.experimental.GenericFunction:
        """Compiled step of one factor."""
        if number not in self._compiled:
            self._compiled[number] = tf.function(
                lambda *arguments: self._step(number, *arguments), jit_compile=self.use_xla, autograph=False
            )
        return self._compiled[number]

    def _step(
        self,
        number: int,
        step: tf.Tensor,
        rate: tf.Tensor,
        weight_decay: tf.Tensor,
        u: tf.Tensor,
        places: tf.Tensor,
        theta: tf.Tensor,
        event_weights: tf.Tensor,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            (part,) = self.autoregressive.log_densities(self.weights, theta, u, places, only=(number,))
            loss = -tf.reduce_mean(event_weights * part)
        gradient = tape.gradient(loss, self.weights[number], unconnected_gradients="zero")
        correction = tf.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
        decay = tf.minimum(self.average_decay, (1 + step) / (AVERAGE_START + step))
        for name, slope in gradient.items():
            self._update(number, name, slope, rate * correction, weight_decay, decay)
        return loss

    def _update(
        self, number: int, name: str, slope: tf.Tensor, rate: tf.Tensor, weight_decay: tf.Tensor, decay: tf.Tensor
    ) -> None:
        weight, average = self.weights[number][name], self.average[number][name]
        first, second = self.first[number][name], self.second[number][name]
        new_first = first.assign(BETA_1 * first + (1 - BETA_1) * slope)
        new_second = second.assign(BETA_2 * second + (1 - BETA_2) * tf.square(slope))
        change = new_first / (tf.sqrt(new_second) + EPSILON)
        if weight.shape.rank == 2:
            change += weight_decay * weight
        new_weight = weight.assign_sub(rate * change)
        average.assign(decay * average + (1 - decay) * new_weight)


def _n_threads() -> int:
    """Threads that TensorFlow was told to use, or the cores that this process may use."""
    told = tf.config.threading.get_intra_op_parallelism_threads()
    if not told and os.environ.get("TF_NUM_INTRAOP_THREADS", "").isdigit():
        told = int(os.environ["TF_NUM_INTRAOP_THREADS"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, told or cores or 1)
