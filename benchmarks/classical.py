"""Classical estimates of a density to compare with: a Gaussian copula and a kernel density estimate.

Both are conditional on theta if there is any, normalised over the ranges, and choose the widths of their
kernels by the leave-one-out likelihood of the training events.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy import stats
from scipy.interpolate import PchipInterpolator
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, ndtr, ndtri

from zfit_egmm import EventSample, Observable

N_GRID, CHUNK, N_JUDGES = 1001, 1000, 500
FACTORS, POWERS = (0.12, 0.2, 0.3, 0.45, 0.65, 1.0, 1.4), (0.0, 0.2, 0.4)
MARGINAL_FACTORS, MARGINAL_POWERS = (0.15, 0.25, 0.45, 0.7, 1.0), (0.0, 0.5)
UNIFORM_SHARE = 1e-4
THETA_WIDTHS = (0.3, 0.6, 1.2, 1e3)


class Marginal:
    """Kernel density estimate of one observable, reflected at the ends of its range, plus a little everywhere."""

    def __init__(self, observable: Observable, values: np.ndarray) -> None:
        self.low, self.size = observable.low, observable.high - observable.low
        t = self._position(values)
        width = 0.9 * min(t.std(), stats.iqr(t) / 1.35) * len(t) ** -0.2
        pilot = _reflected(t, t, width, _gauss).mean(axis=1) / width
        widths = [f * width * (pilot / stats.gmean(pilot)) ** -p for f in MARGINAL_FACTORS for p in MARGINAL_POWERS]

        single = t.astype(np.float32)

        def likelihood(width: np.ndarray) -> float:
            width = width.astype(np.float32)
            kernels = _reflected(single, single, width, _gauss) / width
            np.fill_diagonal(kernels, 0)
            return np.log(kernels.mean(axis=1) + UNIFORM_SHARE).sum()

        grid, best = np.linspace(0, 1, N_GRID), max(widths, key=likelihood)
        cdf = (_reflected(grid, t, best, ndtr) - _reflected(np.zeros(1), t, best, ndtr)).mean(axis=1)
        self.cdf = PchipInterpolator(grid, (1 - UNIFORM_SHARE) * cdf / cdf[-1] + UNIFORM_SHARE * grid)
        self.slope = self.cdf.derivative()

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normal scores, and the log of the density over that of a standard normal."""
        t = self._position(values)
        z = ndtri(np.clip(self.cdf(t), 1e-9, 1 - 1e-9))
        return z, np.log(self.slope(t) / self.size) - stats.norm.logpdf(z)

    def _position(self, values: np.ndarray) -> np.ndarray:
        return (values - self.low) / self.size


def _reflected(at: np.ndarray, centres: np.ndarray, width: np.ndarray, kernel: Callable) -> np.ndarray:
    """Sum of a kernel and its mirror images, shape ``(n_at, n_centres)``."""
    return sum(kernel((at[:, np.newaxis] - image) / width) for image in (centres, -centres, 2 - centres))


def _gauss(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)


def _judges(n: int) -> np.ndarray:
    """Rows of the events that choose the widths."""
    return np.unique(np.linspace(0, n - 1, N_JUDGES).astype(int))


class Classical:
    """A Gaussian copula and a kernel density estimate of the same events, conditional on theta.

    Both describe the normal scores of the observables, so that hard ranges do not hurt them.
    """

    def __init__(self, sample: EventSample) -> None:
        self.marginals = [Marginal(o, column) for o, column in zip(sample.observables, sample.x.T, strict=True)]
        self.points = [np.unique(column) for column in sample.theta.T]
        ranks = [stats.rankdata(column) / (len(sample) + 1) for column in sample.theta.T]
        self.scores = [
            np.array([ndtri(rank[column == point][0]) for point in points]) / ndtri(rank).std()
            for rank, column, points in zip(ranks, sample.theta.T, self.points, strict=True)
        ]
        self.z, self.theta = self._normal(sample)[0], self._theta(sample)
        self.n_x = self.z.shape[1]
        joint = np.corrcoef(np.concatenate([self.z, self.theta], axis=1), rowvar=False)
        x, theta = joint[: self.n_x], joint[self.n_x :, self.n_x :]
        self.slope = np.linalg.solve(theta, x[:, self.n_x :].T)
        self.correlation = x[:, : self.n_x] - x[:, self.n_x :] @ self.slope
        self.whiten = np.linalg.inv(np.linalg.cholesky(np.cov(self.z, rowvar=False))).T

    def copula(self, sample: EventSample) -> np.ndarray:
        """Log density of the Gaussian copula."""
        z, log_density = self._normal(sample)
        z = z - self._theta(sample) @ self.slope
        return log_density + stats.multivariate_normal(cov=self.correlation).logpdf(z)

    def kde(self, sample: EventSample) -> np.ndarray:
        """Log density of the kernel density estimate."""
        z, log_density = self._normal(sample)
        theta, log_kernels = self._theta(sample), []
        for start in range(0, len(z), CHUNK):
            part = slice(start, start + CHUNK)
            distance = cdist(z[part] @ self.whiten, self.z @ self.whiten, "sqeuclidean")
            log_kernels.append(self._kde(distance, self._theta_distance(theta[part]), *self._best_widths))
        return log_density + np.concatenate(log_kernels)

    def _kde(self, distance: np.ndarray, theta_distance: np.ndarray, widths: np.ndarray, width: float) -> np.ndarray:
        """Joint estimate over that of theta."""
        norm = self.n_x * (np.log(widths) + 0.5 * np.log(2 * np.pi)) - np.linalg.slogdet(self.whiten)[1]
        weights = -0.5 * theta_distance / width**2
        return logsumexp(weights - 0.5 * distance / widths**2 - norm, axis=1) - logsumexp(weights, axis=1)

    @cached_property
    def _best_widths(self) -> tuple[np.ndarray, float]:
        """Widths of the kernels with the best leave-one-out likelihood, in units of the covariance, and of theta."""
        white = self.z @ self.whiten
        scott = len(white) ** (-1 / (self.n_x + 4))
        distance = cdist(white, white, "sqeuclidean")
        log_pilot = self._kde(distance, np.zeros_like(distance), np.full(len(white), scott), 1.0)
        judges = _judges(len(white))
        distance, theta_distance = distance[judges], self._theta_distance(self.theta[judges])
        # An event does not contribute to the estimate at its own place.
        theta_distance[np.arange(len(judges)), judges] = np.inf
        candidates = [
            (f * scott * np.exp(-p * (log_pilot - log_pilot.mean())), width)
            for f in FACTORS
            for p in POWERS
            for width in (THETA_WIDTHS if self.points else (1.0,))
        ]
        return max(candidates, key=lambda c: self._kde(distance, theta_distance, *c).sum())

    def _theta_distance(self, theta: np.ndarray) -> np.ndarray:
        if not self.points:
            return np.zeros((len(theta), len(self.theta)))
        return cdist(theta, self.theta, "sqeuclidean")

    def _normal(self, sample: EventSample) -> tuple[np.ndarray, np.ndarray]:
        scores = [marginal(column) for marginal, column in zip(self.marginals, sample.x.T, strict=True)]
        return np.stack([z for z, _ in scores], axis=1), np.sum([log for _, log in scores], axis=0)

    def _theta(self, sample: EventSample) -> np.ndarray:
        columns = zip(sample.theta.T, self.points, self.scores, strict=True)
        return np.array([np.interp(*column) for column in columns]).T.reshape(len(sample), -1)
