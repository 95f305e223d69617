"""interval: the confidence interval of one parameter from its profile likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import chi2

from zfit_egmm.inference.likelihood.minimum import Minimum, as_likelihood, check_values
from zfit_egmm.inference.likelihood.profiled import Profiled
from zfit_egmm.inference.scans.line_search import Line, Place, bracket, crossing
from zfit_egmm.inference.scans.profile import Profile, notes_on_fits, notes_on_others
from zfit_egmm.inference.scans.profile import profile as scan_of

SCAN_POINTS = 15
TOLERANCE = 1e-4
"""Of the ends, in units of the spacing of the scan."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Values of a parameter with ``-2 Delta ln L`` below the quantile of one degree of freedom.

    Args:
        parameter: Its name.
        level: Confidence level.
        threshold: Of ``-2 Delta ln L``.
        parts: Lower and upper end of each part, rising; more than one if the likelihood has several minima.
        best: The best fit.
        is_valid: Whether the best fit, the scan and the fits at the ends are valid, and the ends were found.
        notes: What the reader should know, in words.
    """

    parameter: str
    level: float
    threshold: float
    parts: tuple[tuple[float, float], ...]
    best: Minimum
    is_valid: bool
    notes: tuple[str, ...]

    @property
    def value(self) -> float:
        """Best fit of the parameter."""
        return self.best.values[self.parameter]

    @property
    def lower(self) -> float:
        """Lower end of the part that holds the best fit."""
        return self._part[0]

    @property
    def upper(self) -> float:
        """Upper end of the part that holds the best fit."""
        return self._part[1]

    @property
    def _part(self) -> tuple[float, float]:
        return next(part for part in self.parts if part[0] <= self.value <= part[1])

    def contains(self, value: float) -> bool:
        """Whether a value lies in one of the parts."""
        return any(low <= value <= high for low, high in self.parts)

    def __str__(self) -> str:
        low, high = self.lower - self.value, self.upper - self.value
        text = f"{self.parameter} = {self.value:.4g} {low:+.2g} {high:+.2g} ({100 * self.level:.4g} %)"
        others = [f"[{a:.4g}, {b:.4g}]" for a, b in self.parts if (a, b) != self._part]
        return text + (f", and {', '.join(others)}" if others else "")


def interval(
    loss: Any,
    parameter: Any,
    *,
    level: float = 0.6827,
    minimum: Minimum | None = None,
    starts: Sequence[Mapping[str, float]] = (),
    profile: Profile | None = None,
) -> Interval:
    """Find the interval of a parameter from its profile likelihood.

    Holds where the likelihood ratio follows a chi-square distribution (Wilks): not next to a limit of the parameter
    or for few events. Weighted events are corrected for, see :mod:`zfit_egmm.inference.likelihood.weighted`.

    Args:
        loss: An unbinned zfit loss or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`; its parameters
            keep their values.
        parameter: The parameter or its name.
        level: Confidence level; ``-2 Delta ln L`` is compared with that quantile of one degree of freedom.
        minimum: The best fit. Default: it is searched for.
        starts: Further starts of free fits, where several minima are expected.
        profile: A scan of the parameter with the same likelihood. Default: a coarse one is made.

    Raises:
        ValueError: If the level is not between 0 and 1, or something belongs to another parameter or likelihood.

    Source:
        G. Cowan et al., "Asymptotic formulae for likelihood-based tests of new physics", section 2.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.6827, got {level}")
    likelihood, name = as_likelihood(loss), getattr(parameter, "name", parameter)
    threshold = float(chi2.ppf(level, 1))
    scan = profile
    if scan is None:
        scan = scan_of(likelihood, name, n_points=SCAN_POINTS, minimum=minimum, starts=starts, progress=False)
    elif scan.parameter != name:
        raise ValueError(f"the profile is one of {scan.parameter}, but the interval of {name} is wanted")
    for value in scan.values[[0, -1]]:
        check_values(likelihood, {name: float(value)})
    profiled = Profiled(likelihood, [name], minimum=scan.best, starts=[other.values for other in scan.others])
    with likelihood.restored():
        while True:
            nodes = _nodes(profiled, scan, threshold)
            ends = _ends(profiled, nodes, threshold)
            if not profiled.improve():
                break
            scan = scan_of(likelihood, name, n_points=SCAN_POINTS, minimum=profiled.best, starts=starts, progress=False)
    return _result(profiled, scan, [nodes, ends], level)


def _nodes(profiled: Profiled, scan: Profile, threshold: float) -> list[Place]:
    """Points in rising order, with every minimum, up to where ``-2 Delta ln L`` exceeds the threshold or a limit."""
    name = scan.parameter
    places = [_place(profiled, minimum) for minimum in (scan.best, *scan.others)]
    for number, value in enumerate(scan.values):
        values = {name: float(value), **{other: float(row[number]) for other, row in scan.nuisances.items()}}
        places.append(Place(0.0, float(scan.minus2_log_ratio[number]), values, bool(scan.is_valid[number])))
    places.sort(key=lambda place: place.values[name])
    for number, sign in ((0, -1), (-1, 1)):
        if places[number].ratio <= threshold:
            line = _line(profiled, places[number], sign)
            step = profiled.error(name) * float(np.sqrt(threshold))
            inside, outside = bracket(profiled, line, threshold, step)
            places += [place for place in (inside, outside) if place is not None and place.distance > 0]
            places.sort(key=lambda place: place.values[name])
    return places


def _ends(profiled: Profiled, nodes: Sequence[Place], threshold: float) -> list[Place]:
    """Lower and upper end of every part in turn."""
    (name,) = profiled.names
    ends = [nodes[0]] if nodes[0].ratio <= threshold else []
    for low, high in pairwise(nodes):
        if (low.ratio <= threshold) == (high.ratio <= threshold):
            continue
        inside, outside = (low, high) if low.ratio <= threshold else (high, low)
        gap = outside.values[name] - inside.values[name]
        line = _line(profiled, inside, 1 if gap > 0 else -1)
        ends.append(crossing(profiled, line, line.origin, replace(outside, distance=abs(gap)), threshold, TOLERANCE))
    return [*ends, nodes[-1]] if nodes[-1].ratio <= threshold else ends


def _line(profiled: Profiled, place: Place, sign: int) -> Line:
    (name,) = profiled.names
    limit = profiled.likelihood.limits[name][int(sign > 0)]
    return Line(replace(place, distance=0.0), np.array([float(sign)]), abs(limit - place.values[name]))


def _place(profiled: Profiled, minimum: Minimum) -> Place:
    return Place(0.0, profiled.ratio(minimum), minimum.values, minimum.is_valid)


def _result(profiled: Profiled, scan: Profile, places: Sequence[Sequence[Place]], level: float) -> Interval:
    (name,) = profiled.names
    nodes, ends = places
    threshold = float(chi2.ppf(level, 1))
    is_valid = np.array([place.is_valid for place in (*nodes, *ends)])
    notes = notes_on_fits(profiled, is_valid, np.array([place.ratio for place in nodes]))
    notes += notes_on_others(profiled, scan.others)
    values = [place.values[name] for place in ends]
    is_found = True
    for end, node, limit, side in zip(
        (ends[0], ends[-1]), (nodes[0], nodes[-1]), profiled.likelihood.limits[name], ("lower", "upper"), strict=True
    ):
        value = end.values[name]
        if end is node and value == limit:
            notes.append(f"The {side} end of the interval is the limit of {name}, {limit:.4g}.")
        elif end is node:
            is_found = False
            notes.append(f"-2 Delta ln L does not reach {threshold:.3g} up to {name} = {value:.4g}: no {side} end.")
    parts = tuple(zip(values[::2], values[1::2], strict=True))
    is_valid_all = bool(profiled.best.is_valid and is_found and is_valid.all())
    return Interval(name, level, threshold, parts, profiled.best, is_valid_all, tuple(notes))
