"""Accuracy and speed of a density learned from the toy, one JSON line.

Accuracy is the KL divergence of the truth to the model, in nats, at points of the parameters and averaged
over the grid of the training. Speed is the cost of the training and the rates of log density and sampling.
Peers (other models, see peers.py) train on the same events with the CPU time that the density's training
took. Everything runs in processes of its own, one after the other; with peers, each on one thread. Peers
learn the latent coordinates of the published projection, which fade out towards both ends: those of the density
end abruptly, which only truncated components can follow. Their rates are without the map from or to observables.

    python benchmarks/density.py
    python benchmarks/density.py --dense --quality thorough --save toy.egmm
    python benchmarks/density.py --time-budget 300 --peer torch-mixture --peer zuko-nsf
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from child import limit_tensorflow, run_child
from speed import median_rate

from zfit_egmm.demo import toy

POINTS = ((0.0, 0.0), (0.8, 0.8), (-0.8, 0.0), (0.25, 0.25), (0.5, -0.5), (1.5, 1.5))
EVENTS_PER_POINT = 50_000
LARGEST_THETA = max(toy.SPARSE)
RATE_EVENTS, RATE_THETA, RATE_REPEATS = 100_000, np.array([0.3, -0.2]), 5
CHUNK = 200_000

# No training has it, as theirs are single small numbers; one for all makes differences of results precise.
TEST_SEED = (1, 1)

# Function of peers.py and the packages it needs.
PEERS = {
    "torch-mixture": ("train_mixture", ("torch",)),
    "zuko-nsf": ("train_nsf", ("torch", "zuko")),
    "zuko-maf": ("train_maf", ("torch", "zuko")),
}


def truth_events(values: tuple[float, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Events of the truth and their theta: ``n`` at each of the test points, then about ``n`` over the grid.

    Args:
        values: Values of each parameter on the grid.
        n: Number of events.
    """
    rng = np.random.default_rng(TEST_SEED)
    x = [toy.sample(n, point, rng) for point in POINTS]
    grid = toy.grid_sample(n // len(values) ** 2, values, rng)
    return np.concatenate([*x, grid.x]), np.concatenate([np.repeat(np.array(POINTS), n, axis=0), grid.theta])


def accuracy(difference: np.ndarray, values: tuple[float, ...], n: int) -> dict:
    """KL divergences with their standard errors, nats per event.

    Args:
        difference: Log density of the truth minus that of a model for the :func:`truth_events`.
        values: Values of each parameter on the grid.
        n: Number of events at each of the test points.
    """
    at_points, on_grid = np.split(difference, [len(POINTS) * n])
    kl = {
        f"({point[0]:g}, {point[1]:g})": _mean_of_means(part[np.newaxis])
        for point, part in zip(POINTS, at_points.reshape(len(POINTS), n), strict=True)
    }
    return {"kl": kl, "grid_mean": _mean_of_means(on_grid.reshape(len(values) ** 2, -1))}


def _mean_of_means(rows: np.ndarray) -> list[float]:
    """Mean of equally many events of several points, with its standard error.

    The ratio of the model to the truth has the mean one, so what correlates with its fluctuation can be subtracted:
    for a good model the errors are ten times smaller. A peer that leaves the box looks better than it is, by the
    probability outside.
    """
    n_points, n_events = rows.shape
    excess = np.exp(-rows) - 1
    fluctuation = excess - excess.mean(axis=1, keepdims=True)
    rows = rows - np.sum(fluctuation * rows) / max(np.sum(fluctuation**2), 1e-300) * excess
    error = np.sqrt(rows.var(axis=1, ddof=1).sum() / n_events) / n_points
    return [round(float(rows.mean()), 6), round(float(error), 6)]


def measure_density(arguments: argparse.Namespace) -> dict:
    """Train (or load) a density, measure it, and leave latent coordinates for peers in the folder."""
    limit_tensorflow(arguments.threads)
    from trained_models import record_of

    from zfit_egmm import load_density

    density = load_density(arguments.load) if arguments.load else _train(arguments)
    values = _grid(arguments)
    x, theta = truth_events(values, arguments.test_events)
    truth = toy.log_prob(x, theta)
    log_prob = density.log_prob(x, theta)
    drawn = density.sample(RATE_EVENTS, RATE_THETA, seed=1)
    if arguments.peer:
        sample = _events(arguments)
        latent_map = _published_latent_map(sample)
        u, _ = _latent(latent_map, sample.x)
        test_u, log_jacobian = _latent(latent_map, x)
        np.savez(
            arguments.folder / "latent.npz",
            u=u,
            theta=sample.theta / LARGEST_THETA,
            test_u=test_u,
            test_theta=theta / LARGEST_THETA,
            test_truth=truth - log_jacobian,
        )
    training = record_of(density)
    record = training.get("benchmark", {})
    return {
        **accuracy(truth - log_prob, values, arguments.test_events),
        "train_cpu_s": record.get("train_cpu_s"),
        "train_wall_s": record.get("train_wall_s", training.get("summary", {}).get("seconds")),
        "log_prob_per_s": _rate(lambda: density.log_prob(drawn, RATE_THETA)),
        "sample_per_s": _rate(lambda: density.sample(RATE_EVENTS, RATE_THETA, seed=2)),
        "threads": arguments.threads,
        "n_events": record.get("n_events"),
        "quality": training.get("config", {}).get("quality"),
        "verdict": training.get("summary", {}).get("verdict"),
    }


def _train(arguments: argparse.Namespace):
    from trained_models import train_with_record

    from zfit_egmm import TrainingConfig

    config = TrainingConfig.preset(arguments.quality, seed=arguments.seed, time_budget=arguments.time_budget)
    density = train_with_record(_events(arguments), config, arguments.members)
    if arguments.save:
        density.save(arguments.save, overwrite=True)
    return density


def measure_peer(name: str, arguments: argparse.Namespace) -> dict:
    """Train a peer on the latent coordinates in the folder, and measure it."""
    import peers

    with np.load(arguments.folder / "latent.npz") as file:
        latent = dict(file)
    print(f"training {name} for {arguments.cpu_seconds:.0f} s of CPU time", file=sys.stderr, flush=True)
    train = getattr(peers, PEERS[name][0])
    start, cpu_start = time.perf_counter(), time.process_time()
    peer = train(latent["u"], latent["theta"], cpu_seconds=arguments.cpu_seconds, seed=arguments.seed)
    cpu_seconds, seconds = time.process_time() - cpu_start, time.perf_counter() - start
    difference = latent["test_truth"] - peer.log_prob(latent["test_u"], latent["test_theta"])
    theta = RATE_THETA / LARGEST_THETA
    drawn = peer.sample(RATE_EVENTS, theta, seed=1)
    return {
        **accuracy(difference, _grid(arguments), arguments.test_events),
        "train_cpu_s": round(cpu_seconds, 2),
        "train_wall_s": round(seconds, 2),
        "log_prob_per_s": _rate(lambda: peer.log_prob(drawn, theta)),
        "sample_per_s": _rate(lambda: peer.sample(RATE_EVENTS, theta, seed=2)),
        "threads": arguments.threads,
        "n_events": len(latent["u"]),
        "quality": None,
        "verdict": peer.summary,
    }


def _rate(function) -> float:
    return median_rate(function, RATE_EVENTS, RATE_REPEATS)


def _grid(arguments: argparse.Namespace) -> tuple[float, ...]:
    return toy.DENSE if arguments.dense else toy.SPARSE


def _events(arguments: argparse.Namespace):
    values = _grid(arguments)
    n = EVENTS_PER_POINT if arguments.events is None else arguments.events // len(values) ** 2
    return toy.grid_sample(n, values, arguments.seed)


def _published_latent_map(sample):
    from zfit_egmm.coordinates.latent_map import LatentMap
    from zfit_egmm.coordinates.projection import build_projection

    return LatentMap(
        sample.observables, tuple(build_projection(o, sample.column(o.name), kind="linear") for o in sample.observables)
    )


def _latent(latent_map, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latent coordinates in float32, and the log of the Jacobian."""
    import tensorflow as tf

    parts = [latent_map.latent(tf.constant(x[start : start + CHUNK])) for start in range(0, len(x), CHUNK)]
    u, log_jacobian = (np.concatenate([part.numpy() for part in column]) for column in zip(*parts, strict=True))
    return u.astype(np.float32), log_jacobian


def kl_ratios(ours: dict, peer: dict) -> dict:
    """KL divergence of the density over that of a peer at each point; none where the peer's is not positive."""
    return {
        point: round(value / peer["kl"][point][0], 4) if peer["kl"][point][0] > 0 else None
        for point, (value, _) in ours["kl"].items()
    }


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dense", action="store_true", help="nine instead of seven values of each parameter")
    parser.add_argument("--events", type=int, help="events in all (default: 50000 at each point of the grid)")
    parser.add_argument("--quality", choices=["fast", "standard", "thorough"], help="default: standard")
    parser.add_argument("--seed", type=int, help="seed of the events and the trainings (default: 0)")
    parser.add_argument("--members", type=int, help="train an ensemble of so many (default: 1)")
    parser.add_argument("--threads", type=int, help="default: 2, with peers 1")
    parser.add_argument("--time-budget", type=float, metavar="SECONDS", help="wall time of the density's training")
    parser.add_argument("--test-events", type=int, default=200_000, help="events at each test point (default: 200000)")
    parser.add_argument("--peer", action="append", choices=list(PEERS), default=[], help="may be repeated")
    parser.add_argument("--save", type=Path, metavar="PATH", help="save the density, replacing an earlier file")
    parser.add_argument("--load", type=Path, metavar="PATH", help="measure a saved density instead of training one")
    parser.add_argument("--child", choices=["density", *PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cpu-seconds", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    problem = _problem(arguments)
    if problem:
        parser.error(problem)
    arguments.quality = arguments.quality or "standard"
    arguments.seed = arguments.seed or 0
    arguments.members = arguments.members or 1
    arguments.threads = arguments.threads or (1 if arguments.peer else 2)
    return arguments


def _problem(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the arguments, in words."""
    n_points = len(_grid(arguments)) ** 2
    events, seed, threads, budget = arguments.events, arguments.seed, arguments.threads, arguments.time_budget
    save, load, peers = arguments.save, arguments.load, arguments.peer
    of_training = (events, arguments.quality, seed, arguments.members, budget, save)
    missing = [name for peer in peers for name in PEERS[peer][1] if importlib.util.find_spec(name) is None]
    problems = (
        (events is not None and events < n_points, f"--events must be at least {n_points}, one per point of the grid"),
        (arguments.test_events < 2 * n_points, f"--test-events must be at least {2 * n_points}, two per point"),
        (seed is not None and seed < 0, "--seed must not be negative"),
        (arguments.members is not None and arguments.members < 1, "--members must be positive"),
        (threads is not None and threads < 1, "--threads must be positive"),
        (threads not in (None, 1) and peers, "--threads must be 1 with peers, which run on one thread"),
        (budget is not None and not 0 < budget < np.inf, "--time-budget must be positive and finite"),
        (save and not save.absolute().parent.is_dir(), f"--save: there is no folder for {save}"),
        (load and not load.is_file(), f"--load: there is no file {load}"),
        (load and any(value is not None for value in of_training), "--load leaves no training to configure or save"),
        (arguments.members not in (None, 1) and peers, "--peer compares with one training; leave out --members"),
        (load and peers, "--peer needs a training in the same run for its CPU time; leave out --load"),
        (missing, f"--peer needs {' and '.join(dict.fromkeys(missing))}; install it with pip"),
    )
    return next((words for applies, words in problems if applies), None)


def main() -> None:
    arguments = parse_arguments()
    if arguments.child:
        is_density = arguments.child == "density"
        print(json.dumps(measure_density(arguments) if is_density else measure_peer(arguments.child, arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options = [*sys.argv[1:], "--folder", folder]
        result = run_child(__file__, [*options, "--child", "density"], arguments.threads)
        for name in dict.fromkeys(arguments.peer):
            budget = ["--cpu-seconds", str(result["train_cpu_s"])]
            peer = run_child(__file__, [*options, "--child", name, *budget], arguments.threads)
            result.setdefault("peer", {})[name] = peer
            result.setdefault("kl_ratio", {})[name] = kl_ratios(result, peer)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
