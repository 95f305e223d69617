"""Density of electroweak Z + 2 jets given two effective-field-theory parameters against its truth, one JSON line.

Trained on the tree 'train' and tested on the tree 'test', whose events carry their true log densities: the KL
divergence of the truth to the model, and the rms error of the log ratio to the density at (0, 0), per event, in
nats. The rms of the true log ratio shows how small the effects are.

    python benchmarks/ewzjj.py ewzjj.root
    python benchmarks/ewzjj.py ewzjj.root --time-budget 300 --peer torch-mixture
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence

import numpy as np
from trained_models import (
    LogDensity,
    add_options,
    compare_with_peer,
    existing_file,
    package_log_density,
    peer_log_density,
    rounded,
    train_or_load,
)

from zfit_egmm import EventSample, Observable
from zfit_egmm.events.root import read_columns

OBSERVABLES = (
    Observable("ptll", 0, 900, unit="GeV", linear_fraction=0.2),
    Observable("ptj1", 0, 1200, unit="GeV", linear_fraction=0.2),
    Observable("mjj", 150, 5000, unit="GeV", linear_fraction=0.2),
    Observable("dphijj", -math.pi, math.pi, unit="rad", linear_fraction=0.8),
)
THETA = ("c_hwb", "c_w")
ORIGIN = (0.0, 0.0)


def read_test_events(path: str) -> tuple[dict[str, np.ndarray], int]:
    """Columns of the test events inside the ranges of the observables, and the number of the others."""
    names = [observable.name for observable in OBSERVABLES]
    columns = read_columns(path, "test", [*names, *THETA, "logp", "logp_sm"])
    columns = {name: column.astype(float) for name, column in columns.items()}
    is_outside = np.any([observable.outside(columns[observable.name]) for observable in OBSERVABLES], axis=0)
    return {name: column[~is_outside] for name, column in columns.items()}, int(is_outside.sum())


def measure(log_density: LogDensity, columns: dict[str, np.ndarray]) -> dict:
    """KL divergences with standard errors and errors of log ratios, per point of the parameters."""
    x = np.column_stack([columns[observable.name] for observable in OBSERVABLES])
    # Parameters are stored in single precision.
    theta = np.round(np.column_stack([columns[name] for name in THETA]), 6)
    result: dict[str, dict] = {"kl": {}, "ratio_rms_error": {}, "ratio_rms_true": {}}
    for point in np.unique(theta, axis=0):
        rows = np.all(theta == point, axis=1)
        name = f"({point[0]:g}, {point[1]:g})"
        truth, own = columns["logp"][rows], log_density(x[rows], point)
        difference = truth - own
        result["kl"][name] = [difference.mean(), difference.std(ddof=1) / math.sqrt(len(difference))]
        if tuple(point) != ORIGIN:
            true_ratio = truth - columns["logp_sm"][rows]
            error = own - log_density(x[rows], np.array(ORIGIN)) - true_ratio
            result["ratio_rms_error"][name] = math.sqrt(np.mean(error**2))
            result["ratio_rms_true"][name] = math.sqrt(np.mean(true_ratio**2))
    return result


def run(arguments: argparse.Namespace) -> dict:
    """Train the package or the peer, and measure it."""

    def training_events() -> EventSample:
        return EventSample.from_root(arguments.path, "train", OBSERVABLES, theta={name: name for name in THETA})

    if arguments.child == "peer":
        log_density, cost = peer_log_density(training_events(), arguments)
    else:
        density, cost = train_or_load(training_events, arguments)
        log_density = package_log_density(density)
    columns, n_outside = read_test_events(str(arguments.path))
    return {**measure(log_density, columns), "n_test": len(columns["logp"]), "n_test_outside": n_outside, **cost}


def main(command_line: Sequence[str] | None = None) -> None:
    command_line = sys.argv[1:] if command_line is None else command_line
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=existing_file, help="ROOT file with the trees 'train' and 'test'")
    add_options(parser, quality="standard", has_peer=True)
    arguments = parser.parse_args(command_line)
    if arguments.peer and not arguments.child:
        result, peer = compare_with_peer(__file__, arguments, command_line)
        result["kl_ratio"] = {name: value[0] / peer["kl"][name][0] for name, value in result["kl"].items()}
        result["peer"] = peer
    else:
        result = run(arguments)
    print(json.dumps(rounded(result)))


if __name__ == "__main__":
    main()
