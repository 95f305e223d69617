"""Best fits and joint regions of the toy's two parameters from 400 events, against the true likelihood, one JSON line.

At nine points, data sets of 400 events are drawn from the truth, and the likelihoods of the learned density and
of the truth are compared on the same events: the shift of the best fit, and the areas of the joint regions of
both parameters at the levels 2.30 (68.3 %) and 6.18 (95.4 %) of -2 Delta ln L. Shifts are in units of sigma, half
the extent of the truth's one-parameter 68.3 % interval (profile likelihood at level 1). Errors are standard errors
from the data sets; they say nothing about other trainings. Data sets do not depend on the seed.

    python benchmarks/inference.py
    python benchmarks/inference.py --sparse --quality standard --data-sets 40 --save toy.egmm
    python benchmarks/inference.py --load toy.egmm
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import binary_dilation
from trained_models import add_options, at_least, package_log_density, rounded, tell, train_or_load

from zfit_egmm.demo import toy

POINTS = tuple(itertools.product((-0.8, 0.0, 0.8), repeat=2))
EVENTS_PER_GRID_POINT = 50_000
N_EVENTS = 400
DATA_SEED = 20

LIMIT = max(toy.SPARSE)
LEVELS = {"683": 2.30, "954": 6.18}

# Nested grids over the trained square. Every grid but the first is evaluated only near the minimum: at nodes whose
# -2 ln L, first interpolated from the grid before, exceeds it by less than the threshold. The last grid, refined by
# cubic splines, gives areas to 0.3 % and best fits to 0.02 sigma, as a grid of a quarter of its steps shows.
STEPS = (0.3, 0.1, 0.05)
THRESHOLDS = (40.0, 9.0)
REFINEMENT = 40

LogLikelihood = Callable[[np.ndarray], np.ndarray]
"""Log-likelihood of one data set at points of shape ``(n_points, 2)``."""


class Fit(NamedTuple):
    """What one likelihood says about a data set.

    Args:
        best: Best fit, shape ``(2,)``.
        half_extent: Half the extents of the one-parameter 68.3 % intervals, shape ``(2,)``.
        areas: Areas of the joint regions, in the order of ``LEVELS``.
        holds_truth: Whether they hold the true point, in the same order.
    """

    best: np.ndarray
    half_extent: np.ndarray
    areas: np.ndarray
    holds_truth: np.ndarray


def fit(log_likelihood: LogLikelihood, true_point: Sequence[float]) -> Fit:
    """Best fit, intervals and regions within the trained square, beyond which nothing is known of a model."""
    points, values = scan(log_likelihood)
    return describe(points, values, true_point)


def scan(log_likelihood: LogLikelihood) -> tuple[np.ndarray, np.ndarray]:
    """Values of -2 ln L on the finest grid, exact around the minimum and interpolated elsewhere.

    Returns:
        The grid of each parameter, shape ``(n,)``, and the values, shape ``(n, n)``.
    """
    points = _axis(STEPS[0])
    pairs = np.array(list(itertools.product(points, repeat=2)))
    values = -2 * log_likelihood(pairs).reshape(len(points), -1)
    is_known = np.ones(values.shape, dtype=bool)
    for step, threshold in zip(STEPS[1:], THRESHOLDS, strict=True):
        fine = _axis(step)
        factor = (len(fine) - 1) // (len(points) - 1)
        fine_values = interpolate(points, values, fine, fine)
        fine_values[::factor, ::factor] = values
        fine_is_known = np.zeros(fine_values.shape, dtype=bool)
        fine_is_known[::factor, ::factor] = is_known
        while True:
            is_near = fine_values < fine_values[fine_is_known].min() + threshold
            wanted = binary_dilation(is_near) & ~fine_is_known
            if not wanted.any():
                break
            row, column = np.nonzero(wanted)
            fine_values[wanted] = -2 * log_likelihood(np.column_stack([fine[row], fine[column]]))
            fine_is_known |= wanted
        points, values, is_known = fine, fine_values, fine_is_known
    return points, values


def describe(points: np.ndarray, values: np.ndarray, true_point: Sequence[float]) -> Fit:
    """Best fit, intervals and regions from values of -2 ln L on a grid."""
    step = (points[1] - points[0]) / REFINEMENT
    # Only the smallest box around the regions is refined.
    is_near = binary_dilation(values < values.min() + max(LEVELS.values()) + 1)
    axes = []
    for axis in (0, 1):
        near = points[is_near.any(axis=1 - axis)]
        axes.append(np.linspace(near[0], near[-1], round((near[-1] - near[0]) / step) + 1))
    fine = interpolate(points, values, *axes)
    best = np.unravel_index(fine.argmin(), fine.shape)
    lowest = fine[best]
    fine -= lowest
    # A node stands for a cell of the grid, at the limits of the trained square for half a one.
    cells = np.multiply.outer(*(np.where(np.abs(axis) > LIMIT - step / 2, step / 2, step) for axis in axes))
    at_truth = interpolate(points, values, *np.array(true_point)[:, np.newaxis]).item() - lowest
    return Fit(
        best=np.array([axes[0][best[0]], axes[1][best[1]]]),
        half_extent=np.array([_extent(axes[i], fine.min(axis=1 - i)) / 2 for i in (0, 1)]),
        areas=np.array([cells[fine < level].sum() for level in LEVELS.values()]),
        holds_truth=np.array([at_truth < level for level in LEVELS.values()]),
    )


def interpolate(points: np.ndarray, values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cubic interpolation on the grid of x and y, separately in each quadrant: the truth has kinks at zero."""
    middle = len(points) // 2
    result = np.empty((len(x), len(y)))
    halves = (slice(0, middle + 1), slice(middle, None))
    for rows, in_x in zip(halves, (x <= 0, x >= 0), strict=True):
        for columns, in_y in zip(halves, (y <= 0, y >= 0), strict=True):
            if in_x.any() and in_y.any():
                spline = RectBivariateSpline(points[rows], points[columns], values[rows, columns])
                result[np.ix_(in_x, in_y)] = spline(x[in_x], y[in_y])
    return result


def _axis(step: float) -> np.ndarray:
    # Rounded, so that zero and the common nodes of two grids are the same numbers.
    return np.round(np.linspace(-LIMIT, LIMIT, round(2 * LIMIT / step) + 1), 10)


def _extent(axis: np.ndarray, profile: np.ndarray, level: float = 1.0) -> float:
    """Distance of the outermost points at which a profile is below a level, between nodes by a straight line."""
    inside = np.flatnonzero(profile < level)
    first, last = inside[0], inside[-1]
    low, high = axis[first], axis[last]
    if first > 0:
        low = np.interp(level, profile[[first, first - 1]], axis[[first, first - 1]])
    if last < len(axis) - 1:
        high = np.interp(level, profile[[last, last + 1]], axis[[last, last + 1]])
    return float(high - low)


def log_likelihood_of(log_density: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray) -> LogLikelihood:
    """Log-likelihood of a data set, from many points in one call."""

    def log_likelihood(points: np.ndarray) -> np.ndarray:
        values = log_density(np.tile(x, (len(points), 1)), np.repeat(points, len(x), axis=0))
        return values.reshape(len(points), len(x)).sum(axis=1)

    return log_likelihood


def compare(model: Sequence[Fit], truth: Sequence[Fit]) -> dict:
    """Shifts and ratios of areas of the data sets of one point, one row each, and flags of coverage."""
    sigma = np.array([entry.half_extent for entry in truth])
    return {
        "shift": (np.array([entry.best for entry in model]) - np.array([entry.best for entry in truth])) / sigma,
        "area_ratio": np.array([entry.areas for entry in model]) / np.array([entry.areas for entry in truth]),
        "model_coverage": np.array([entry.holds_truth for entry in model]),
        "truth_coverage": np.array([entry.holds_truth for entry in truth]),
        "sigma": sigma,
    }


def summarise(points: Sequence[dict]) -> dict:
    """Numbers of one or several points with equally many data sets, with their standard errors."""
    n_points, n = len(points), len(points[0]["shift"])

    def mean(values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.array(values, dtype=float)
        return rows.mean(axis=(0, 1)), np.sqrt(np.sum(rows.var(axis=1, ddof=1) / n, axis=0)) / n_points

    square, square_error = mean([point["shift"] ** 2 for point in points])
    shift, shift_error = mean([point["shift"] for point in points])
    result = {
        "rms_shift": np.sqrt(square),
        "rms_shift_error": square_error / np.maximum(2 * np.sqrt(square), 1e-300),
        "mean_shift": shift,
        "mean_shift_error": shift_error,
    }
    ratio, ratio_error = mean([point["area_ratio"] for point in points])
    for number, name in enumerate(LEVELS):
        result[f"area_ratio_{name}"] = ratio[number]
        result[f"area_ratio_{name}_error"] = ratio_error[number]
    for who in ("model", "truth"):
        coverage, _ = mean([point[f"{who}_coverage"] for point in points])
        result |= {f"{who}_coverage_{name}": coverage[number] for number, name in enumerate(LEVELS)}
    return {**result, "mean_sigma": mean([point["sigma"] for point in points])[0]}


def measure(log_density: Callable[[np.ndarray, np.ndarray], np.ndarray], n_data_sets: int) -> dict:
    """Compare a model with the truth on data sets at all points."""
    compared = []
    start = time.perf_counter()
    for number, point in enumerate(POINTS):
        rng = np.random.default_rng([DATA_SEED, number])
        data_sets = [toy.sample(N_EVENTS, point, rng) for _ in range(n_data_sets)]
        model, truth = ([fit(log_likelihood_of(f, x), point) for x in data_sets] for f in (log_density, toy.log_prob))
        compared.append(compare(model, truth))
        ratio = compared[-1]["area_ratio"].mean(axis=0)
        tell(f"{point}: ratios of areas {ratio.round(3)} after {time.perf_counter() - start:.0f} s")
    points = [{"point": point, **summarise([entry])} for point, entry in zip(POINTS, compared, strict=True)]
    worst = max(points, key=lambda entry: abs(entry["area_ratio_683"] - 1))
    return {
        **summarise(compared),
        "worst_area_ratio": worst["area_ratio_683"],
        "worst_area_ratio_error": worst["area_ratio_683_error"],
        "n_data_sets": n_data_sets * len(POINTS),
        "points": points,
        "fit_wall_s": time.perf_counter() - start,
    }


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparse", action="store_true", help="train on the grid of 7 x 7 points, not of 9 x 9")
    parser.add_argument("--data-sets", type=at_least(2), default=20, metavar="N", help="data sets per point")
    add_options(parser, quality="thorough", has_peer=False)
    arguments = parser.parse_args(command_line)
    values = toy.SPARSE if arguments.sparse else toy.DENSE
    density, cost = train_or_load(
        lambda: toy.grid_sample(EVENTS_PER_GRID_POINT, values, seed=arguments.seed), arguments
    )
    print(json.dumps(rounded({**measure(package_log_density(density), arguments.data_sets), **cost})))


if __name__ == "__main__":
    main()
