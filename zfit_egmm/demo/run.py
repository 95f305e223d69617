"""Run the demo: train, fit, print, draw."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from zfit_egmm.archive import check_output_folder
from zfit_egmm.demo.events import DemoEvents, load_events
from zfit_egmm.demo.fit import DemoFit, fit
from zfit_egmm.demo.plots import plot_demo_profile, plot_training, save
from zfit_egmm.density.base import Density
from zfit_egmm.events.root import write_columns, write_trees
from zfit_egmm.events.sample import EventSample
from zfit_egmm.pdf.plots import plot_fit
from zfit_egmm.training.config import TrainingConfig
from zfit_egmm.training.train import train

INJECTED = {"theta": 1.0, "n_signal": 300, "n_background": 200}
SIGNAL_CONFIG = TrainingConfig.preset("fast", time_budget=150)
BACKGROUND_CONFIG = TrainingConfig.preset("fast", time_budget=60)
DRAWN = 200_000
LABELS = {
    "m4l": r"$m_{4\ell}$ [GeV]",
    "mz2": r"$m_{Z_2}$ [GeV]",
    "cos_theta1": r"$\cos\theta_1$",
    "cos_theta2": r"$\cos\theta_2$",
    "phi": r"$\phi$ [rad]",
}


def run(
    out: str | Path = "egmm_demo",
    *,
    seed: int = 0,
    overwrite: bool = False,
    epochs: int | None = None,
    quiet: bool = False,
) -> dict:
    """Train a signal and a background density and fit a pseudo-data set with them.

    Args:
        out: Folder for models, figures and ``demo.json``.
        seed: Seed of everything random.
        overwrite: Whether results of an earlier run in ``out`` may be replaced.
        epochs: Most epochs of each training, for a quick look. Default: enough for a good density.
        quiet: Whether to print nothing.

    Returns:
        The content of ``demo.json``: injected and fitted values, validity, and seconds per stage.

    Raises:
        FileExistsError: If ``out`` holds results and ``overwrite`` is not set.
    """
    console = Console(quiet=quiet, highlight=False)
    folder = check_output_folder(out, ("demo.json", "signal.egmm", "background.egmm"), overwrite=overwrite)
    seconds: dict[str, float] = {}

    console.print("[bold]1. Events[/bold]: simulated H -> ZZ* -> 4l and q qbar -> ZZ, shipped with the package")
    with _stage(seconds, "events"):
        events = load_events(seed=seed, **INJECTED)  # type: ignore[arg-type]
    console.print(
        f"   {events.signal.n_events} signal and {events.background.n_events} background events to train with; "
        f"{len(events.data)} other events are the pseudo-data"
    )
    console.print("[bold]2. Training[/bold]: p(m4l, mz2, cos_theta1, cos_theta2, phi | theta) and the background")
    signal, background = _train(events, folder, seconds, seed=seed, epochs=epochs, quiet=quiet)
    console.print("[bold]3. Fit[/bold]: extended unbinned likelihood, Minuit, profile likelihoods")
    with _stage(seconds, "fit"):
        result = fit(events.data, signal, background, progress=not quiet)
    columns = {entry.name: column for entry, column in zip(signal.observables, events.data.T, strict=True)}
    write_columns(folder / "data.root", "events", columns)
    write_held_out(folder / "held_out.root", events)
    with _stage(seconds, "figures"):
        _draw(folder, events, signal, background, result, seed)
    summary = {
        "injected": INJECTED,
        "fitted": {name: asdict(value) for name, value in result.values.items()},
        "hesse": result.hesse,
        "valid": result.is_valid,
        "notes": list(result.notes),
        "profile": {
            "theta": [round(float(value), 4) for value in result.profile_theta],
            "minus_two_delta_log_likelihood": [round(float(value), 4) for value in result.profile],
        },
        "seed": seed,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    (folder / "demo.json").write_text(json.dumps(summary, indent=2) + "\n")
    _report(console, folder, result, seconds)
    return summary


def write_held_out(path: Path, events: DemoEvents) -> None:
    """Write the events that were not trained on: trees ``signal``, with theta, and ``background``."""
    trees = {}
    for name, sample in (("signal", events.held_signal), ("background", events.held_background)):
        columns = {one.name: sample.column(one.name) for one in sample.observables}
        trees[name] = columns | dict(zip(sample.theta_names, sample.theta.T, strict=True))
    write_trees(path, trees)


@contextmanager
def _stage(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = time.monotonic() - start


def _train(
    events: DemoEvents, folder: Path, seconds: dict[str, float], *, seed: int, epochs: int | None, quiet: bool
) -> tuple[Density, Density]:
    def one(name: str, sample: EventSample, config: TrainingConfig) -> Density:
        with _stage(seconds, f"train_{name}"):
            path = folder / f"{name}.egmm"
            chosen = replace(config, seed=seed, epochs=epochs)
            density = train(sample, chosen, progress=not quiet, checkpoint=f"{path}.checkpoint")
            density.save(path, overwrite=True)
        return density

    signal = one("signal", events.signal, SIGNAL_CONFIG)
    return signal, one("background", events.background, BACKGROUND_CONFIG)


def _draw(folder: Path, events: DemoEvents, signal: Density, background: Density, result: DemoFit, seed: int) -> None:
    theta = result.values["theta"].value
    components = {
        "background": (background.sample(DRAWN, seed=seed), result.values["n_background"].value),
        "signal": (signal.sample(DRAWN, [theta], seed=seed), result.values["n_signal"].value),
    }
    figure = plot_fit(signal.observables, events.data, components, data_label="pseudo-data", labels=LABELS)
    save(figure, folder / "observables")
    plot_demo_profile(result, INJECTED["theta"], folder / "profile_theta")
    plot_training(
        {"signal": signal.training["history"], "background": background.training["history"]}, folder / "training"
    )


def _report(console: Console, folder: Path, result: DemoFit, seconds: dict[str, float]) -> None:
    table = Table(title="Injected and fitted values")
    for header in ("parameter", "injected", "fitted", "68.3 % interval", "Hesse error", "pull"):
        table.add_column(header, justify="left" if header == "parameter" else "right")
    for name, value in result.values.items():
        injected = INJECTED[name]
        error = value.upper - value.value if injected > value.value else value.value - value.lower
        digits = 2 if name == "theta" else 1
        table.add_row(
            name,
            f"{injected:g}",
            f"{value.value:.{digits}f}",
            f"[{value.lower:.{digits}f}, {value.upper:.{digits}f}]".replace("[", r"\["),
            f"{result.hesse[name]:.{digits}f}",
            f"{(value.value - injected) / error:+.1f}" if error > 0 and np.isfinite(error) else "-",
        )
    console.print(table)
    for note in result.notes:
        console.print(f"   note: {note}")
    if not result.is_valid:
        console.print("[bold red]   The fit is not valid: do not use these numbers.[/bold red]")
    total = sum(seconds.values())
    console.print(
        f"\nDone in {total:.0f} s. In [bold]{folder}[/bold]:\n"
        "   observables.pdf/png    pseudo-data with the fitted components\n"
        "   profile_theta.pdf/png  profile likelihood of theta\n"
        "   training.pdf/png       losses of the two trainings\n"
        "   signal.egmm, background.egmm   the models;  demo.json   the numbers;  data.root   the pseudo-data\n"
        "   held_out.root   all events that were not trained on\n"
        "Next:\n"
        f"   zfit-egmm info {folder}/signal.egmm               what is in a model\n"
        f"   zfit-egmm sample {folder}/signal.egmm --theta theta=1 -n 1000 --out events.root\n"
        "   zfit-egmm train --example > train.yaml            a configuration for your own ntuples\n"
        "   zfit-egmm fit --example > fit.yaml                one for fits, scans, limits and toys with these models\n"
        "   zfit-egmm demo --seed 1 --out another_seed        other pseudo-data and trainings"
    )
