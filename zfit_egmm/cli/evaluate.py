"""The command ``evaluate``: a report on a model from held-out events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if TYPE_CHECKING:
    from zfit_egmm.density.base import Density
    from zfit_egmm.events.sample import EventSample

MISSED = 3


def evaluate(  # noqa: PLR0913, PLR0917 - typer makes an option of each argument
    model: Annotated[Path, typer.Argument(help="Model file (.egmm), a density or an ensemble.")],
    events: Annotated[str, typer.Argument(help="ROOT file, or a quoted pattern, of events not used in the training.")],
    tree: Annotated[str, typer.Option(help="Name of the tree.")],
    theta: Annotated[
        list[str] | None,
        typer.Option(help="NAME=BRANCH for a parameter, or NAME=VALUE; by default branches have the names."),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Branch of the event weights.")] = None,
    cut: Annotated[str | None, typer.Option(help='Selection, such as "(m4l > 105) & (mz2 < 65)".')] = None,
    most: Annotated[int, typer.Option("-n", "--events", min=100, help="Use at most so many events.")] = 1_000_000,
    expected: Annotated[float, typer.Option(min=1, help="Events of the measurement that the model is for.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    threshold: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE; status 3 if it is missed. Repeat for several.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for evaluate.html and evaluate.json.")] = Path("egmm_evaluate"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report.")] = False,
) -> None:
    """Compare a model with held-out events in many ways, and say whether it is good enough.

    Writes a page with figures and a file with all numbers. Events outside the ranges of the model are left out and
    counted.

    Example: zfit-egmm evaluate signal.egmm held_out.root --tree signal --expected 300 --threshold theta_bias=0.2
    """
    from zfit_egmm.density.files import load_density
    from zfit_egmm.diagnostics.report.evaluation import evaluate as run
    from zfit_egmm.diagnostics.report.page import check_folder, write_report
    from zfit_egmm.diagnostics.report.thresholds import Thresholds

    given = _thresholds(threshold or [])
    limits = Thresholds().with_values(given)
    folder = check_folder(out, overwrite=overwrite)
    density = load_density(model)
    held_out = read_events(density, events, tree, theta=theta or [], weights=weights, cut=cut)
    for note in held_out.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{held_out.sample}, effective events {held_out.sample.effective_events:.0f}")
    result = run(density, held_out.sample, n_expected=expected, thresholds=limits, seed=seed, max_events=most)
    inputs: dict[str, Any] = {"events": events, "tree": tree, "theta": theta or None, "weights": weights, "cut": cut}
    page, numbers = write_report(result, folder, overwrite=overwrite, inputs={**inputs, "notes": held_out.notes})
    _tell(result)
    typer.echo(f"wrote {page} and {numbers}")
    missed = result.verdict.missed(tuple(given))
    if missed:
        names = ", ".join(dict.fromkeys(str(finding.threshold) for finding in missed))
        typer.echo(f"missed: {names}", err=True)
        raise typer.Exit(MISSED)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Events that a model describes.

    Args:
        sample: The events.
        notes: What was left out.
    """

    sample: EventSample
    notes: list[str]


def read_events(
    density: Density, path: str, tree: str, *, theta: Sequence[str], weights: str | None, cut: str | None
) -> HeldOut:
    """Read events with the observables and parameters of a density; those outside of its ranges are left out.

    Args:
        density: The density.
        path: A ROOT file or a pattern.
        tree: Name of the tree.
        theta: ``NAME=BRANCH`` texts; branches of other parameters have the names of these.
        weights: Branch of the weights.
        cut: Selection.

    Raises:
        FileNotFoundError: If no file matches.
        KeyError: If the tree or a branch is missing.
        ValueError: If no event is left, or events are not usable.
    """
    from zfit_egmm.events.root import read_columns
    from zfit_egmm.events.sample import EventSample

    branches = _branches(theta, density.theta_names)
    names = [observable.name for observable in density.observables]
    wanted = [*names, *branches.values(), *([weights] if weights else [])]
    try:
        columns = {name: np.asarray(c, dtype=float) for name, c in read_columns(path, tree, wanted, cut=cut).items()}
    except KeyError as error:
        if not any(f"no branch {branch!r}" in str(error) for branch in branches.values()):
            raise
        hint = " ".join(f"--theta {name}=BRANCH" for name in density.theta_names)
        raise ValueError(f"{error}; say where the parameters are: {hint}") from error
    is_kept = np.ones(len(columns[names[0]]), dtype=bool)
    notes = []
    ranges = [(o.name, o.outside(columns[o.name]), o.limits) for o in density.observables]
    for name, (low, high) in zip(density.theta_names, density.theta_range, strict=True):
        column = columns[branches[name]]
        ranges.append((name, ~((column >= low) & (column <= high)), (low, high)))
    for name, outside, (low, high) in ranges:
        if outside.any():
            share = 100 * outside.mean()
            notes.append(f"{outside.sum()} events ({share:.3g} %) with {name} outside {low:g} to {high:g} are left out")
            is_kept &= ~outside
    if not is_kept.any():
        raise ValueError(f"no event of {path} lies in the ranges of the model: " + "; ".join(notes))
    kept = {name: column[is_kept] for name, column in columns.items()}
    sample = EventSample(
        density.observables,
        np.column_stack([kept[name] for name in names]),
        theta=np.column_stack([kept[branch] for branch in branches.values()]) if branches else None,
        theta_names=density.theta_names,
        weights=kept[weights] if weights else None,
    )
    return HeldOut(sample, notes)


def _branches(entries: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Branch of each parameter, in the order of ``names``."""
    result = {name: name for name in names}
    for entry in entries:
        name, _, branch = entry.partition("=")
        if name not in result or not branch:
            known = f"this model has {', '.join(names)}" if names else "this model has no parameters"
            raise ValueError(f"--theta {entry}: write NAME=BRANCH; {known}")
        result[name] = branch
    return result


def _thresholds(entries: Sequence[str]) -> dict[str, float]:
    values = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            raise ValueError(f"--threshold {entry}: write NAME=VALUE, such as --threshold auc=0.01") from None
    return values


def _tell(result: Any) -> None:
    """Verdict and findings in the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in result.verdict.findings:
        table.add_row(finding.status or "info", finding.text)
    for kind, entries in (("error", result.failed), ("skipped", result.skipped)):
        for name, reason in entries.items():
            table.add_row(kind, f"{name}: {reason}")
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(result.verdict.text)
