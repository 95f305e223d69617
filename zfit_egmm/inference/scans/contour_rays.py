"""trace_rays: the border of a joint region along rays from the best fit."""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from zfit_egmm.inference.likelihood.profiled import Profiled
from zfit_egmm.inference.scans.line_search import Place, bracket, crossing, line_from
from zfit_egmm.inference.scans.profile import scan_range
from zfit_egmm.inference.scans.progress import ScanProgress

TOLERANCE = 3e-4
"""Of the length of a ray."""

REFINEMENT = 8
"""Points of the polygon per ray."""

WRAP = 4


def trace_rays(profiled: Profiled, threshold: float, n_rays: int, bar: ScanProgress) -> tuple[list[Place], np.ndarray]:
    """Follow rays from the best fit to where ``-2 Delta ln L`` reaches a threshold, or to the limits.

    Args:
        profiled: Profile likelihood of two parameters.
        threshold: Of ``-2 Delta ln L``.
        n_rays: Number of rays, equally spaced in angle in coordinates in which the region is about a circle.
        bar: Counts the rays.

    Returns:
        The end of every ray, and the polygon through them, closed, counterclockwise, shape ``(n, 2)``.

    Raises:
        ValueError: If the region has no end.
    """
    shape = _shape(profiled, threshold)
    angles = 2 * np.pi * np.arange(n_rays) / n_rays
    bar.plan(n_rays)
    ends: list[Place] = []
    lengths = np.full(n_rays, np.nan)
    length = math.sqrt(threshold)
    for number, angle in enumerate(angles):
        line = line_from(profiled, profiled.best, shape @ [np.cos(angle), np.sin(angle)])
        end, outside = bracket(profiled, line, threshold, length)
        if outside is not None:
            end = crossing(profiled, line, end, outside, threshold, TOLERANCE)
            length = lengths[number] = end.distance
        elif end.distance < line.end:
            raise ValueError(
                f"the joint region of {' and '.join(profiled.names)} has no end: give the parameters limits, or data "
                "that constrain them"
            )
        ends.append(end)
        bar.advance()
    return ends, _polygon(profiled, shape, angles, lengths)


def _shape(profiled: Profiled, threshold: float) -> np.ndarray:
    """Matrix that turns a circle into about the shape of the region, determinant positive."""
    best = profiled.best
    if best.covariance is not None and not set(profiled.names) & set(best.at_limit):
        rows = [list(best.errors).index(name) for name in profiled.names]
        return np.linalg.cholesky(best.covariance[np.ix_(rows, rows)])
    lengths = []
    for name in profiled.names:
        ends = scan_range(Profiled(profiled.likelihood, [name], minimum=best), threshold)
        lengths.append(max(abs(end - best.values[name]) for end in ends))
    return np.diag(lengths) / math.sqrt(threshold)


def _polygon(profiled: Profiled, shape: np.ndarray, angles: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Points of the border, between the rays by interpolation of their length, inside the limits.

    Rays that end at the limits have the length NaN.
    """
    fine = np.linspace(0, 2 * np.pi, REFINEMENT * len(angles) + 1)
    directions = np.stack([np.cos(fine), np.sin(fine)]).T @ shape.T
    radius = np.array([line_from(profiled, profiled.best, direction).end for direction in directions])
    is_known = np.isfinite(lengths)
    if is_known.any():
        # Next to a limit the length has to go on smoothly beyond it.
        filled = np.interp(angles, angles[is_known], lengths[is_known], period=2 * np.pi)
        wrapped = np.array([*filled[-WRAP:], *filled, *filled[:WRAP]])
        step = angles[1] - angles[0]
        length_at = Akima1DInterpolator(step * np.arange(-WRAP, len(angles) + WRAP), wrapped)
        radius = np.minimum(radius, np.maximum(length_at(fine), 0.0))
    points = np.array([profiled.best.values[name] for name in profiled.names]) + radius[:, np.newaxis] * directions
    points[-1] = points[0]
    return points
