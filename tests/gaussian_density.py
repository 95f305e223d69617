"""A density with the protocol of a learned one, known exactly, that can be distorted by a known amount."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri

from zfit_egmm import EventSample, Observable

LIMIT = 6.0
TAIL = (2.5, 3.5)


@dataclass(frozen=True)
class GaussianDensity:
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

    n_observables: int = 3
    width: float = 1.0
    shift: float = 0.0
    correlation: float = 0.0
    tail: float = 0.0
    slope: float = 0.5
    has_theta: bool = True

    @property
    def observables(self):
        return tuple(Observable(f"x{number}", -LIMIT, LIMIT, unit="GeV") for number in range(self.n_observables))

    @property
    def theta_names(self):
        return ("theta",) if self.has_theta else ()

    @property
    def theta_range(self):
        return ((-1.0, 1.0),) if self.has_theta else ()

    def _gaussian(self, axis, x, theta):
        """Mean and width of an observable given those before."""
        if axis == 0:
            mean = self.shift + (self.slope * np.atleast_2d(theta)[:, 0] if self.has_theta else 0.0)
            return np.broadcast_to(mean, len(x)), self.width
        if axis == 1:
            return self.correlation * x[:, 0], np.sqrt(1 - self.correlation**2)
        return np.zeros(len(x)), 1.0

    def log_prob(self, x, theta=None):
        x = np.asarray(x, dtype=float)
        total = np.zeros(len(x))
        for axis in range(self.n_observables):
            mean, width = self._gaussian(axis, x, theta)
            mass = ndtr((LIMIT - mean) / width) - ndtr((-LIMIT - mean) / width)
            log_density = -0.5 * ((x[:, axis] - mean) / width) ** 2 - np.log(np.sqrt(2 * np.pi) * width * mass)
            if axis == 0 and self.tail:
                with np.errstate(divide="ignore"):
                    flat = np.log(((x[:, 0] > TAIL[0]) & (x[:, 0] < TAIL[1])) / (TAIL[1] - TAIL[0]))
                parts = [log_density + np.log1p(-self.tail), flat + np.log(self.tail)]
                log_density = logsumexp(parts, axis=0)
            total += log_density
        return total

    def sample(self, n, theta=None, *, seed=None):
        rng = np.random.default_rng(seed)
        x = np.zeros((n, self.n_observables))
        for axis in range(self.n_observables):
            mean, width = self._gaussian(axis, x, theta)
            low, high = ndtr((-LIMIT - mean) / width), ndtr((LIMIT - mean) / width)
            x[:, axis] = mean + width * ndtri(low + rng.random(n) * (high - low))
            if axis == 0 and self.tail:
                is_tail = rng.random(n) < self.tail
                x[is_tail, 0] = rng.uniform(*TAIL, is_tail.sum())
        return np.clip(x, -LIMIT, LIMIT)

    def conditional_cdf(self, x, theta=None, *, seed=0):
        del seed
        result = np.empty_like(x)
        for axis in range(self.n_observables):
            mean, width = self._gaussian(axis, x, theta)
            low, high = ndtr((-LIMIT - mean) / width), ndtr((LIMIT - mean) / width)
            result[:, axis] = (ndtr((x[:, axis] - mean) / width) - low) / (high - low)
            if axis == 0 and self.tail:
                flat = np.clip((x[:, 0] - TAIL[0]) / (TAIL[1] - TAIL[0]), 0, 1)
                result[:, 0] = (1 - self.tail) * result[:, 0] + self.tail * flat
        return result


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
