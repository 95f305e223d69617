"""Where a profile likelihood crosses a threshold along a straight line in the plane of its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from zfit_egmm.inference.likelihood.minimum import Minimum
from zfit_egmm.inference.likelihood.profiled import Profiled

LARGEST_GROWTH = 1e3
"""Of the distance, relative to the first step."""

MOST_STEPS = 40
FAR = 4.0
"""A point with this many times the threshold is too far away to be useful."""


@dataclass(frozen=True)
class Place:
    """A point on a straight line through the plane of the parameters.

    Args:
        distance: From the origin of the line, in units of its direction.
        ratio: Profiled ``-2 Delta ln L`` there.
        values: All parameters there.
        is_valid: Whether the fit is valid.
    """

    distance: float
    ratio: float
    values: dict[str, float]
    is_valid: bool


@dataclass(frozen=True)
class Line:
    """A half-line in the plane of the parameters.

    Args:
        origin: Where it starts.
        direction: Change of the parameters per unit of distance, shape ``(n_parameters,)``.
        end: Distance to the limits of the parameters, possibly infinite.
    """

    origin: Place
    direction: np.ndarray
    end: float


def line_from(profiled: Profiled, origin: Minimum, direction: Sequence[float]) -> Line:
    """The half-line from a minimum in a direction."""
    values = np.array([origin.values[name] for name in profiled.names])
    steps, ends = np.asarray(direction, float), [math.inf]
    for value, step, name in zip(values, steps, profiled.names, strict=True):
        limit = profiled.likelihood.limits[name][int(step > 0)]
        if step:
            ends.append(max(0.0, (limit - value) / step))
    return Line(Place(0.0, profiled.ratio(origin), origin.values, origin.is_valid), steps, min(ends))


def place_on(profiled: Profiled, line: Line, distance: float, *starts: Mapping[str, float]) -> Place:
    """A point on a line, fitted."""
    origin = line.origin.values
    values = {n: origin[n] + distance * step for n, step in zip(profiled.names, line.direction, strict=True)}
    found = profiled.at(list(profiled.inside(values).values()), *starts)
    return Place(distance, profiled.ratio(found), found.values, found.is_valid)


def bracket(profiled: Profiled, line: Line, threshold: float, step: float) -> tuple[Place, Place | None]:
    """Go along a line until ``-2 Delta ln L`` exceeds a threshold.

    Args:
        profiled: The profile likelihood.
        line: Its origin has to lie below the threshold.
        threshold: Of ``-2 Delta ln L``.
        step: First distance to try.

    Returns:
        The last point below, and the first one above that was tried; the latter is ``None`` if there is none up
        to the limits, or very far from the origin.
    """
    inside: Place = line.origin
    outside: Place | None = None
    farthest = min(line.end, LARGEST_GROWTH * step)
    distance = min(step, farthest)
    for _ in range(MOST_STEPS):
        if inside.distance >= farthest:
            break
        known = [inside.values] if outside is None else [inside.values, outside.values]
        place = place_on(profiled, line, distance, *known)
        if place.ratio > threshold:
            outside = place
        else:
            inside = place
        if outside is None:
            growth = 1.1 * math.sqrt(threshold / max(place.ratio, 1e-9))
            distance = min(distance * min(max(growth, 1.3), 3.0), farthest)
            continue
        gap = outside.distance - inside.distance
        if outside.ratio < FAR * threshold or gap < 0.3 * outside.distance:
            break
        distance = inside.distance + gap * min(max(1.2 * math.sqrt(threshold / outside.ratio), 0.1), 0.5)
    return inside, outside


def crossing(
    profiled: Profiled, line: Line, inside: Place, outside: Place, threshold: float, tolerance: float
) -> Place:
    """Where ``-2 Delta ln L`` crosses a threshold, on the line between two points.

    Args:
        profiled: The profile likelihood.
        line: The line.
        inside: A point not above the threshold.
        outside: A point above.
        threshold: Of ``-2 Delta ln L``.
        tolerance: Relative to the distance of ``outside``.
    """
    known = {inside.distance: inside, outside.distance: outside}

    def excess(distance: float) -> float:
        if distance not in known:
            known[distance] = place_on(profiled, line, distance, inside.values, outside.values)
        # Its root makes a parabola a straight line.
        return math.sqrt(max(known[distance].ratio, 0.0)) - math.sqrt(threshold)

    if excess(inside.distance) == 0:
        return inside
    found = brentq(excess, inside.distance, outside.distance, xtol=tolerance * abs(outside.distance), rtol=1e-12)
    excess(found)
    return known[found]
