"""A toy of four observables and two parameters whose density is known, to test with.

Source: Menary and Price, "Learning to discover", Appendix B, with these corrections: the primes in the
shift of x3 are kept, the second factor of q is rising, and the width of x1 given x0 is set to 0.05.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import trapezoid
from scipy.special import ndtr, ndtri

from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

SPARSE = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
DENSE = (-1.5, -1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0, 1.5)
X3_LIMIT = 6.5
WIDTH = 0.05
ALPHA, K = 10.0, 11.0
GRID = np.linspace(-np.pi, np.pi, 4001)


def observables() -> tuple[Observable, ...]:
    """The four observables; x3 has no physical limits, its range holds all but about 1e-20 of the events."""
    return (
        Observable("x0", 100, 800),
        Observable("x1", 100, 800),
        Observable("x2", -np.pi, np.pi),
        Observable("x3", -X3_LIMIT, X3_LIMIT),
    )


def _shape_x2(x2: np.ndarray, cx: np.ndarray | float, cy: np.ndarray | float) -> np.ndarray:
    z = x2 / np.pi
    return (1 + 4 * z**2 - 5 * z**4) * (1 + 0.4 * cx * np.sin(x2) + 0.5 * cy * np.cos(x2))


def _norm_x2(cy: np.ndarray) -> np.ndarray:
    """Integral of the shape of x2: the sine integrates to zero, the rest is linear in cy."""
    flat, cosine = (trapezoid(_shape_x2(GRID, 0.0, c), GRID) for c in (0.0, 1.0))
    return flat + cy * (cosine - flat)


def _shift_x3(x1: np.ndarray, x2: np.ndarray, cx: np.ndarray, cy: np.ndarray) -> np.ndarray:
    return 0.6 * (np.sqrt(4 + np.abs(cx)) + np.abs(cy)) * (2 * (x1 - 100) / 700 - 1 + x2 / np.pi)


def log_prob(x: ArrayLike, c: ArrayLike) -> np.ndarray:
    """True log density, nats.

    Args:
        x: Events, shape ``(n_events, 4)``.
        c: Parameters, shape ``(2,)`` or ``(n_events, 2)``.
    """
    x0, x1, x2, x3 = np.asarray(x, dtype=float).T
    cx, cy = np.atleast_2d(c).T
    t0, t1 = (x0 - 100) / 700, (x1 - 100) / 700
    rate = 2 * (2 - np.abs(cx))
    first = np.log(rate) - rate * t0 - np.log(700 * -np.expm1(-rate))
    pull = (t1 - t0) / WIDTH
    inside = ndtr((1 - t0) / WIDTH) - ndtr(-t0 / WIDTH)
    second = -0.5 * pull**2 - 0.5 * np.log(2 * np.pi) - np.log(700 * WIDTH * inside)
    third = np.log(_shape_x2(x2, cx, cy)) - np.log(_norm_x2(cy))
    y = x3 + _shift_x3(x1, x2, cx, cy)
    edges = np.logaddexp(0, ALPHA * (y - 1) - 1) + np.logaddexp(0, -ALPHA * (y + 1) - 1)
    fourth = np.log(ALPHA / (2 * K)) + np.log(-np.expm1(-2 * K)) - edges
    return first + second + third + fourth


def sample(n: int, c: ArrayLike, seed: int | np.random.Generator) -> np.ndarray:
    """Draw events at one parameter point, shape ``(n, 4)``."""
    rng = np.random.default_rng(seed)
    cx, cy = np.asarray(c, dtype=float)
    i = rng.random((4, n))
    rate = 2 * (2 - np.abs(cx))
    t0 = -np.log1p(i[0] * np.expm1(-rate)) / rate
    low, high = ndtr(-t0 / WIDTH), ndtr((1 - t0) / WIDTH)
    t1 = np.clip(t0 + WIDTH * ndtri(low + i[1] * (high - low)), 0, 1)
    density = _shape_x2(GRID, cx, cy)
    cdf = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    x2 = np.interp(i[2], cdf / cdf[-1], GRID)
    t = 2 * K * i[3]
    y = (np.log(np.expm1(t)) - K - np.log(-np.expm1(t - 2 * K))) / ALPHA
    x0, x1 = 100 + 700 * t0, 100 + 700 * t1
    return np.stack([x0, x1, x2, y - _shift_x3(x1, x2, cx, cy)], axis=1)


def grid_sample(n_per_point: int, values: tuple[float, ...] = SPARSE, seed: int = 0) -> EventSample:
    """Events at every point of a square grid of parameters."""
    rng = np.random.default_rng(seed)
    points = [(cx, cy) for cx in values for cy in values]
    x = np.concatenate([sample(n_per_point, point, rng) for point in points])
    theta = np.repeat(np.array(points), n_per_point, axis=0)
    return EventSample(observables(), x, theta=theta, theta_names=("cx", "cy"))


def kl(density: Any, point: tuple[float, float], n: int, seed: int) -> tuple[float, float]:
    """KL(truth || model) at a point with its standard error, nats per event."""
    x = sample(n, point, seed)
    difference = log_prob(x, np.array(point)) - density.log_prob(x, np.array(point))
    return float(difference.mean()), float(difference.std() / np.sqrt(n))


__all__ = ["DENSE", "SPARSE", "grid_sample", "kl", "log_prob", "observables", "sample"]
