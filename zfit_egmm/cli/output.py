"""What the commands print and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from zfit_egmm.density.base import Density
from zfit_egmm.events.root import write_columns


def theta_values(entries: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Parameter point from ``NAME=VALUE`` texts, in the order of ``names``.

    Raises:
        ValueError: If a name is unknown, missing or given twice, or a value is no number.
    """
    values: dict[str, float] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if name not in names:
            known = f"this model has {', '.join(names)}" if names else "this model has no parameters"
            raise ValueError(f"unknown parameter in --theta {entry}: {known}")
        if name in values:
            raise ValueError(f"parameter {name!r} is given twice")
        try:
            values[name] = float(text)
        except ValueError:
            raise ValueError(f"--theta {entry}: {text!r} is no number; write --theta {name}=0.5") from None
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"this model needs {' '.join(f'--theta {name}=VALUE' for name in missing)}")
    return np.array([values[name] for name in names])


def check_suffix(path: Path) -> Path:
    """Return the path if events can be written in its format.

    Raises:
        ValueError: If the suffix is another one than .root, .npz or .csv.
    """
    if path.suffix not in (".root", ".npz", ".csv"):
        raise ValueError(f"cannot write {path}: use the suffix .root, .npz or .csv")
    return path


def write_events(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write columns to a .root, .npz or .csv file.

    Raises:
        ValueError: If the suffix is another one.
    """
    if check_suffix(path).suffix == ".root":
        write_columns(path, "events", columns)
    elif path.suffix == ".npz":
        np.savez_compressed(path, **columns)  # type: ignore[arg-type]  # a column could be called allow_pickle
    else:
        table = np.column_stack(list(columns.values()))
        np.savetxt(path, table, delimiter=",", header=",".join(columns), comments="")


def print_model(density: Density, path: Path) -> None:
    """Print a description of a model, of every member if it is composed of others."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    members = density.state().members or (density,)
    console.print(f"{path}: {density}, kind {density.kind}, {density.n_weights} weights")
    table = Table(title="Observables")
    for header in ("name", "range", "unit", "kind", "linear fraction"):
        table.add_column(header)
    for entry in density.observables:
        fraction = "" if entry.is_discrete else f"{entry.linear_fraction:g}"
        table.add_row(entry.name, f"{entry.low:g} to {entry.high:g}", entry.unit, entry.kind, fraction)
    console.print(table)
    for name, (low, high) in zip(density.theta_names, density.theta_range, strict=True):
        console.print(f"parameter {name}: trained from {low:g} to {high:g}")
    for number, member in enumerate(members):
        title = f"member {number + 1}, " if len(members) > 1 else ""
        _print_training(console, title, member)


def _print_training(console: Console, title: str, density: Density) -> None:
    summary = density.training.get("summary")
    if summary:
        console.print(f"{title}training: {summary['verdict']}")
        losses = summary["validation_loss"]
        console.print("held-out loss [nats]: " + ", ".join(f"{name} {value:.4f}" for name, value in losses.items()))
