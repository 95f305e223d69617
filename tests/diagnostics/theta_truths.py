"""Densities that are known exactly, in TensorFlow, and can be distorted by a known amount."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from known_density import KnownDensity

from zfit_egmm import EventSample, Observable
from zfit_egmm.demo import toy
from zfit_egmm.density.axes import Axes

LIMIT = 12.0


class Gaussian(KnownDensity):
    """One observable with mean ``slope * theta + bend * theta^2``; what lies beyond the range is negligible."""

    def __init__(self, slope=1.0, width=1.0, bend=0.0):
        axes = Axes((Observable("x", -LIMIT, LIMIT),), ("t",), ((-1.0, 1.0),))
        super().__init__(axes, slope=slope, width=width, bend=bend)

    def _log_prob(self, x, theta):
        mean = self.slope * theta[..., 0] + self.bend * theta[..., 0] ** 2
        return -0.5 * ((x[:, 0] - mean) / self.width) ** 2 - np.log(self.width * np.sqrt(2 * np.pi))

    def events(self, n, theta, seed, *, has_weights=False):
        """Events at each of some theta, or at theta per event; a tenth of them may have negative weights."""
        rng = np.random.default_rng(seed)
        values = np.repeat(theta, n)
        x = rng.normal(self.slope * values + self.bend * values**2, self.width)
        weights = None
        if has_weights:
            # The mean weight at any place is one.
            share = 0.1 * (1 + np.tanh(x))
            weights = np.where(rng.random(len(x)) < share, -1.0, (1 + share) / (1 - share))
        return EventSample(self.observables, x[:, None], theta=values, theta_names=("t",), weights=weights)


class Plane(KnownDensity):
    """Two observables with mean ``matrix theta`` and width one: scores and information are known."""

    def __init__(self, matrix=((1.0, 0.5), (0.0, 1.0))):
        observables = tuple(Observable(name, -LIMIT, LIMIT) for name in "xy")
        super().__init__(Axes(observables, ("a", "b"), ((-1.0, 1.0), (-1.0, 1.0))), matrix=matrix)

    def _log_prob(self, x, theta):
        mean = tf.linalg.matvec(tf.constant(self.matrix, tf.float64), theta)
        return -0.5 * tf.reduce_sum((x - mean) ** 2, axis=1) - np.log(2 * np.pi)

    def events(self, n, points, seed):
        theta = np.repeat(np.asarray(points, dtype=float), n, axis=0)
        x = np.random.default_rng(seed).normal(theta @ np.array(self.matrix).T)
        return EventSample(self.observables, x, theta=theta, theta_names=self.theta_names)


class ToyTruth(KnownDensity):
    """The toy's own density, with a dependence on the first parameter that can be off by a factor."""

    def __init__(self, factor=1.0):
        super().__init__(Axes(toy.observables(), ("cx", "cy"), ((-1.5, 1.5), (-1.5, 1.5))), factor=factor)

    def _log_prob(self, x, theta):
        cx, cy = self.factor * theta[..., 0], theta[..., 1]
        t0, t1, x2, x3 = (x[:, 0] - 100) / 700, (x[:, 1] - 100) / 700, x[:, 2], x[:, 3]
        rate = 2 * (2 - tf.abs(cx))
        first = tf.math.log(rate) - rate * t0 - tf.math.log(-700 * tf.math.expm1(-rate))
        inside = _ndtr((1 - t0) / toy.WIDTH) - _ndtr(-t0 / toy.WIDTH)
        second = -0.5 * ((t1 - t0) / toy.WIDTH) ** 2 - tf.math.log(np.sqrt(2 * np.pi) * 700 * toy.WIDTH * inside)
        flat, cosine = (toy._norm_x2(c) for c in (0.0, 1.0))
        z = x2 / np.pi
        shape = (1 + 4 * z**2 - 5 * z**4) * (1 + 0.4 * cx * tf.sin(x2) + 0.5 * cy * tf.cos(x2))
        third = tf.math.log(shape) - tf.math.log(flat + cy * (cosine - flat))
        y = x3 + 0.6 * (tf.sqrt(4 + tf.abs(cx)) + tf.abs(cy)) * (2 * t1 - 1 + z)
        edges = tf.nn.softplus(toy.ALPHA * (y - 1) - 1) + tf.nn.softplus(-toy.ALPHA * (y + 1) - 1)
        fourth = np.log(toy.ALPHA / (2 * toy.K)) + np.log(-np.expm1(-2 * toy.K)) - edges
        return first + second + third + fourth


def _ndtr(x):
    return 0.5 * tf.math.erfc(-x / np.sqrt(2))
