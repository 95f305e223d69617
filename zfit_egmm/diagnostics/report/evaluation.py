"""Run every diagnostic on a density and held-out events, and judge the results."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry.declaration import Entry, Task
from zfit_egmm.diagnostics.report.entries import ENTRIES, Results
from zfit_egmm.diagnostics.report.thresholds import Thresholds
from zfit_egmm.diagnostics.report.verdict import Verdict, judge
from zfit_egmm.diagnostics.samples import check_match, subsample
from zfit_egmm.events.sample import EventSample

N_EXPECTED, MAX_EVENTS = 1000.0, 1_000_000  # defaults: events of the measurement, and most events that are looked at


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that is known of a density after an evaluation.

    Args:
        results: The results of the diagnostics.
        verdict: What they mean, in words.
        skipped: Diagnostics that do not apply, with the reason.
        failed: Diagnostics that ended with an error, with its message.
        thresholds: What the results were judged by.
        density: The density.
        sample: The events that were used.
        n_given: Number of rows that were given, before one of each event was chosen and ``max_events`` was applied.
        n_expected: Number of events of the measurement.
        seed: Seed of everything random.
        seconds: Time of each diagnostic.
    """

    results: Results
    verdict: Verdict
    skipped: dict[str, str]
    failed: dict[str, str]
    thresholds: Thresholds
    density: Density
    sample: EventSample
    n_given: int
    n_expected: float
    seed: int
    seconds: dict[str, float]

    @property
    def source(self) -> tuple[Path, str] | None:
        """File of the density and its SHA-256, if it was loaded or saved."""
        return self.density.source


def evaluate(
    density: Density,
    sample: EventSample,
    *,
    n_expected: float = N_EXPECTED,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    max_events: int = MAX_EVENTS,
    progress: bool = True,
) -> Evaluation:
    """Compare a density with held-out events in every way that applies.

    Diagnostics whose cost grows fast use part of the events. One that ends with an error does not stop the others.

    Args:
        density: The density, of any kind.
        sample: Simulated events that it was not trained with, with their theta. Of an event that stands in several
            rows, with weights for several theta, one row is used, chosen at random.
        n_expected: Number of events of the measurement that the density is meant for.
        thresholds: What is good enough. Default: ``Thresholds()``.
        seed: Seed of everything random.
        max_events: Most events to use, chosen at random.
        progress: Whether to show the progress.

    Returns:
        Results and verdict; see :func:`zfit_egmm.diagnostics.write_report`.

    Raises:
        ValueError: If the density and the sample do not match, or a number makes no sense.
    """
    # Copies of an event at several theta would look like a better agreement, or a worse one, than there is.
    independent = sample.independent(seed=seed)
    check_match(density, independent)
    if not 0 < n_expected < math.inf or max_events < 1:
        raise ValueError(f"n_expected and max_events must be positive, got {n_expected!r} and {max_events!r}")
    limits = Thresholds() if thresholds is None else thresholds
    used = subsample(independent, max_events, seed=seed)
    log = _run_all(Task(density, used, float(n_expected), seed), progress)
    results = Results(**log.found)
    verdict = judge(results, limits, n_expected=float(n_expected), failed=log.failed)
    outcome = results, verdict, log.skipped, log.failed, limits
    return Evaluation(*outcome, density, used, sample.n_events, float(n_expected), seed, log.seconds)


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Entries in their order, but each after those whose results it takes."""
    known, ordered = {entry.name: entry for entry in entries}, []

    def add(entry: Entry) -> None:
        for name in (*entry.needs, *entry.uses):
            if name in known:
                add(known[name])
        if entry not in ordered:
            ordered.append(entry)

    for entry in entries:
        add(entry)
    return ordered


@dataclass(frozen=True)
class _Log:
    """What became of the diagnostics: results, reasons, errors and times, by name."""

    found: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, entry: Entry, task: Task) -> None:
        """Run a diagnostic if it applies."""
        start = time.monotonic()
        try:
            reason = entry.why_not(task)
            if reason is not None:
                self.skipped[entry.name] = reason
                return
            with warnings.catch_warnings():
                # Events at theta outside of the trained range are the caller's choice.
                warnings.filterwarnings("ignore", message=".*in which it was trained.*")
                self.found[entry.name] = entry.run(task)
        except Exception as error:
            # Whatever it is, the other diagnostics are worth having; the report shows the error.
            self.failed[entry.name] = f"{type(error).__name__}: {error}"
        self.seconds[entry.name] = time.monotonic() - start


def _run_all(task: Task, is_shown: bool) -> _Log:
    """Run all diagnostics, and show the progress on standard error."""
    console = Console(stderr=True)
    is_live = is_shown and console.is_terminal
    percent = TextColumn("{task.percentage:3.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), percent, TimeElapsedColumn())
    log, entries, done = _Log(), in_order(ENTRIES), 0.0
    with Bar(*columns, console=console, disable=not is_live, transient=True) as bar:
        line = bar.add_task("", total=sum(entry.cost for entry in entries))
        for entry in entries:
            bar.update(line, description=entry.title, completed=done)
            if is_shown and not is_live:
                console.print(f"evaluating: {entry.title}", highlight=False, soft_wrap=True)

            def advance(fraction: float, done: float = done, cost: float = entry.cost) -> None:
                bar.update(line, completed=done + fraction * cost)

            log.run(entry, replace(task, found=log.found, progress=advance))
            done += entry.cost
    return log
