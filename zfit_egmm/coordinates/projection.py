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

from zfit_egmm.coordinates.latent_target import LatentTarget
from zfit_egmm.observables import LATENT_LIMIT, Observable

LINEAR_BINS = 200
SMOOTH_STEPS = 8
SOFT_END_STEPS = 40
SMALLEST_STEP = 1e-6
EVENTS_PER_SMOOTH_BIN = 400
END_PIECE, END_EVENTS = 0.005, 50
VANISHING = (0.002, 0.3)
"""Share of the events in the outermost piece of response, over its size, at which a density vanishes just there.
Below, hardly any event comes near the end of the range."""


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
        if any(array.dtype != np.float64 for array in arrays):
            raise ValueError(f"knots and slopes are float64 numbers, got {[str(a.dtype) for a in arrays]}")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("the projection has knots or slopes that are not finite")
        if np.any(np.diff(self.knots_x) <= 0) or np.any(np.diff(self.knots_u) <= 0) or np.any(self.slopes <= 0):
            raise ValueError("the projection is not strictly monotone")
        if self.kind == "smooth" and not np.isfinite(self.latent(tf.constant(self._probes()))[1]).all():
            raise ValueError("the slopes of the projection do not fit its knots")

    def _probes(self) -> np.ndarray:
        """Places in and at the ends of every piece."""
        fractions = np.linspace(0, 1, 9)[:-1]
        places = self.knots_x[:-1, np.newaxis] + fractions * np.diff(self.knots_x)[:, np.newaxis]
        return np.append(places.ravel(), self.knots_x[-1])

    def latent(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Latent coordinate and its slope.

        Args:
            x: Inside the range, in the observable's unit, float64, shape ``(n_events,)``.

        Returns:
            ``u`` and ``log(du/dx)``, each float64 of shape ``(n_events,)``.
        """
        x = tf.convert_to_tensor(x, tf.float64)
        start, width = self.knots_x[:-1], np.diff(self.knots_x)
        base, height = self.knots_u[:-1], np.diff(self.knots_u)
        mean, left, right = height / width, self.slopes[:-1], self.slopes[1:]
        if self.kind == "linear":
            x0, u0, slope, log_slope = _looked_up(x, self.knots_x, start, base, mean, np.log(mean))
            return u0 + slope * (x - x0), log_slope
        # Polynomials in the position xi inside the interval, of the coordinate and of its slope.
        bend, ratio = (left + right) / mean - 2, height / mean
        rows = (start, 1 / width, base, ratio * left, ratio * (mean - left), bend, left, 2 * (mean - left))
        x0, per_width, u0, first, second, bend, *rise = _looked_up(x, self.knots_x, *rows, left + right - 2 * mean)
        xi = (x - x0) * per_width
        denominator = 1 + bend * (xi - xi * xi)
        u = u0 + xi * (first + second * xi) / denominator
        return u, tf.math.log((rise[0] + xi * (rise[1] + rise[2] * xi)) / (denominator * denominator))

    def physical(self, u: tf.Tensor) -> tf.Tensor:
        """Inverse of :meth:`latent`.

        Args:
            u: Latent coordinates in ``[-5, 5]``, float64, shape ``(n_events,)``.

        Returns:
            ``x`` in the observable's unit, inside its range, shape ``(n_events,)``.
        """
        u = tf.convert_to_tensor(u, tf.float64)
        widths, heights = np.diff(self.knots_x), np.diff(self.knots_u)
        rows = (self.knots_x[:-1], widths, self.knots_u[:-1], heights, self.slopes[:-1], self.slopes[1:])
        x0, width, u0, height, left, right = _looked_up(u, self.knots_u, *rows)
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


def _looked_up(at: tf.Tensor, knots: np.ndarray, *rows: np.ndarray) -> list[tf.Tensor]:
    """What each row holds for the interval that a value lies in."""
    index = tf.searchsorted(tf.constant(knots[1:-1]), at, side="right")
    return tf.unstack(tf.gather(tf.constant(np.stack(rows, axis=1)), index), axis=1)


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
    latent_response = LatentTarget().cdf(latent)
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
    target = LatentTarget(*_vanishes(position, mass, fraction))
    t = np.unique(np.concatenate([*_steps(edges), *_steps_of_soft_ends(edges, target)]))
    log_density = _interpolate(centres, np.log(density), t)
    smooth = np.exp(log_density)
    middle = np.exp(_interpolate(centres, np.log(density), 0.5 * (t[1:] + t[:-1])))
    pieces = np.diff(t) * (smooth[1:] + 4 * middle + smooth[:-1]) / 6
    cumulative = np.concatenate([[0.0], np.cumsum(pieces)])
    u = target.quantile(cumulative / cumulative[-1])
    u[0], u[-1] = -LATENT_LIMIT, LATENT_LIMIT
    return t, u, smooth / cumulative[-1] / target.density(u)


def _vanishes(position: np.ndarray, mass: np.ndarray, fraction: float) -> tuple[bool, bool]:
    """Whether the blend's share of data is small in the outermost piece of response on each side.

    A density that is finite at the end of the range, as of an angle or above a cut, is best left
    with its abrupt end; one that vanishes there is easier to describe if it fades out.
    """
    effective = mass.sum() ** 2 / np.square(mass).sum()
    piece = float(np.clip(END_EVENTS / effective, END_PIECE, 10 * END_PIECE))

    def is_soft(distance: np.ndarray) -> bool:
        order = np.argsort(distance)
        reached, share = distance[order], np.cumsum(mass[order]) / mass.sum()
        response = fraction * reached + (1 - fraction) * share
        inside = np.searchsorted(response, piece)
        ratio = share[inside - 1] / piece if inside else 0.0
        return bool(VANISHING[0] < ratio < VANISHING[1])

    return is_soft(position), is_soft(1 - position)


def _steps(edges: np.ndarray) -> list[np.ndarray]:
    return [np.linspace(a, b, SMOOTH_STEPS + 1) for a, b in itertools.pairwise(edges)]


def _steps_of_soft_ends(edges: np.ndarray, target: LatentTarget) -> list[np.ndarray]:
    """Knots that follow the steep map of a soft end, down to the smallest distance."""
    steps = []
    if target.is_soft_low:
        steps.append(np.geomspace(SMALLEST_STEP, edges[1], SOFT_END_STEPS))
    if target.is_soft_high:
        steps.append(1 - np.geomspace(SMALLEST_STEP, 1 - edges[-2], SOFT_END_STEPS))
    return steps


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
