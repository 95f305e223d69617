"""profile: the profile likelihood of one parameter, scanned in both directions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zfit_egmm.inference.likelihood.minimum import Minimum
from zfit_egmm.inference.likelihood.profiled import NOISE, RELEVANT, Point, Profiled, lower
from zfit_egmm.inference.likelihood.weighted import note_on_weights
from zfit_egmm.inference.scans.line_search import bracket, crossing, line_from
from zfit_egmm.inference.scans.progress import ScanProgress

RANGE = 3.5
"""Standard deviations that a scan reaches to where nothing else is said."""

NEAR = 9.0
"""Minima up to this ``-2 Delta ln L`` are worth a note."""

N_LOOKS = 12
BARRIER = 0.05
"""Rise of ``-2 Delta ln L`` between two minima that makes them two."""


@dataclass(frozen=True, eq=False)
class Profile:
    """Profile likelihood of one parameter.

    Args:
        parameter: Its name.
        values: Scanned values, rising, shape ``(n,)``.
        minus2_log_ratio: ``-2 Delta ln L`` against the best fit, all others profiled, corrected if events are weighted,
            shape ``(n,)``.
        nuisances: Values of the other parameters at each point, arrays of shape ``(n,)`` by name.
        is_valid: Whether the fit at each point is valid, shape ``(n,)``.
        best: The best fit.
        others: Further local minima with ``-2 Delta ln L`` up to 16, from the lowest up.
        notes: What the reader should know, in words.
    """

    parameter: str
    values: np.ndarray
    minus2_log_ratio: np.ndarray
    nuisances: dict[str, np.ndarray]
    is_valid: np.ndarray
    best: Minimum
    others: tuple[Minimum, ...]
    notes: tuple[str, ...]


def profile(
    loss: Any,
    parameter: Any,
    *,
    values: ArrayLike | None = None,
    n_points: int = 41,
    minimum: Minimum | None = None,
    starts: Sequence[Mapping[str, float]] = (),
    progress: bool = True,
) -> Profile:
    """Scan the profile likelihood of a parameter.

    At every value all other parameters are fitted. The scan goes outwards from each known minimum and back inwards
    from the ends, each fit starting from its neighbour, and keeps the lower likelihood. If it meets something lower
    than the best fit, that is fitted again and becomes the best fit. Parameters that are fixed in ``minimum`` stay so.

    Args:
        loss: An unbinned zfit loss or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`; its parameters
            keep their values.
        parameter: The parameter or its name.
        values: Where to scan. Default: ``n_points`` in the range where ``-2 Delta ln L`` is below 12 (3.5 standard
            deviations), within the limits. Within finite limits it also holds minima further away, if a coarse look
            finds them.
        n_points: Number of values.
        minimum: The best fit. Default: it is searched for.
        starts: Further starts of free fits, where several minima are expected.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If the parameter is unknown, a value lies outside its limits, or ``minimum`` is of other data.
    """
    profiled = Profiled(loss, [parameter], minimum=minimum, starts=starts)
    name = profiled.names[0]
    wanted = None if values is None else _checked(values, name, profiled.likelihood.limits[name])
    if wanted is None and n_points < 3:
        raise ValueError(f"a scan of {name} needs at least 3 points, got n_points = {n_points}")
    with profiled.likelihood.restored(), ScanProgress(f"profile of {name}", is_enabled=progress) as bar:
        while True:
            points = np.linspace(*scan_range(profiled, RANGE**2), n_points) if wanted is None else wanted
            found = _scan(profiled, points, bar)
            _refine_minima(profiled, points, found)
            if not profiled.improve():
                break
    return _result(profiled, points, found)


def scan_range(profiled: Profiled, threshold: float) -> tuple[float, float]:
    """Range of a parameter outside which ``-2 Delta ln L`` exceeds a threshold, or its limits.

    Args:
        profiled: Profile likelihood of one parameter; minima met on the way are added to it.
        threshold: Of ``-2 Delta ln L``.
    """
    (name,) = profiled.names
    ends = [_end(profiled, profiled.best, sign, threshold) for sign in (-1, 1)]
    for limit, end in zip(profiled.likelihood.limits[name], list(ends), strict=True):
        if math.isfinite(limit):
            _look_between(profiled, end, limit)
    for other in profiled.minima[1:]:
        value = other.values[name]
        if profiled.ratio(other) < threshold and not ends[0] < value < ends[1]:
            side = int(value >= ends[1])
            ends[side] = _end(profiled, other, 2 * side - 1, threshold)
    return ends[0], ends[1]


def _end(profiled: Profiled, origin: Minimum, sign: int, threshold: float) -> float:
    """Where ``-2 Delta ln L`` exceeds a threshold, to two per cent, or the limit."""
    (name,) = profiled.names
    line = line_from(profiled, origin, [sign])
    inside, outside = bracket(profiled, line, threshold, math.sqrt(threshold) * profiled.error(name))
    if outside is None:
        value = origin.values[name] + sign * inside.distance
    else:
        value = origin.values[name] + sign * crossing(profiled, line, inside, outside, threshold, 0.02).distance
    low, high = profiled.likelihood.limits[name]
    return min(max(value, low), high)


def _look_between(profiled: Profiled, end: float, limit: float) -> None:
    """Search for minima between the end of a range and the limit of the parameter, the others at their best fit."""
    values = np.linspace(end, limit, N_LOOKS)
    nll = [*(profiled.value([value], profiled.best.values) for value in values), np.inf]
    for number in range(1, N_LOOKS):
        if nll[number] < min(nll[number - 1], nll[number + 1]):
            profiled.look({profiled.names[0]: float(values[number])})


def _scan(profiled: Profiled, points: np.ndarray, bar: ScanProgress) -> list[Point]:
    """The lowest fit at each point, of sweeps outwards from every minimum and inwards from the ends."""
    found: dict[int, Point] = {}
    bar.plan((len(profiled.minima) + 1) * len(points) if profiled.nuisances else len(points))

    def sweep(order: range, start: Mapping[str, float]) -> None:
        for number in order:
            one = profiled.at([points[number]], start)
            found[number] = lower(one, found[number]) if number in found else one
            start = one.values
            bar.advance()

    for minimum in profiled.minima if profiled.nuisances else profiled.minima[:1]:
        middle = int(np.searchsorted(points, minimum.values[profiled.names[0]]))
        sweep(range(middle, len(points)), minimum.values)
        sweep(range(middle - 1, -1, -1), minimum.values)
    if profiled.nuisances:
        middle = int(np.searchsorted(points, profiled.best.values[profiled.names[0]]))
        sweep(range(middle), found[0].values)
        sweep(range(len(points) - 1, middle - 1, -1), found[len(points) - 1].values)
    return [found[number] for number in range(len(points))]


def _refine_minima(profiled: Profiled, points: np.ndarray, found: Sequence[Point]) -> None:
    """Fit all parameters where the scan has local minima that are not known yet."""
    nll = np.array([np.inf, *(one.nll for one in found), np.inf])
    gaps = np.diff(points, prepend=-np.inf, append=np.inf)
    for number, one in enumerate(found):
        is_lowest_here = nll[number + 1] <= min(nll[number], nll[number + 2])
        is_known = any(
            -gaps[number] <= minimum.values[profiled.names[0]] - points[number] <= gaps[number + 1]
            for minimum in profiled.minima
        )
        if is_lowest_here and not is_known and profiled.ratio(one) < RELEVANT:
            profiled.look(one.values)


def _result(profiled: Profiled, points: np.ndarray, found: Sequence[Point]) -> Profile:
    name = profiled.names[0]
    ratio = clipped(np.array([profiled.ratio(one) for one in found]))
    is_valid = np.array([one.is_valid for one in found])
    others = tuple(_separate(profiled, points, ratio))
    notes = [
        *notes_on_fits(profiled, is_valid, ratio),
        *notes_on_others(profiled, others),
        *_notes_on_ends(profiled, points, ratio),
    ]
    nuisances = {other: np.array([one.values[other] for one in found]) for other in profiled.nuisances}
    return Profile(name, points, ratio, nuisances, is_valid, profiled.best, others, tuple(notes))


def clipped(ratio: np.ndarray) -> np.ndarray:
    """``-2 Delta ln L`` with what is negative by noise set to zero."""
    return np.where((ratio < 0) & (ratio > -4 * NOISE), 0.0, ratio)


def _separate(profiled: Profiled, points: np.ndarray, ratio: np.ndarray) -> Iterator[Minimum]:
    """Other minima that the scan shows to be apart from all lower ones."""
    name = profiled.names[0]
    lower_ones = [profiled.best]
    for other in profiled.minima[1:]:
        height = profiled.ratio(other)
        for one in lower_ones:
            low, high = sorted([one.values[name], other.values[name]])
            between = ratio[(points > low) & (points < high)]
            if not (len(between) and between.max() > height + BARRIER):
                break
        else:
            lower_ones.append(other)
            yield other


def notes_on_fits(profiled: Profiled, is_valid: np.ndarray, ratio: np.ndarray) -> list[str]:
    """Remarks on the best fit and on failed fits."""
    best = profiled.best
    notes = list(best.notes)
    if profiled.likelihood.data.has_weighted_errors:
        notes.append(note_on_scale(profiled))
    if not best.is_valid:
        notes.append(f"The best fit is not valid, {best.reason}: distrust everything here.")
    for name in best.at_limit:
        limit = min(profiled.likelihood.limits[name], key=lambda limit: abs(limit - best.values[name]))
        what = "its Hesse error means nothing" if name in profiled.names else "it is a nuisance parameter here"
        notes.append(f"The best fit of {name} is at its limit, {limit:.4g}: {what}.")
    if not is_valid.all():
        notes.append(f"{np.sum(~is_valid)} of {is_valid.size} fits did not end in a valid minimum.")
    is_below = clipped(ratio) < 0
    if is_below.any():
        notes.append(
            f"{is_below.sum()} of {ratio.size} points lie below the best fit, by up to {-ratio.min():.2g} in "
            "-2 ln L, but no valid minimum was found there."
        )
    return notes


def note_on_scale(profiled: Profiled) -> str:
    """Remark on weighted events."""
    if len(profiled.names) > 1:
        return note_on_weights()
    return note_on_weights(profiled.scale(profiled.best.values))


def notes_on_others(profiled: Profiled, others: Sequence[Minimum]) -> Iterator[str]:
    """Remarks on further minima."""
    name = profiled.names[0]
    for other in others:
        if profiled.ratio(other) > NEAR:
            continue
        yield (
            f"There is another minimum near {name} = {other.values[name]:.4g}, {max(profiled.ratio(other), 0):.2f} "
            "above the best fit in -2 ln L: quote the profile, not only one interval."
        )


def _notes_on_ends(profiled: Profiled, points: np.ndarray, ratio: np.ndarray) -> Iterator[str]:
    name = profiled.names[0]
    limits = profiled.likelihood.limits[name]
    for number, limit, side in ((0, limits[0], "lower"), (-1, limits[1], "upper")):
        is_best = abs(points[number] - profiled.best.values[name]) < 1e-3 * profiled.error(name)
        if ratio[number] >= NEAR or is_best:
            continue
        if points[number] == limit:
            yield f"-2 Delta ln L is only {ratio[number]:.2g} at the {side} limit of {name}, {limit:.4g}."
        else:
            end = f"the {side} end of the scan, {name} = {points[number]:.4g}"
            yield f"-2 Delta ln L is only {ratio[number]:.2g} at {end}."


def _checked(values: ArrayLike, name: str, limits: tuple[float, float]) -> np.ndarray:
    points = np.unique(np.asarray(values, dtype=float))
    if points.size == 0 or not np.all(np.isfinite(points)):
        raise ValueError(f"the values of {name} to scan must be finite numbers, at least one, got {values!r}")
    if points[0] < limits[0] or points[-1] > limits[1]:
        raise ValueError(
            f"the scan of {name} from {points[0]:g} to {points[-1]:g} leaves the limits [{limits[0]:g}, {limits[1]:g}] "
            "of the parameter; choose values inside, or widen the limits"
        )
    return points
