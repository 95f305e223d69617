"""coverage: how often intervals and regions of toys hold the truth, with pulls and biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from zfit_egmm.inference.toys.campaign import ToyResults

LEVELS = (0.6827, 0.9545)


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} +- {self.error:.3f}"


@dataclass(frozen=True)
class PointCoverage:
    """What the toys of one point, or of all points together, say.

    Args:
        point: True values; empty for all points together.
        n_toys: Toys with a valid fit.
        n_failed: Toys without one, which count nowhere else.
        region: Coverage of the joint region of the parameters of interest, by level.
        intervals: Coverage of the interval of each parameter of interest, by name and level, where toys have it.
        pull_mean: Mean of (best fit - truth) / Hesse error, by name.
        pull_width: Standard deviation of the same.
        bias: Mean of best fit - truth, by name.
    """

    point: dict[str, float]
    n_toys: int
    n_failed: int
    region: dict[float, Estimate]
    intervals: dict[str, dict[float, Estimate]]
    pull_mean: dict[str, Estimate]
    pull_width: dict[str, Estimate]
    bias: dict[str, Estimate]


@dataclass(frozen=True)
class Coverage:
    """Coverage at several points.

    Args:
        interest: Parameters of interest.
        levels: Stated confidence levels.
        points: One entry for each point.
        overall: All points together.
    """

    interest: tuple[str, ...]
    levels: tuple[float, ...]
    points: tuple[PointCoverage, ...]
    overall: PointCoverage

    def __str__(self) -> str:
        lines = []
        for entry in (*self.points, self.overall):
            where = ", ".join(f"{name} = {value:g}" for name, value in entry.point.items()) or "all points"
            lines.append(f"{where}: {entry.n_toys} toys, {entry.n_failed} failed")
            for level in self.levels:
                text = f"  {100 * level:.2f} %: region {entry.region[level]}"
                text += "".join(f", {name} {by_level[level]}" for name, by_level in entry.intervals.items())
                lines.append(text)
            for name in self.interest:
                lines.append(f"  {name}: pull {entry.pull_mean[name]}, width {entry.pull_width[name]}")
        return "\n".join(lines)


def coverage(results: ToyResults, *, levels: Sequence[float] = LEVELS) -> Coverage:
    """Coverage of likelihood-ratio intervals and regions from the toys of :class:`~zfit_egmm.inference.ToyFit`.

    A region at a level holds the truth if ``2 (ln L(best) - ln L(truth))`` is below the quantile of a chi-square
    distribution with as many degrees of freedom as there are parameters of interest.

    Args:
        results: The toys.
        levels: Confidence levels.

    Raises:
        ValueError: If a level makes no sense, or a point has less than two toys with a valid fit.
    """
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"a confidence level lies between 0 and 1, got {level}")
    description = results.head["experiment"]
    interest, nominal = tuple(description["interest"]), description["nominal"]
    groups = []
    for number, point in enumerate(results.points):
        rows = [row for row in results.rows if row["point"] == number]
        valid = [row for row in rows if row["valid"]]
        if len(valid) < 2:
            raise ValueError(f"point {point} has {len(valid)} toys with a valid fit of {len(rows)}; make more toys")
        groups.append((point, valid, len(rows) - len(valid)))
    entries = [
        _summary(point, [(valid, {**nominal, **point})], n_failed, interest, levels)
        for point, valid, n_failed in groups
    ]
    everything = [(valid, {**nominal, **point}) for point, valid, _ in groups]
    overall = _summary({}, everything, sum(n for _, _, n in groups), interest, levels)
    return Coverage(interest, tuple(levels), tuple(entries), overall)


def _summary(
    point: dict[str, float],
    groups: Sequence[tuple[list[dict[str, Any]], Mapping[str, float]]],
    n_failed: int,
    interest: tuple[str, ...],
    levels: Sequence[float],
) -> PointCoverage:
    rows = [row for group, _ in groups for row in group]

    def held(name: str, n_parameters: int) -> dict[float, Estimate]:
        q = np.array([row[name] for row in rows])
        return {level: fraction(q <= chi2.ppf(level, n_parameters)) for level in levels}

    pulls, shifts = {}, {}
    for name in interest:
        shift = np.array([row[name] - true[name] for group, true in groups for row in group])
        error = np.array([row[f"{name}_error"] for row in rows], dtype=float)
        pull = shift / error
        pulls[name], shifts[name] = pull[np.isfinite(pull)], shift
    return PointCoverage(
        point=dict(point),
        n_toys=len(rows),
        n_failed=n_failed,
        region=held("q", len(interest)),
        intervals={name: held(f"q_{name}", 1) for name in interest if f"q_{name}" in rows[0]},
        pull_mean={name: mean(pull) for name, pull in pulls.items()},
        pull_width={name: width(pull) for name, pull in pulls.items()},
        bias={name: mean(shift) for name, shift in shifts.items()},
    )


def fraction(is_inside: np.ndarray) -> Estimate:
    """Fraction of true values with its binomial error, that of one more success and failure at the ends."""
    n, k = len(is_inside), int(np.sum(is_inside))
    smoothed = (k + 1) / (n + 2) if k in (0, n) else k / n
    return Estimate(k / n, float(np.sqrt(smoothed * (1 - smoothed) / n)))


def mean(values: np.ndarray) -> Estimate:
    """Mean with its standard error; not a number of fewer than two values."""
    if len(values) < 2:
        return Estimate(np.nan, np.nan)
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def width(values: np.ndarray) -> Estimate:
    """Standard deviation with its standard error from the fourth moment."""
    if len(values) < 3:
        return Estimate(np.nan, np.nan)
    deviation = values - values.mean()
    sigma = float(values.std(ddof=1))
    spread = np.sqrt(max(np.mean(deviation**4) - sigma**4, 0.0) / len(values))
    return Estimate(sigma, float(spread / (2 * sigma)) if sigma > 0 else 0.0)
