"""The zfit PDF: what it costs over the bare density, its integrals, and fits of it truncated; one JSON line.

Overhead is the time of the PDF in a compiled function over that of the bare log density, same events, in
turns; that of a loss likewise, against the bare sum. Integrals over a sub-box are timed against the numeric
integration that zfit falls back to, and compared with the fraction of events drawn from the density itself
that fall inside boxes of all sizes, in four and eight dimensions; a pull is the difference over the binomial
error and the stated error of the integration combined. Toys are drawn from the PDF truncated to a sub-box and
fitted with one loss, see zfit_pdf_toys.py. The density of four dimensions learned the toy; that of eight
learned Gaussians and angles.

    python benchmarks/zfit_pdf.py --quick
    python benchmarks/density.py --quality fast --save toy.egmm
    python benchmarks/zfit_pdf.py --load toy.egmm --toys 200
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import zfit
from child import run_child
from trained_models import at_least, existing_file, rounded, tell
from zfit_pdf_toys import SUB_BOX, fit_toys, parameters, sub_space

from zfit_egmm import Density, EventSample, Observable, TrainingConfig, train
from zfit_egmm.demo import toy
from zfit_egmm.density.region import TOLERANCE
from zfit_egmm.pdf import EGMM

POINT = (0.8, -0.6)
BATCHES = {"10k": 10_000, "100k": 100_000}
CHUNK = 500_000
SMALLEST_FRACTION, LARGEST_FRACTION, FRACTION_OF_ERRORS = 1e-6, 0.97, 1e-3
N_EIGHT, EIGHT_POINT = 8, (0.4,)
SPEED_TOLERANCE = 1e-2
"""For the timing: both integrals then have errors of about a per mille, see ``integral_difference``."""

QUICK = {"toys": 4, "mc_events": 500_000, "boxes": 3, "repeats": 3, "events": 9800, "tolerance": 1e-2}
FULL = {"toys": 200, "mc_events": 10_000_000, "boxes": 20, "repeats": 11, "events": 196_000, "tolerance": TOLERANCE}


def toy_density(n_events: int, seed: int) -> Density:
    """The toy of four observables and two parameters, quickly learned."""
    sample = toy.grid_sample(n_events // len(toy.SPARSE) ** 2, seed=seed)
    return train(sample, TrainingConfig.preset("fast", seed=seed), progress=False)


def eight_sample(n_events: int, seed: int) -> EventSample:
    """Six correlated Gaussians and two angles that depend on them; theta shifts and rotates.

    Events outside of the box, about one in a hundred, are left out.
    """
    rng = np.random.default_rng([seed, 8])
    theta = rng.uniform(-1, 1, n_events)
    number = np.arange(6)
    covariance = 0.6 ** np.abs(number[:, np.newaxis] - number)
    normal = rng.multivariate_normal(np.zeros(6), covariance, n_events)
    normal[:, 0] += 0.5 * theta
    normal[:, 3] += 0.4 * theta * normal[:, 0]
    first = np.arctan2(normal[:, 1] + rng.normal(0, 0.7, n_events), normal[:, 2] + theta)
    second = np.mod(0.5 * first + normal[:, 4] + rng.normal(0, 0.5, n_events) + np.pi, 2 * np.pi) - np.pi
    x = np.column_stack([normal, first, second])
    observables = [Observable(f"g{i}", -4, 4) for i in number]
    observables += [Observable(name, -np.pi, np.pi) for name in ("phi", "psi")]
    limits = np.array([observable.limits for observable in observables])
    is_inside = np.all((x > limits[:, 0]) & (x < limits[:, 1]), axis=1)
    return EventSample(observables, x[is_inside], theta=theta[is_inside, np.newaxis], theta_names=("shift",))


def eight_density(n_events: int, seed: int) -> Density:
    return train(eight_sample(n_events, seed), TrainingConfig.preset("fast", seed=seed, epochs=8), progress=False)


def median_times(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median seconds of functions that take turns, after one call of each to warm up.

    The order is reversed every time, so that what slows the machine down slows all of them down.
    """
    seconds: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for repeat in range(repeats):
        order = range(len(functions))
        for number in order if repeat % 2 == 0 else reversed(order):
            start = time.perf_counter()
            functions[number]()
            seconds[number].append(time.perf_counter() - start)
    return [float(np.median(one)) for one in seconds]


def overhead(pdf: EGMM, x: np.ndarray, repeats: int) -> dict:
    """Times of the PDF and of a loss over those of the bare density, and the largest relative difference."""
    density, data = pdf.density, zfit.Data(x, obs=pdf.space)
    loss = zfit.loss.UnbinnedNLL(pdf, data)
    events = tf.constant(x)
    theta = tf.constant([float(pdf.params[name].value()) for name in density.theta_names], tf.float64)

    traced = tf.function(lambda: pdf.pdf(data), autograph=False)
    bare = tf.function(lambda x, theta: tf.exp(density.log_prob_tensor(x, theta)), autograph=False)
    bare_sum = tf.function(lambda x, theta: -tf.reduce_sum(density.log_prob_tensor(x, theta)), autograph=False)
    # Reading a number waits for the result, as a minimizer does.
    calls = (
        lambda: traced().numpy(),
        lambda: bare(events, theta).numpy(),
        lambda: float(loss.value(full=False)),
        lambda: float(bare_sum(events, theta)),
    )
    difference = float(np.max(np.abs(calls[0]() / calls[1]() - 1)))
    times = median_times(calls, repeats)
    return {
        "ratio": times[0] / times[1],
        "loss_ratio": times[2] / times[3],
        "difference": difference,
        "pdf_s": times[0],
        "bare_s": times[1],
    }


def integral_speed(pdf: EGMM, limits: zfit.Space, repeats: int) -> dict:
    """Time of zfit's numeric integration of the same PDF over that of its own, and both values."""
    start = time.perf_counter()
    found = pdf.integral_with_error(limits)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    own = tf.function(lambda: pdf.integrate(limits, norm=False), autograph=False)
    own()
    tracing = time.perf_counter() - start
    fallback = tf.function(lambda: pdf.numeric_integrate(limits, norm=False), autograph=False)
    values = [float(np.ravel(function().numpy())[0]) for function in (own, fallback)]
    (own_s,) = median_times([lambda: own().numpy()], repeats)
    (fallback_s,) = median_times([lambda: fallback().numpy()], max(1, repeats // 3))
    return {
        "integral_speedup": fallback_s / own_s,
        "integral_setup_s": setup,
        "integral_tracing_s": tracing,
        "integral_s": own_s,
        "numeric_integral_s": fallback_s,
        "integral_difference": values[1] / values[0] - 1,
        "integral_stated_error": float(found.error / found.value),
        "integral_n_points": found.n_points,
    }


def cut_patterns(n_axes: int) -> list[np.ndarray]:
    """Which axes boxes cut: all, the later half, every second, the last. Each pattern costs a trace."""
    number = np.arange(n_axes)
    return [number >= 0, number >= n_axes // 2, number % 2 == 1, number == n_axes - 1]


def random_boxes(
    density: Density, theta: Sequence[float], n: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Limits of boxes that hold fractions from about one to a millionth of the events.

    A box is as wide on each axis that it cuts, in quantiles of a sample, around one of the events. Below what the
    sample can tell, the width follows from the power of the number of axes.
    """
    rng = np.random.default_rng([seed, n, len(density.observables)])
    pilot = density.sample(CHUNK // 5, theta, seed=int(rng.integers(2**31)))
    box = np.array([observable.limits for observable in density.observables])
    ordered = np.concatenate([box[:, :1].T, np.sort(pilot, axis=0), box[:, 1:].T])
    levels = np.linspace(0, 1, len(ordered))
    ranks = np.column_stack([np.interp(x, column, levels) for x, column in zip(pilot.T, ordered.T, strict=True)])
    patterns = cut_patterns(len(box))
    offset = rng.permutation(len(patterns))
    for number, fraction in enumerate(np.geomspace(LARGEST_FRACTION, SMALLEST_FRACTION, n)):
        is_cut = patterns[offset[number % len(patterns)]]
        # The widest distance on any cut axis to a centre, so that a quantile of it is the half-width of the box.
        centre = ranks[rng.integers(len(ranks))]
        distance = np.sort(np.max(np.abs(ranks - centre)[:, is_cut], axis=1))
        told = max(fraction, 50 / len(pilot))
        half_width = np.quantile(distance, told) * (fraction / told) ** (1 / is_cut.sum())
        ends = [np.clip(centre + sign * half_width, 0, 1) for sign in (-1, 1)]
        low, high = (
            np.array([np.interp(one, levels, column) for one, column in zip(end, ordered.T, strict=True)])
            for end in ends
        )
        yield np.where(is_cut, low, box[:, 0]), np.where(is_cut, high, box[:, 1])


def counted_fractions(
    density: Density, theta: Sequence[float], boxes: Sequence[tuple[np.ndarray, np.ndarray]], n: int, seed: int
) -> np.ndarray:
    """Share of events drawn from the density inside each box, in chunks so that memory stays small."""
    counts = np.zeros(len(boxes), dtype=np.int64)
    sizes = [min(CHUNK, n - start) for start in range(0, n, CHUNK)]
    seeds = np.random.SeedSequence([seed, 11]).generate_state(len(sizes))
    for size, chunk_seed in zip(sizes, seeds, strict=True):
        x = density.sample(size, theta, seed=int(chunk_seed))
        for number, (low, high) in enumerate(boxes):
            counts[number] += np.all((x >= low) & (x <= high), axis=1).sum()
    return counts / n


def pull(value: float, error: float, counted: float, n: int) -> float:
    """Difference of an integral and a counted fraction over the combined error; the integral gives the binomial."""
    return abs(value - counted) / float(np.sqrt(max(value * (1 - value), 1 / n) / n + error**2))


def integral_pulls(pdf: EGMM, n_boxes: int, n_events: int, seed: int) -> dict:
    """Integrals over random boxes against counted events."""
    density = pdf.density
    theta = [float(pdf.params[name].value()) for name in density.theta_names]
    boxes = list(random_boxes(density, theta, n_boxes, seed))
    found, n_missed = [], 0
    for number, (low, high) in enumerate(boxes):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found.append(pdf.integral_with_error(sub_space(density, low, high)))
        n_missed += any("more than the tolerance" in str(one.message) for one in caught)
        tell(f"box {number + 1}: {float(found[-1].value):.3g} with {found[-1].n_points} points")
    tell(f"counting {n_events} events")
    counted = counted_fractions(density, theta, boxes, n_events, seed)
    values, errors = (np.array([float(getattr(one, name)) for one in found]) for name in ("value", "error"))
    is_large = values > FRACTION_OF_ERRORS
    return {
        "fractions": values,
        "counted": counted,
        "pulls": [pull(*one, n_events) for one in zip(values, errors, counted, strict=True)],
        "relative_errors": errors / values,
        "worst_relative_error": float(np.max((errors / values)[is_large], initial=0)),
        "n_points": [one.n_points for one in found],
        "n_above_tolerance": n_missed,
    }


def measure(arguments: argparse.Namespace) -> dict:
    start = time.perf_counter()
    density = Density.load(arguments.load) if arguments.load else toy_density(arguments.events, arguments.seed)
    if density.theta_names != ("cx", "cy") or [one.name for one in density.observables] != ["x0", "x1", "x2", "x3"]:
        raise SystemExit(f"{arguments.load} holds {density}, not a density of the toy; make one with density.py")
    pdf = EGMM(density, params=parameters(density, POINT, "four"), tolerance=arguments.tolerance)
    tell(f"four dimensions: {density.n_weights} weights")
    # First, while nothing is searched or traced.
    rough = pdf.copy(tolerance=max(SPEED_TOLERANCE, arguments.tolerance))
    result = integral_speed(rough, sub_space(density, *SUB_BOX), arguments.repeats)
    tell(f"integral: {json.dumps(rounded(result))}")
    costs = {}
    for name, n in BATCHES.items():
        costs[name] = overhead(pdf, density.sample(n, POINT, seed=arguments.seed), arguments.repeats)
        result[f"overhead_ratio_{name}"] = costs[name]["ratio"]
        tell(f"overhead: {json.dumps(rounded(costs[name]))}")
    result["overhead"] = costs

    tell("toys")
    toys = fit_toys(density, POINT, arguments.toys, arguments.seed, tolerance=arguments.toy_tolerance)

    tell("eight dimensions: training")
    eight = eight_density(max(15_000, arguments.events // 4), arguments.seed)
    eight_pdf = EGMM(eight, params=parameters(eight, EIGHT_POINT, "eight"), tolerance=arguments.tolerance)
    pulls = {
        str(len(one.density.observables)): integral_pulls(one, arguments.boxes, arguments.mc_events, arguments.seed)
        for one in (pdf, eight_pdf)
    }
    return {
        **result,
        "integral_worst_pull": max(max(one["pulls"]) for one in pulls.values()),
        "integral_worst_relative_error": max(one["worst_relative_error"] for one in pulls.values()),
        "integral": pulls,
        **toys,
        "mc_events": arguments.mc_events,
        "tolerance": arguments.tolerance,
        "threads": arguments.threads,
        "n_weights": {"4": density.n_weights, "8": eight.n_weights},
        "seconds": time.perf_counter() - start,
    }


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="everything small, a look in a few minutes")
    parser.add_argument("--toys", type=at_least(4), metavar="N", help="fits of the truncated PDF (default: 200)")
    parser.add_argument("--mc-events", type=at_least(1000), metavar="N", help="events to count (default: 10000000)")
    parser.add_argument("--boxes", type=at_least(2), metavar="N", help="in each of the dimensions (default: 20)")
    parser.add_argument("--repeats", type=at_least(1), metavar="N", help="of each timing (default: 11)")
    parser.add_argument("--events", type=at_least(4900), metavar="N", help="events to train on (default: 196000)")
    parser.add_argument("--tolerance", type=at_least(1e-6, float), help="of the integrals (default: 1e-4)")
    parser.add_argument(
        "--toy-tolerance", type=at_least(1e-6, float), default=1e-3, help="of the fits' normalisation (default: 1e-3)"
    )
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--threads", type=at_least(1), default=2)
    parser.add_argument("--load", type=existing_file, metavar="PATH", help="saved density of the toy, not trained here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(command_line)
    for name, value in (QUICK if arguments.quick else FULL).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if not arguments.child:
        options = sys.argv[1:] if command_line is None else command_line
        print(json.dumps(run_child(__file__, [*options, "--child"], arguments.threads)))
        return
    # The fallback of zfit prints a paragraph whenever it is not sure of its error.
    zfit.settings.set_verbosity(-1)
    print(json.dumps(rounded(measure(arguments))))


if __name__ == "__main__":
    main()
