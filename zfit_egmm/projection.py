"""Projection of one observable onto the latent axis, ``u = h(x)``, and back.

``h`` maps the response of the data, a blend of their cumulative distribution and a straight line,
onto the cumulative distribution of a target that is flat in the middle and falls off at the ends:
the latent density is then easy to describe by overlapping Gaussians.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf
from scipy.interpolate import PchipInterpolator
from scipy.special import expit

from zfit_egmm.observables import LATENT_LIMIT, Observable

ALPHA, BETA, GAMMA = 4.0, 3.0, 1.0
"""Constants of the target density, eq. 4 of Menary and Price, "Learning to discover"."""

LINEAR_BINS = 200
SMOOTH_STEPS = 8
EVENTS_PER_SMOOTH_BIN = 400


@dataclass(frozen=True)
class Projection:
    """Strictly monotone map between an observable and its latent coordinate.

    Between knots it is a straight line (``kind="linear"``) or a monotone rational quadratic with a
    continuous derivative (``kind="smooth"``); both invert analytically.

    Args:
        kind: ``"smooth"`` or ``"linear"``.
        knots_x: Positions in the unit of the observable, increasing, shape ``(n_knots,)``.
        knots_u: Latent coordinates, increasing, shape ``(n_knots,)``.
        slopes: ``du/dx`` at the knots, positive, shape ``(n_knots,)``; not used by ``"linear"``.

    Raises:
        ValueError: If the knots or slopes do not describe a strictly monotone map.

    Source:
        Rational quadratic: Gregory and Delbourgo, IMA J. Numer. Anal. 2 (1982) 123.
    """

    kind: Literal["smooth", "linear"]
    knots_x: np.ndarray
    knots_u: np.ndarray
    slopes: np.ndarray

    def __post_init__(self) -> None:
        if self.kind not in ("smooth", "linear"):
            raise ValueError(f"projection kind must be 'smooth' or 'linear', got {self.kind!r}")
        arrays = (self.knots_x, self.knots_u, self.slopes)
        if len({array.shape for array in arrays}) != 1 or self.knots_x.ndim != 1 or len(self.knots_x) < 2:
            raise ValueError(f"knots and slopes need one common shape, got {[a.shape for a in arrays]}")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("the projection has knots or slopes that are not finite")
        if np.any(np.diff(self.knots_x) <= 0) or np.any(np.diff(self.knots_u) <= 0) or np.any(self.slopes <= 0):
            raise ValueError("the projection is not strictly monotone")

    def latent(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Latent coordinate and its slope.

        Args:
            x: Inside the range, in the observable's unit, float64, shape ``(n_events,)``.

        Returns:
            ``u`` and ``log(du/dx)``, each float64 of shape ``(n_events,)``.
        """
        x = tf.convert_to_tensor(x, tf.float64)
        x0, width, u0, height, left, right = self._interval(x, self.knots_x)
        xi = (x - x0) / width
        if self.kind == "linear":
            return u0 + height * xi, tf.math.log(height / width)
        mean = height / width
        mixed = xi * (1 - xi)
        denominator = mean + (left + right - 2 * mean) * mixed
        u = u0 + height * (mean * xi * xi + left * mixed) / denominator
        rise = right * xi * xi + 2 * mean * mixed + left * (1 - xi) ** 2
        return u, 2 * tf.math.log(mean / denominator) + tf.math.log(rise)

    def physical(self, u: tf.Tensor) -> tf.Tensor:
        """Inverse of :meth:`latent`.

        Args:
            u: Latent coordinates in ``[-5, 5]``, float64, shape ``(n_events,)``.

        Returns:
            ``x`` in the observable's unit, inside its range, shape ``(n_events,)``.
        """
        u = tf.convert_to_tensor(u, tf.float64)
        x0, width, u0, height, left, right = self._interval(u, self.knots_u)
        rise = u - u0
        if self.kind == "linear":
            x = x0 + width * rise / height
        else:
            mean = height / width
            curvature = rise * (left + right - 2 * mean)
            a = height * (mean - left) + curvature
            b = height * left - curvature
            c = -mean * rise
            root = tf.sqrt(tf.maximum(b * b - 4 * a * c, 0.0))
            x = x0 + width * (-2 * c) / (b + root)
        return tf.clip_by_value(x, self.knots_x[0], self.knots_x[-1])

    def _interval(self, at: tf.Tensor, knots: np.ndarray) -> list[tf.Tensor]:
        """Left knot, width, latent height and slopes of the interval of each value."""
        table = np.stack(
            [
                self.knots_x[:-1],
                np.diff(self.knots_x),
                self.knots_u[:-1],
                np.diff(self.knots_u),
                self.slopes[:-1],
                self.slopes[1:],
            ],
            axis=1,
        )
        index = tf.searchsorted(tf.constant(knots[1:-1]), at, side="right")
        return tf.unstack(tf.gather(tf.constant(table), index), axis=1)


def build_projection(
    observable: Observable,
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    kind: Literal["smooth", "linear"] = "smooth",
) -> Projection:
    """Derive the projection of a continuous observable from events.

    Args:
        observable: Its range and ``linear_fraction``.
        values: Events of all theta together, shape ``(n_events,)``, in the observable's unit.
        weights: Event weights, shape ``(n_events,)``; with negative ones the map stays monotone.
        kind: ``"linear"`` is the paper's map with straight lines between 201 knots, ``"smooth"``
            a smoothed one, free of the statistical noise and steps of the first.

    Returns:
        The map onto ``[-5, 5]``.

    Source:
        Eqs. 3 and 4 of Menary and Price, "Learning to discover".
    """
    position = (np.asarray(values, dtype=float) - observable.low) / (observable.high - observable.low)
    order = np.argsort(position)
    position = position[order]
    mass = np.ones(len(position)) if weights is None else np.asarray(weights, dtype=float)[order]
    build = _linear_knots if kind == "linear" else _smooth_knots
    t, u, slope = build(position, mass, observable.linear_fraction)
    knots_x = observable.low + (observable.high - observable.low) * t
    knots_x[-1] = observable.high
    return Projection(kind, knots_x, u, slope / (observable.high - observable.low))


def target_cdf(u: np.ndarray) -> np.ndarray:
    """Cumulative distribution of the latent target on ``[-5, 5]``.

    Source:
        Integral of eq. 4 of Menary and Price, "Learning to discover", in closed form.
    """
    low, high = _target_integral(np.array([-LATENT_LIMIT, LATENT_LIMIT]))
    return (_target_integral(u) - low) / (high - low)


def target_quantile(fraction: np.ndarray) -> np.ndarray:
    """Inverse of :func:`target_cdf`, for fractions in ``[0, 1]``."""
    low, high = _target_integral(np.array([-LATENT_LIMIT, LATENT_LIMIT]))
    integral = low + np.asarray(fraction) * (high - low)
    total = 2 * (ALPHA * BETA + GAMMA)
    rise = np.log(np.expm1(integral)) - np.log1p(-np.exp(integral - total))
    return np.clip((rise - GAMMA) / ALPHA - BETA, -LATENT_LIMIT, LATENT_LIMIT)


def target_density(u: np.ndarray) -> np.ndarray:
    """Density of the latent target on ``[-5, 5]``, the derivative of :func:`target_cdf`."""
    low, high = _target_integral(np.array([-LATENT_LIMIT, LATENT_LIMIT]))
    rise, fall = expit(ALPHA * (u + BETA) + GAMMA), expit(-ALPHA * (u - BETA) + GAMMA)
    return ALPHA * rise * fall * -np.expm1(-2 * (ALPHA * BETA + GAMMA)) / (high - low)


def _target_integral(u: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, ALPHA * (u + BETA) + GAMMA) - np.logaddexp(0, ALPHA * (u - BETA) - GAMMA)


def _empirical_cdf(position: np.ndarray, mass: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weighted CDF at increasing points, made monotone where negative weights let it fall."""
    cumulative = np.concatenate([[0.0], np.cumsum(mass)])
    value = cumulative[np.searchsorted(position, at, side="right")] / cumulative[-1]
    return np.clip(np.maximum.accumulate(value), 0.0, 1.0)


def _linear_knots(position: np.ndarray, mass: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The paper's map: both responses are straight lines between 201 equidistant knots."""
    t = np.linspace(0, 1, LINEAR_BINS + 1)
    response = fraction * t + (1 - fraction) * _pinned(_empirical_cdf(position, mass, t))
    latent = np.linspace(-LATENT_LIMIT, LATENT_LIMIT, LINEAR_BINS + 1)
    latent_response = target_cdf(latent)
    # The composition of two piecewise-linear maps has the knots of both.
    levels = np.union1d(response, latent_response)
    keep = np.concatenate([[True], np.diff(levels) > 1e-12])
    levels = levels[keep]
    levels[-1] = 1.0
    t_knots, u_knots = np.interp(levels, response, t), np.interp(levels, latent_response, latent)
    slope = np.gradient(u_knots, t_knots)
    return t_knots, u_knots, slope


def _smooth_knots(position: np.ndarray, mass: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A smooth response from the logarithm of the density in bins of equal response."""
    effective = mass.sum() ** 2 / np.square(mass).sum()
    n_bins = int(np.clip(effective / EVENTS_PER_SMOOTH_BIN, 6, 64))
    fine = np.unique(np.concatenate([np.linspace(0, 1, 4001), _quantiles(position, 4001)]))
    response = fraction * fine + (1 - fraction) * _pinned(_empirical_cdf(position, mass, fine))
    edges = np.interp(np.linspace(0, 1, n_bins + 1), response, fine)
    edges[0], edges[-1] = 0.0, 1.0
    # Spikes of identical values would give empty bins; a bin is never narrower than 1e-5 of the range.
    edges = edges[np.concatenate([[True], np.diff(edges) > 1e-5])]
    edges[-1] = 1.0
    at_edges = np.interp(edges, fine, response)
    density = np.diff(at_edges) / np.diff(edges)
    centres = 0.5 * (edges[1:] + edges[:-1])
    t = np.unique(np.concatenate([np.linspace(a, b, SMOOTH_STEPS + 1) for a, b in itertools.pairwise(edges)]))
    log_density = _interpolate(centres, np.log(density), t)
    smooth = np.exp(log_density)
    middle = np.exp(_interpolate(centres, np.log(density), 0.5 * (t[1:] + t[:-1])))
    pieces = np.diff(t) * (smooth[1:] + 4 * middle + smooth[:-1]) / 6
    cumulative = np.concatenate([[0.0], np.cumsum(pieces)])
    u = target_quantile(cumulative / cumulative[-1])
    u[0], u[-1] = -LATENT_LIMIT, LATENT_LIMIT
    return t, u, smooth / cumulative[-1] / target_density(u)


def _interpolate(centres: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Shape-preserving interpolation, constant beyond the outermost centres."""
    if len(centres) < 2:
        return np.full(len(at), values[0])
    return PchipInterpolator(centres, values)(np.clip(at, centres[0], centres[-1]))


def _quantiles(position: np.ndarray, number: int) -> np.ndarray:
    return position[np.linspace(0, len(position) - 1, min(number, len(position))).astype(int)]


def _pinned(cdf: np.ndarray) -> np.ndarray:
    """The same CDF from exactly zero to exactly one at the ends of the range."""
    pinned = cdf.copy()
    pinned[0], pinned[-1] = 0.0, 1.0
    return pinned
