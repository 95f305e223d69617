"""contour, trace_contour: joint confidence regions of two parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import contourpy
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2

from zfit_egmm.inference.likelihood.minimum import Minimum
from zfit_egmm.inference.likelihood.profiled import Profiled
from zfit_egmm.inference.scans.contour_grid import STRIDE, Grid, interpolated, scan_grid
from zfit_egmm.inference.scans.contour_rays import trace_rays
from zfit_egmm.inference.scans.joint_region import Region
from zfit_egmm.inference.scans.line_search import Place
from zfit_egmm.inference.scans.profile import notes_on_fits, scan_range
from zfit_egmm.inference.scans.progress import ScanProgress

MARGIN = 2.0
"""Nodes are fitted up to this above the highest threshold: interpolation needs a few outside."""

PADDING = 0.08
REFINEMENT = 8
FEW_NODES = 10
BENT = 2.5
"""Ratio of the longest to the shortest ray, where an ellipse has one."""

TINY = 1e-6
SIDES = ("lower", "upper")


@dataclass(frozen=True, eq=False)
class Contour:
    """Joint confidence regions of two parameters, all others profiled.

    Args:
        parameters: Their names.
        regions: One for each level, in the order asked for.
        best: The best fit.
        grid: What the regions were found on, ``None`` if they were traced.
        is_valid: Whether the best fit and the fits that decide the regions are valid.
        notes: What the reader should know, in words.
    """

    parameters: tuple[str, str]
    regions: tuple[Region, ...]
    best: Minimum
    grid: Grid | None
    is_valid: bool
    notes: tuple[str, ...]

    @property
    def areas(self) -> dict[float, float]:
        """Area of the region of each level."""
        return {region.level: region.area for region in self.regions}

    def contains(self, points: ArrayLike, level: float) -> Any:
        """Whether points, shape ``(2,)`` or ``(n, 2)``, lie in the region of a level.

        Raises:
            ValueError: If there is no region of that level.
        """
        for region in self.regions:
            if math.isclose(region.level, level):
                return region.contains(points)
        raise ValueError(f"no region of level {level}; there are {', '.join(str(known) for known in self.areas)}")


def contour(
    loss: Any,
    parameters: Sequence[Any],
    *,
    levels: Sequence[float] = (0.6827, 0.9545),
    n_points: int = 41,
    ranges: Sequence[tuple[float, float]] | None = None,
    minimum: Minimum | None = None,
    starts: Sequence[Mapping[str, float]] = (),
    progress: bool = True,
) -> Contour:
    """Joint regions of two parameters, on a grid.

    Finds regions of any shape, also several pieces. The grid is fitted where ``-2 Delta ln L`` is near or below the
    highest threshold, and interpolated elsewhere and where that is precise to about 0.01. If something lower than the
    best fit is met, it is fitted again and becomes the best fit. Parameters that are fixed in ``minimum`` stay so.

    Args:
        loss: An unbinned zfit loss or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`; its parameters
            keep their values.
        parameters: The two parameters or their names.
        levels: Confidence levels of both parameters jointly: 0.6827 and 0.9545 are at 2.30 and 6.18.
        n_points: Nodes per parameter, rounded up to one more than a multiple of four.
        ranges: Lowest and highest value of each parameter. Default: just beyond the largest region, within the limits.
        minimum: The best fit. Default: it is searched for.
        starts: Further starts of free fits, where several minima are expected.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If a parameter is unknown, a level or range makes no sense, or ``minimum`` is of other data.
    """
    names = _pair(parameters)
    thresholds = [_threshold(level) for level in levels]
    if not thresholds or n_points < 2 * STRIDE + 1:
        raise ValueError(f"a contour needs a level and at least 9 points, got {levels} and n_points = {n_points}")
    profiled = Profiled(loss, names, minimum=minimum, starts=starts)
    n_nodes = STRIDE * math.ceil((n_points - 1) / STRIDE) + 1
    if ranges is not None:
        _check_ranges(profiled, ranges)
    title = f"contour of {' and '.join(names)}"
    with profiled.likelihood.restored(), ScanProgress(title, is_enabled=progress) as bar:
        while True:
            ends = _default_ranges(profiled, max(thresholds)) if ranges is None else ranges
            grid = scan_grid(profiled, ends, n_nodes, max(thresholds) + MARGIN, bar)
            if not profiled.improve():
                break
    near = grid.is_fitted & (grid.minus2_log_ratio < max(thresholds) + MARGIN)
    notes = notes_on_fits(profiled, grid.is_valid[near], grid.minus2_log_ratio[near])
    regions = [_region(grid, *pair) for pair in zip(levels, thresholds, strict=True)]
    for region in regions:
        notes += _notes_on_border(profiled, grid, region)
    is_valid = bool(profiled.best.is_valid and grid.is_valid[near].all())
    return Contour(names, tuple(regions), profiled.best, grid, is_valid, tuple(notes))


def trace_contour(
    loss: Any,
    parameters: Sequence[Any],
    *,
    level: float = 0.6827,
    n_points: int = 40,
    minimum: Minimum | None = None,
    starts: Sequence[Mapping[str, float]] = (),
    progress: bool = True,
) -> Contour:
    """Joint region of two parameters, without a grid.

    Looks for the threshold along rays from the best fit, in coordinates in which the region is about a circle: quick,
    but right only for a region in one piece that every ray leaves once. Use :func:`contour` for others.

    Args:
        loss: An unbinned zfit loss or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`; its parameters
            keep their values.
        parameters: The two parameters or their names.
        level: Confidence level of both parameters jointly.
        n_points: Number of rays.
        minimum: The best fit. Default: it is searched for.
        starts: Further starts of free fits, where several minima are expected.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If a parameter is unknown, the level makes no sense, ``minimum`` is of other data, or the region has
            no end.
    """
    names, threshold = _pair(parameters), _threshold(level)
    if n_points < 8:
        raise ValueError(f"a contour needs at least 8 points, got n_points = {n_points}")
    profiled = Profiled(loss, names, minimum=minimum, starts=starts)
    title = f"contour of {' and '.join(names)}"
    with profiled.likelihood.restored(), ScanProgress(title, is_enabled=progress) as bar:
        while True:
            ends, polygon = trace_rays(profiled, threshold, n_points, bar)
            if not profiled.improve():
                break
    is_valid = np.array([end.is_valid for end in ends])
    notes = notes_on_fits(profiled, is_valid, np.array([end.ratio for end in ends]))
    notes += _notes_on_rays(profiled, ends, threshold)
    region = Region(level, threshold, (polygon,))
    return Contour(names, (region,), profiled.best, None, bool(profiled.best.is_valid and is_valid.all()), tuple(notes))


def _pair(parameters: Sequence[Any]) -> tuple[str, str]:
    names = tuple(getattr(parameter, "name", parameter) for parameter in parameters)
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"a contour is one of two different parameters, got {', '.join(map(str, names))}")
    return names[0], names[1]


def _threshold(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"levels must lie between 0 and 1, such as 0.6827, got {level}")
    return float(chi2.ppf(level, 2))


def _check_ranges(profiled: Profiled, ranges: Sequence[tuple[float, float]]) -> None:
    for name, (start, stop) in zip(profiled.names, ranges, strict=True):
        low, high = profiled.likelihood.limits[name]
        if not (low <= start < stop <= high and math.isfinite(stop - start)):
            raise ValueError(
                f"the range of {name} must rise and lie inside its limits [{low:g}, {high:g}], "
                f"got {start:g} to {stop:g}"
            )


def _default_ranges(profiled: Profiled, threshold: float) -> list[tuple[float, float]]:
    """Just beyond where the profile likelihood of each parameter alone reaches the threshold."""
    while True:
        ranges = []
        for name in profiled.names:
            starts = [other.values for other in profiled.minima[1:]]
            alone = Profiled(profiled.likelihood, [name], minimum=profiled.best, starts=starts)
            low, high = scan_range(alone, threshold)
            alone.improve()
            for minimum in alone.minima:
                if minimum not in profiled.minima:
                    profiled.look(minimum.values)
            padding = PADDING * (high - low)
            limits = profiled.likelihood.limits[name]
            ranges.append((max(low - padding, limits[0]), min(high + padding, limits[1])))
        if not profiled.improve():
            return ranges


def _region(grid: Grid, level: float, threshold: float) -> Region:
    """Polygons around all nodes below a threshold, on a finer grid."""
    x, y = (np.linspace(axis[0], axis[-1], REFINEMENT * (len(axis) - 1) + 1) for axis in (grid.x, grid.y))
    values = np.maximum(interpolated(grid.x, grid.y, grid.minus2_log_ratio, x, y), 0.0)
    generator = contourpy.contour_generator(x, y, values.T, fill_type=contourpy.FillType.OuterOffset)
    rings = []
    for points, offsets in zip(*generator.filled(-1.0, threshold), strict=True):
        rings += [points[start:stop] for start, stop in pairwise(offsets)]
    return Region(level, threshold, tuple(rings))


def _notes_on_border(profiled: Profiled, grid: Grid, region: Region) -> list[str]:
    notes, q = [], grid.minus2_log_ratio
    percent = f"{100 * region.level:.4g} %"
    if np.sum(q < region.threshold) < FEW_NODES:
        notes.append(f"The {percent} region holds only a few nodes of the grid: give narrower ranges or more points.")
    edges = ((grid.x[0], q[0]), (grid.x[-1], q[-1]), (grid.y[0], q[:, 0]), (grid.y[-1], q[:, -1]))
    for number, (value, row) in enumerate(edges):
        name, side = profiled.names[number // 2], number % 2
        if row.min() >= region.threshold:
            continue
        if value == profiled.likelihood.limits[name][side]:
            notes.append(f"The {percent} region ends at the {SIDES[side]} limit of {name}, {value:.4g}.")
        else:
            notes.append(f"The {percent} region goes on beyond the grid, {name} = {value:.4g}: give wider ranges.")
    return notes


def _notes_on_rays(profiled: Profiled, ends: Sequence[Place], threshold: float) -> list[str]:
    notes = []
    cut = [end for end in ends if end.ratio < 0.98 * threshold]
    for name in profiled.names:
        for limit, side in zip(profiled.likelihood.limits[name], SIDES, strict=True):
            if any(abs(end.values[name] - limit) < TINY * profiled.error(name) for end in cut):
                notes.append(f"The region ends at the {side} limit of {name}, {limit:.4g}.")
    lengths = np.array([end.distance for end in ends])
    if not notes and lengths.max() > BENT * lengths.min():
        notes.append("The region is far from an ellipse: compare it with that of a grid.")
    for other in profiled.minima[1:]:
        if profiled.ratio(other) < threshold:
            place = ", ".join(f"{name} = {other.values[name]:.4g}" for name in profiled.names)
            notes.append(f"There is another minimum at {place}, whose region may be missing here: use a grid.")
    return notes
