"""Do integrals over parts of a box deviate as much as they state? One JSON line.

Densities of four and eight observables with random weights, with and without a theta, are integrated over random
boxes, each with several independent scramblings, with as many points as the search for their number finds enough.
A pull is the deviation from an integral with 131,072 points over the stated errors of both combined.
Stated are the width of the pulls, with its error from boxes drawn anew, and what share of them is beyond two and
three.

    python benchmarks/integral_errors.py --quick
    python benchmarks/integral_errors.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from child import run_child
from trained_models import at_least, rounded, tell
from zfit_pdf import random_boxes

from zfit_egmm import Density, Observable
from zfit_egmm.coordinates.projection import build_projection
from zfit_egmm.coordinates.theta import ThetaScaling
from zfit_egmm.density import points
from zfit_egmm.density.region import Region
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.density import MixtureDensity
from zfit_egmm.families.egmm.networks import SmoothNetwork

N_OBSERVABLES = (4, 8)
TOLERANCES = (1e-2, 1e-3)
TRUTH_POINTS = 2**17
POINT = 0.4
N_BOOTSTRAP = 400

QUICK = {"boxes": 4, "scramblings": 4}
FULL = {"boxes": 32, "scramblings": 10}

Box = tuple[np.ndarray, np.ndarray]


def random_density(n_observables: int, has_theta: bool, seed: int) -> Density:
    """Small networks with random weights, strong enough that every observable depends on those before."""
    rng = np.random.default_rng([seed, n_observables])
    observables = tuple(Observable(f"x{number}", -4, 4) for number in range(n_observables))
    network, ranges = SmoothNetwork((8, 6), 4, physical_inputs=False), ((-5.0, 5.0),) * n_observables
    scaling = ThetaScaling(((-1.0, 1.0),) if has_theta else ())
    projections = tuple(build_projection(one, rng.normal(0, 1.2, 4000).clip(-3.9, 3.9)) for one in observables)
    autoregressive = Autoregressive(observables, network, scaling.n_theta, ranges, projections)
    return MixtureDensity(
        observables,
        ("shift",) if has_theta else (),
        scaling,
        network=network,
        projections=projections,
        latent_ranges=ranges,
        weights=[
            {name: (value + 0.3 * rng.normal(size=value.shape)).astype(np.float32) for name, value in factor.items()}
            for factor in autoregressive.initial_weights(rng)
        ],
    )


@contextmanager
def scramblings(number: int) -> Iterator[None]:
    """Other scramblings than usual, for the search and for the integral."""
    usual = points.SEED, points.TRIAL_SEED
    points.SEED, points.TRIAL_SEED = (int(seed) for seed in np.random.SeedSequence([5, number]).generate_state(2))
    try:
        yield
    finally:
        points.SEED, points.TRIAL_SEED = usual


def true_integrals(density: Density, theta: np.ndarray, boxes: Sequence[Box], n_points: int) -> np.ndarray:
    """Values and errors of integrals with many points, shape ``(n_boxes, 2)``; exact ones are left out as NaN."""
    result = []
    with scramblings(-1 % 2**32):
        for low, high in boxes:
            region = Region(density, low, high, n_points=n_points)
            found = region.integral(theta)
            result.append([float(found.value), float(found.error)] if len(region.walk.sampled) > 1 else [np.nan] * 2)
    return np.array(result)


def stated_integrals(
    density: Density, theta: np.ndarray, boxes: Sequence[Box], tolerance: float, n_scramblings: int
) -> np.ndarray:
    """Values, errors and numbers of points where the search stops, shape ``(n_boxes, n_scramblings, 3)``."""
    result = np.empty((len(boxes), n_scramblings, 3))
    for number in range(n_scramblings):
        with scramblings(number), warnings.catch_warnings():
            # That the tolerance is not met is part of what is measured.
            warnings.filterwarnings("ignore", "an integral over part of the box")
            for row, box in enumerate(boxes):
                found = Region(density, *box, tolerance=tolerance).integral(theta)
                result[row, number] = found.value, found.error, found.n_points
    return result


def pulls(stated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Deviations over errors, shape ``(n_boxes, n_scramblings)``."""
    errors = np.hypot(stated[..., 1], truth[:, np.newaxis, 1])
    return (stated[..., 0] - truth[:, np.newaxis, 0]) / errors


def summary(stated: np.ndarray, truth: np.ndarray, tolerance: float) -> dict:
    is_averaged = np.isfinite(truth[:, 0])
    stated, truth = stated[is_averaged], truth[is_averaged]
    found = pulls(stated, truth)
    rows = np.random.default_rng(0).integers(len(found), size=(N_BOOTSTRAP, len(found)))
    widths = [np.sqrt(np.mean(found[row] ** 2)) for row in rows]
    true_values = truth[:, np.newaxis, 0]
    return {
        "pulls": found.size,
        "width": np.sqrt(np.mean(found**2)),
        "width_error": np.std(widths),
        "beyond_2": np.mean(np.abs(found) > 2),
        "beyond_3": np.mean(np.abs(found) > 3),
        "largest": np.max(np.abs(found)),
        "stated_above_tolerance": np.mean(stated[..., 1] > tolerance * stated[..., 0]),
        "deviation_above_tolerance": np.mean(np.abs(stated[..., 0] / true_values - 1) > tolerance),
        "n_points": 2 ** np.mean(np.log2(stated[..., 2])),
    }


def measure(arguments: argparse.Namespace) -> dict:
    start, result = time.perf_counter(), {}
    for n_observables in N_OBSERVABLES:
        for has_theta in (True, False):
            density = random_density(n_observables, has_theta, arguments.seed)
            theta = np.array([POINT] if has_theta else [])
            boxes = list(random_boxes(density, theta, arguments.boxes, arguments.seed))
            truth = true_integrals(density, theta, boxes, TRUTH_POINTS)
            for tolerance in TOLERANCES:
                name = f"{n_observables}_{'theta' if has_theta else 'no_theta'}_{tolerance:g}"
                stated = stated_integrals(density, theta, boxes, tolerance, arguments.scramblings)
                result[name] = summary(stated, truth, tolerance)
                tell(f"{name}: {json.dumps(rounded(result[name]))}")
    worst = max(result, key=lambda name: result[name]["width"])
    return {"worst_width": result[worst]["width"], **result, "seconds": time.perf_counter() - start}


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few boxes and scramblings, a look in two minutes")
    parser.add_argument("--boxes", type=at_least(4), metavar="N", help="per density (default: 32)")
    parser.add_argument("--scramblings", type=at_least(2), metavar="N", help="per box (default: 10)")
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(command_line)
    for name, value in (QUICK if arguments.quick else FULL).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if not arguments.child:
        options = sys.argv[1:] if command_line is None else command_line
        print(json.dumps(run_child(__file__, [*options, "--child"], arguments.threads)))
        return
    print(json.dumps(rounded(measure(arguments))))


if __name__ == "__main__":
    main()
