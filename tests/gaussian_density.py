"""A density that is known exactly, and can be distorted by a known amount."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from known_density import KnownDensity
from scipy.special import ndtr, ndtri

from zfit_egmm import EventSample, Observable
from zfit_egmm.density.axes import Axes

LIMIT = 6.0
TAIL = (2.5, 3.5)
NOTHING = -1e4
"""Log density where there is none, whose gradient is finite too."""


class GaussianDensity(KnownDensity, kind="test-gaussian"):
    """Gaussians of width one in a box; the mean of the first follows theta, the second follows the first.

    Args:
        n_observables: One or more.
        width: Width of the first observable.
        shift: Added to the mean of the first observable.
        correlation: Between the first and the second observable.
        tail: Share of events in which the first observable is uniform in ``TAIL``.
        slope: Change of the mean of the first observable per unit of theta.
        has_theta: Whether there is a theta at all.
    """

    def __init__(
        self, n_observables=3, width=1.0, shift=0.0, correlation=0.0, tail=0.0, slope=0.5, has_theta=True
    ) -> None:
        observables = tuple(Observable(f"x{number}", -LIMIT, LIMIT, unit="GeV") for number in range(n_observables))
        axes = Axes(observables, ("theta",), ((-1.0, 1.0),)) if has_theta else Axes(observables)
        choices = {"width": width, "shift": shift, "correlation": correlation, "tail": tail, "slope": slope}
        super().__init__(axes, n_observables=n_observables, has_theta=has_theta, **choices)

    def _gaussian(self, axis, x, theta):
        """Mean and width of an observable given those before, from arrays or tensors."""
        if axis == 0:
            return self.shift + (self.slope * theta[..., 0] if self.has_theta else 0.0), self.width
        if axis == 1:
            return self.correlation * x[:, 0], np.sqrt(1 - self.correlation**2)
        return 0.0, 1.0

    def _log_prob(self, x, theta):
        total = tf.zeros_like(x[:, 0])
        for axis in range(self.n_observables):
            mean, width = self._gaussian(axis, x, theta)
            mass = _ndtr((LIMIT - mean) / width) - _ndtr((-LIMIT - mean) / width)
            norm = tf.math.log(np.sqrt(2 * np.pi) * width * mass)
            log_density = -0.5 * ((x[:, axis] - mean) / width) ** 2 - norm
            if axis == 0 and self.tail:
                is_tail = (x[:, 0] > TAIL[0]) & (x[:, 0] < TAIL[1])
                flat = tf.where(is_tail, tf.constant(-np.log(TAIL[1] - TAIL[0]), tf.float64), NOTHING)
                parts = [log_density + np.log1p(-self.tail), flat + np.log(self.tail)]
                log_density = tf.reduce_logsumexp(tf.stack(parts), axis=0)
            total += log_density
        return total

    def sample(self, n, theta=None, *, seed=None):
        rng = np.random.default_rng(seed)
        theta = None if theta is None else np.atleast_1d(np.asarray(theta, dtype=float))
        x = np.zeros((n, self.n_observables))
        for axis in range(self.n_observables):
            mean, width = self._gaussian(axis, x, theta)
            low, high = ndtr((-LIMIT - mean) / width), ndtr((LIMIT - mean) / width)
            x[:, axis] = mean + width * ndtri(low + rng.random(n) * (high - low))
            if axis == 0 and self.tail:
                is_tail = rng.random(n) < self.tail
                x[is_tail, 0] = rng.uniform(*TAIL, is_tail.sum())
        return np.clip(x, -LIMIT, LIMIT)

    def to_uniform(self, x, theta=None, *, seed=0):
        del seed
        theta = None if theta is None else np.atleast_1d(np.asarray(theta, dtype=float))
        result = np.empty_like(x)
        for axis in range(self.n_observables):
            mean, width = self._gaussian(axis, x, theta)
            low, high = ndtr((-LIMIT - mean) / width), ndtr((LIMIT - mean) / width)
            result[:, axis] = (ndtr((x[:, axis] - mean) / width) - low) / (high - low)
            if axis == 0 and self.tail:
                flat = np.clip((x[:, 0] - TAIL[0]) / (TAIL[1] - TAIL[0]), 0, 1)
                result[:, 0] = (1 - self.tail) * result[:, 0] + self.tail * flat
        return result


def _ndtr(z):
    return 0.5 * tf.math.erfc(-tf.convert_to_tensor(z, tf.float64) / np.sqrt(2))


def events(density, n, seed, *, kind="plain"):
    """Events of the density at random theta.

    Args:
        density: Where they come from.
        n: Number of events.
        seed: Seed.
        kind: ``"plain"``, ``"grid"`` (theta is -1, 0 or 1), ``"weighted"`` or ``"negative"``. The weighted ones are
            drawn too rarely in places, which their weights make good. Of the negative ones about a tenth has weight
            -1, more on one side of the first observable; the mean weight at any place is one.
    """
    rng = np.random.default_rng([77, seed])
    theta = None
    if density.has_theta:
        theta = rng.choice([-1.0, 0.0, 1.0], (n, 1)) if kind == "grid" else rng.uniform(-1, 1, (n, 1))
    x, weights = density.sample(n, theta, seed=int(rng.integers(2**32))), None
    if kind == "weighted":
        probability = 0.2 + 0.8 / (1 + np.exp(-2 * x[:, -1]))
        keep = rng.random(n) < probability
        x, weights = x[keep], 1 / probability[keep]
        theta = None if theta is None else theta[keep]
    elif kind == "negative":
        share = 0.1 * (1 + np.tanh(x[:, 0]))
        weights = np.where(rng.random(n) < share, -1.0, (1 + share) / (1 - share))
    return EventSample(density.observables, x, theta=theta, theta_names=density.theta_names, weights=weights)
