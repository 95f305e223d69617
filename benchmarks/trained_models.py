"""What the inference benchmarks share: their options, the training or loading of a density, and the peer.

A peer is trained on the same events, in the latent coordinates of the package's density, for the CPU
time that the package used. Both then run on one thread, each in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from child import limit_tensorflow, run_child

from zfit_egmm import Density, EnsembleDensity, EventSample, TrainingConfig, load_density, train, train_ensemble

LogDensity = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Log density of events, shape ``(n_events, n_observables)``, at one theta or one per event."""


def at_least(least: float, kind: type = int) -> Callable[[str], float]:
    """Type of an option that takes numbers from ``least`` on."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value < np.inf:
            what = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"expected {what} of at least {least:g}, got {text!r}")
        return value

    return parse


def existing_file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text)


def add_options(parser: argparse.ArgumentParser, *, quality: str, has_peer: bool) -> None:
    """Options of the training; the hidden ones are for the processes that a comparison with a peer starts."""
    parser.add_argument("--quality", choices=["fast", "standard", "thorough"], default=quality)
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the training")
    parser.add_argument("--members", type=at_least(1), default=1, metavar="N", help="train an ensemble (default: 1)")
    parser.add_argument("--time-budget", type=at_least(1, float), metavar="SECONDS", help="longest training")
    parser.add_argument("--events", type=at_least(1), metavar="N", help="train on a random part of the events")
    stored = parser.add_mutually_exclusive_group()
    stored.add_argument("--save", type=Path, metavar="PATH", help="save the trained density")
    stored.add_argument("--load", type=existing_file, metavar="PATH", help="use a saved density, without training")
    parser.set_defaults(peer=None, child=None, model=None)
    if has_peer:
        parser.add_argument("--peer", choices=["torch-mixture"], help="compare with this model, one thread each")
        parser.add_argument("--child", choices=["package", "peer"], help=argparse.SUPPRESS)
        parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)


def training_part(sample: EventSample, arguments: argparse.Namespace) -> EventSample:
    """The events to train on: all of them, or as many as ``--events`` says."""
    if arguments.events is None or arguments.events >= sample.n_events:
        return sample
    rng = np.random.default_rng([arguments.seed, 4])
    return sample.select(rng.permutation(sample.n_events)[: arguments.events])


def train_with_record(sample: EventSample, config: TrainingConfig, members: int = 1) -> Density | EnsembleDensity:
    """Train a density, or an ensemble on the same events; its record says what that cost, also in a file."""
    wall, cpu = time.perf_counter(), time.process_time()
    density = train(sample, config) if members == 1 else train_ensemble(sample, config, members, bootstrap=False)
    record_of(density)["benchmark"] = {
        "train_wall_s": round(time.perf_counter() - wall, 1),
        "train_cpu_s": round(time.process_time() - cpu, 1),
        "n_events": sample.n_events,
    }
    return density


def record_of(density: Density | EnsembleDensity) -> dict:
    """Record of the training; that of an ensemble is with its first member."""
    return density.members[0].training if isinstance(density, EnsembleDensity) else density.training


def train_or_load(
    make_sample: Callable[[], EventSample], arguments: argparse.Namespace
) -> tuple[Density | EnsembleDensity, dict]:
    """The density and what its training cost.

    The cost is kept in the file of the density, so that a loaded one can be compared with a peer.
    """
    if arguments.child:
        limit_tensorflow(1)
    if arguments.load is not None:
        density = load_density(arguments.load)
    else:
        config = TrainingConfig.preset(arguments.quality, seed=arguments.seed, time_budget=arguments.time_budget)
        density = train_with_record(training_part(make_sample(), arguments), config, arguments.members)
    for path in (arguments.save, arguments.model):
        if path is not None:
            density.save(path, overwrite=True)
    record = record_of(density)
    cost = record.get("benchmark", {"train_wall_s": None, "train_cpu_s": None, "n_events": None})
    return density, {**cost, "verdict": record["summary"]["verdict"]}


def package_log_density(density: Density | EnsembleDensity) -> LogDensity:
    """Log density of the package, silent about theta beyond the trained range."""

    def log_density(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            # Fits may extrapolate a little on purpose, like those with the exact likelihood.
            warnings.filterwarnings("ignore", message=".*leaves the trained range.*")
            return density.log_prob(x, theta)

    return log_density


def peer_log_density(sample: EventSample, arguments: argparse.Namespace) -> tuple[LogDensity, dict]:
    """Train the peer for as long as the package took; its log density and what its training cost."""
    from peers import train_mixture

    density = Density.load(arguments.model)
    low, high = np.array(density.theta_range).T

    def scaled(theta: np.ndarray) -> np.ndarray:
        return 2 * (np.asarray(theta, dtype=float) - low) / (high - low) - 1

    events = training_part(sample, arguments)
    u = density.latent(events.x)[0].numpy()
    wall, cpu = time.perf_counter(), time.process_time()
    peer = train_mixture(
        u,
        scaled(events.theta),
        cpu_seconds=density.training["benchmark"]["train_cpu_s"],
        seed=arguments.seed,
    )
    cost = {
        "train_wall_s": round(time.perf_counter() - wall, 1),
        "train_cpu_s": round(time.process_time() - cpu, 1),
        "n_events": events.n_events,
        "verdict": peer.summary,
    }

    def log_density(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
        u, log_jacobian = density.latent(x)
        return peer.log_prob(u.numpy(), scaled(theta)) + log_jacobian.numpy()

    return log_density, cost


def compare_with_peer(program: str, arguments: argparse.Namespace, command_line: Sequence[str]) -> tuple[dict, dict]:
    """Results of the package and of the peer, from a process each on one thread."""
    if arguments.members > 1:
        raise SystemExit("--peer compares with one training; leave out --members")
    if arguments.load is not None and "benchmark" not in Density.load(arguments.load).training:
        raise SystemExit(
            f"{arguments.load} does not say how much CPU time its training took, which is what the peer is to get; "
            "save it with this program, or train it anew"
        )
    with tempfile.TemporaryDirectory() as folder:
        model = ["--model", str(Path(folder) / "model.egmm")]
        return tuple(run_child(program, [*command_line, "--child", child, *model], 1) for child in ("package", "peer"))


def tell(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


def rounded(value):
    """The same lists and dictionaries with numbers of four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(entry) for entry in value]
    return float(f"{value:.4g}") if isinstance(value, float | np.floating) else value
