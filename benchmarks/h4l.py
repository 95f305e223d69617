"""Fits of theta to samples of H -> 4l with a learned density and with the exact likelihood ratio, one JSON line.

A density of (mz1, mz2, cos_theta1, cos_theta2, phi) given theta is trained on three quarters of the events of
every theta of the file. From the others, samples are drawn with replacement, and theta is fitted to each with the
density and with the exact joint likelihood ratio of the generator, which knows the events before the detector.
The split and the samples do not depend on the seed, so densities can be compared, and loaded, without overlap.
With --leave-out, a theta is not trained on, and all its events are there to test on.

    python benchmarks/h4l.py h4l.root
    python benchmarks/h4l.py h4l.root --leave-out 1 --leave-out -4 --quality thorough
    python benchmarks/h4l.py h4l.root --time-budget 300 --peer torch-mixture

The errors of biases and differences count both the number of samples and the number of events they come from.
"score_error" is how far the slope of the learned log density in theta is from the exact one, event by event: the mean
square over the exact information. A few samples with two maxima decide differences of fits; all events decide this.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from trained_models import (
    LogDensity,
    add_options,
    at_least,
    compare_with_peer,
    existing_file,
    package_log_density,
    peer_log_density,
    rounded,
    tell,
    train_or_load,
)

from zfit_egmm import EventSample, Observable
from zfit_egmm.events.root import read_columns

OBSERVABLES = (
    Observable("mz1", 40, 120, unit="GeV", linear_fraction=0.2),
    Observable("mz2", 12, 65, unit="GeV", linear_fraction=0.5),
    Observable("cos_theta1", -1, 1, linear_fraction=0.8),
    Observable("cos_theta2", -1, 1, linear_fraction=0.8),
    Observable("phi", -math.pi, math.pi, unit="rad", linear_fraction=0.8),
)

# A quarter still gives 50 disjoint samples of 500 at each of the nine theta; samples drawn with replacement then
# have a spread that is right to a few per cent, while a larger share would be missing in the training.
TRAINING_SHARE = 0.75
SPLIT_SEED, SAMPLE_SEED = 11, 12

# Fits go beyond the trained range, because half of the best fits at its ends lie there. The nodes are dense in
# the middle, where the likelihood changes sign and shape.
RANGE_FACTOR = 1.5
CORE = 2.0
N_NODES = 61
N_FINE = 4001

# Half of the distance in theta over which slopes are taken; statistical errors of the fits are larger.
SCORE_STEP = 0.25


class MatrixElements(NamedTuple):
    """Coefficients of the exact likelihood ratio per event: ``b = B/A``, ``c = C/A`` and ``rho``.

    Args:
        b: Interference, shape ``(n_events,)``.
        c: CP-odd part, same shape.
        rho: Mean of c over the angles, same shape.
    """

    b: np.ndarray
    c: np.ndarray
    rho: np.ndarray

    def select(self, rows: np.ndarray) -> MatrixElements:
        return MatrixElements(*(column[rows] for column in self))


class Events(NamedTuple):
    """Events of all theta with what the exact likelihood needs."""

    x: np.ndarray
    theta: np.ndarray
    elements: MatrixElements
    is_training: np.ndarray


def read_events(path: str, leave_out: Sequence[float]) -> Events:
    """Read the signal and choose the training events: a share of those of every theta, none of the ones left out."""
    names = [observable.name for observable in OBSERVABLES]
    columns = read_columns(path, "signal", [*names, "theta", "me_b", "me_c", "me_rho"])
    columns = {name: column.astype(float) for name, column in columns.items()}
    theta = columns["theta"]
    is_training = np.zeros(len(theta), dtype=bool)
    rng = np.random.default_rng(SPLIT_SEED)
    for value in np.unique(theta):
        rows = rng.permutation(np.flatnonzero(theta == value))
        if value not in leave_out:
            is_training[rows[: round(TRAINING_SHARE * len(rows))]] = True
    elements = MatrixElements(columns["me_b"], columns["me_c"], columns["me_rho"])
    return Events(np.column_stack([columns[name] for name in names]), theta, elements, is_training)


def log_generated_ratio(theta: np.ndarray, elements: MatrixElements) -> np.ndarray:
    """Log density of generated events over the one at theta = 0, shape ``(n_events, n_theta)``."""
    b, c, rho = (column[:, np.newaxis] for column in elements)
    return np.log1p(theta * b + theta**2 * c) - np.log1p(theta**2 * rho)


def log_acceptance(at: np.ndarray, theta: np.ndarray, elements: MatrixElements) -> np.ndarray:
    """Logarithm of the acceptance at any theta over the one at zero, from the accepted events of all theta.

    The events are a mixture of the densities at their theta, each of which is the generated density over its
    acceptance. Reweighting the mixture to another theta gives its acceptance; those of the mixture itself follow
    from asking the same of them, by iteration.

    Args:
        at: Values of theta, shape ``(n,)``.
        theta: Theta of every event, shape ``(n_events,)``.
        elements: Coefficients of every event.
    """
    values, counts = np.unique(theta, return_counts=True)
    ratio = np.exp(log_generated_ratio(values, elements))
    acceptance = np.ones(len(values))
    for _ in range(1000):
        mixture = ratio @ (counts / acceptance)
        updated = (ratio / mixture[:, np.newaxis]).sum(axis=0)
        updated /= np.sum(1 / mixture)
        if np.allclose(updated, acceptance, rtol=1e-12, atol=0):
            break
        acceptance = updated
    else:
        raise ArithmeticError("the acceptances did not converge: the densities at the theta of the events are too far")
    # One theta at a time: all at once would need gigabytes.
    sums = [np.sum(np.exp(log_generated_ratio(np.array([value]), elements)[:, 0]) / mixture) for value in at]
    return np.log(sums) - np.log(np.sum(1 / mixture))


def nodes(limit: float) -> np.ndarray:
    """Values of theta at which log densities are computed."""
    return CORE * np.sinh(np.linspace(-1, 1, N_NODES) * np.arcsinh(limit / CORE))


def best_fits(theta: np.ndarray, log_likelihood: np.ndarray) -> np.ndarray:
    """Theta at the global maximum of each curve.

    Args:
        theta: The nodes, shape ``(n_nodes,)``.
        log_likelihood: Shape ``(n_curves, n_nodes)``.
    """
    position = np.arcsinh(theta / CORE)
    spline = CubicSpline(position, log_likelihood, axis=1)
    fine = np.linspace(position[0], position[-1], N_FINE)
    return CORE * np.sinh(fine[spline(fine).argmax(axis=1)])


def fit_samples(theta: np.ndarray, log_density: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Best fits of samples of events, and of all events at once.

    Args:
        theta: The nodes, shape ``(n_nodes,)``.
        log_density: Of every event at every node, shape ``(n_events, n_nodes)``.
        rows: Events of each sample, shape ``(n_samples, sample_size)``.
    """
    curves = np.array([log_density[sample].sum(axis=0) for sample in rows])
    return best_fits(theta, curves), best_fits(theta, log_density.sum(axis=0)[np.newaxis])[0]


def summarise(best: np.ndarray, exact: np.ndarray, theta: float, n_events: int, sample_size: int) -> dict:
    """Bias, spread and difference to the exact best fits of the same samples.

    Args:
        best: Best fits of a model, shape ``(n_samples,)``.
        exact: Best fits of the exact likelihood ratio, same shape.
        theta: Theta of the events.
        n_events: Number of events that the samples were drawn from.
        sample_size: Events per sample.
    """
    difference, exact_spread = best - exact, exact.std(ddof=1)
    # Means over samples share the events, which are as many as n_events / sample_size samples.
    per_spread = math.sqrt(1 / len(best) + sample_size / n_events)
    resampled = np.random.default_rng(0).integers(0, len(best), (500, len(best)))
    ratios = best[resampled].std(axis=1) / exact[resampled].std(axis=1)
    return {
        "bias": best.mean() - theta,
        "bias_error": best.std(ddof=1) * per_spread,
        "bias_over_spread": (best.mean() - theta) / exact_spread,
        "spread": best.std(ddof=1),
        "robust_spread": _robust_spread(best),
        "spread_ratio": best.std(ddof=1) / exact_spread,
        "spread_ratio_error": ratios.std(),
        "robust_spread_ratio": _robust_spread(best) / _robust_spread(exact),
        "mean_difference_over_spread": difference.mean() / exact_spread,
        "mean_difference_error": difference.std(ddof=1) / exact_spread * per_spread,
        "difference_over_spread": math.sqrt(np.mean(difference**2)) / exact_spread,
    }


def score_error(learned: np.ndarray, exact: np.ndarray) -> dict:
    """Mean square error of learned scores over the mean square of the exact ones.

    Args:
        learned: Learned log densities of the same events at two values of theta, shape ``(n_events, 2)``.
        exact: Exact ones.
    """
    error, information = np.square(np.diff(learned - exact)[:, 0]), np.square(np.diff(exact)).mean()
    return {
        "score_error": error.mean() / information,
        "score_error_error": error.std(ddof=1) / math.sqrt(len(error)) / information,
    }


def _robust_spread(values: np.ndarray) -> float:
    """Half of the central 68.27 %, insensitive to fits that end at the minimum of the other sign."""
    low, high = np.quantile(values, [0.158655, 0.841345])
    return float(high - low) / 2


def measure(log_density: LogDensity, events: Events, arguments: argparse.Namespace) -> dict:
    """Fit the samples of every theta to test with the model and with the exact likelihood; lists over theta."""
    limit = RANGE_FACTOR * np.abs(events.theta).max()
    at = nodes(limit)
    around = np.add.outer(arguments.theta, [-SCORE_STEP, SCORE_STEP])
    acceptance = log_acceptance(np.concatenate([at, around.ravel()]), events.theta, events.elements)
    acceptance, around_acceptance = acceptance[: len(at)], acceptance[len(at) :].reshape(around.shape)
    there = np.unique(events.theta).tolist()
    rows: list[dict] = []
    start = time.perf_counter()

    def curves_at(values: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        return np.stack([log_density(events.x[held_out], np.array([value])) for value in values], axis=1)

    for theta, pair, pair_acceptance in zip(arguments.theta, around, around_acceptance, strict=True):
        held_out = np.flatnonzero((events.theta == theta) & ~events.is_training)
        elements = events.elements.select(held_out)
        exact_curves = log_generated_ratio(at, elements) - acceptance
        curves = curves_at(at, held_out)
        rng = np.random.default_rng([SAMPLE_SEED, there.index(theta)])
        samples = rng.integers(0, len(held_out), (arguments.samples, arguments.sample_size))
        exact, exact_of_all = fit_samples(at, exact_curves, samples)
        best, best_of_all = fit_samples(at, curves, samples)
        rows.append(
            {
                "theta": theta,
                "n_held_out": len(held_out),
                **summarise(best, exact, theta, len(held_out), arguments.sample_size),
                **score_error(curves_at(pair, held_out), log_generated_ratio(pair, elements) - pair_acceptance),
                "exact_bias": exact.mean() - theta,
                "exact_spread": exact.std(ddof=1),
                "exact_robust_spread": _robust_spread(exact),
                "best_fit_of_all": best_of_all,
                "exact_best_fit_of_all": exact_of_all,
                "share_at_limit": np.mean(np.abs(best) > 0.999 * limit),
                "exact_share_at_limit": np.mean(np.abs(exact) > 0.999 * limit),
            }
        )
        tell(
            f"theta {theta:g}: bias {rows[-1]['bias']:.3f}, spread {rows[-1]['spread']:.3f}, exact bias "
            f"{rows[-1]['exact_bias']:.3f}, spread {rows[-1]['exact_spread']:.3f}, "
            f"error of the score {rows[-1]['score_error']:.3f}, {time.perf_counter() - start:.0f} s"
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def run(events: Events, arguments: argparse.Namespace) -> dict:
    """Train the package or the peer, and measure it."""

    def training_events() -> EventSample:
        rows = events.is_training
        return EventSample(OBSERVABLES, events.x[rows], theta=events.theta[rows, np.newaxis], theta_names=("theta",))

    if arguments.child == "peer":
        log_density, cost = peer_log_density(training_events(), arguments)
    else:
        density, cost = train_or_load(training_events, arguments)
        if (cost["n_events"] or 0) > events.is_training.sum():
            raise SystemExit(
                f"{arguments.load} was trained on {cost['n_events']} events, more than the {events.is_training.sum()} "
                "that are not tested on; give the --leave-out and the file that it was trained with"
            )
        log_density = package_log_density(density)
    return {**measure(log_density, events, arguments), **cost}


def parse(command_line: Sequence[str] | None) -> tuple[argparse.Namespace, Events]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=existing_file, help="ROOT file with the tree 'signal'")
    parser.add_argument("--theta", type=float, action="append", help="test at this theta only; repeatable")
    parser.add_argument("--leave-out", type=float, action="append", default=[], help="do not train on it; repeatable")
    parser.add_argument("--samples", type=at_least(2), default=400, metavar="N", help="samples per theta")
    parser.add_argument("--sample-size", type=at_least(1), default=500, metavar="N", help="events per sample")
    add_options(parser, quality="standard", has_peer=True)
    arguments = parser.parse_args(command_line)
    events = read_events(str(arguments.path), arguments.leave_out)
    there = np.unique(events.theta).tolist()
    for name, chosen in (("--theta", arguments.theta or []), ("--leave-out", arguments.leave_out)):
        missing = sorted(set(chosen) - set(there))
        if missing:
            parser.error(f"{name}: no events at theta {missing[0]:g}; there are {', '.join(f'{t:g}' for t in there)}")
    if len(set(there) - set(arguments.leave_out)) < 2:
        parser.error("--leave-out: at least two values of theta must be left to train on")
    arguments.theta = sorted(set(arguments.theta or arguments.leave_out or there))
    return arguments, events


def main(command_line: Sequence[str] | None = None) -> None:
    command_line = sys.argv[1:] if command_line is None else command_line
    arguments, events = parse(command_line)
    if arguments.peer and not arguments.child:
        result, peer = compare_with_peer(__file__, arguments, command_line)
        result["peer"] = {name: value for name, value in peer.items() if not name.startswith("exact_")}
    else:
        result = run(events, arguments)
    result |= {"samples": arguments.samples, "sample_size": arguments.sample_size}
    print(json.dumps(rounded(result)))


if __name__ == "__main__":
    main()
