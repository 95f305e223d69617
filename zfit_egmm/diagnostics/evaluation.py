"""Run every diagnostic on a density and held-out events, and judge the results."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.comparison import check_match, subsample
from zfit_egmm.diagnostics.results import Results
from zfit_egmm.diagnostics.stages import STAGES, Stage, Task
from zfit_egmm.diagnostics.thresholds import Thresholds
from zfit_egmm.diagnostics.verdict import Verdict, judge
from zfit_egmm.events.sample import EventSample

N_EXPECTED, MAX_EVENTS = 1000.0, 1_000_000


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
        return getattr(self.density, "source", None)


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

    Diagnostics whose cost grows fast use part of the events; see :mod:`zfit_egmm.diagnostics.stages`. One that ends
    with an error does not stop the others.

    Args:
        density: The density, an ensemble, or anything else with the methods of a density.
        sample: Simulated events that it was not trained with, with their theta. Of an event that stands in several
            rows, with weights for several theta, one row is used, chosen at random.
        n_expected: Number of events of the measurement that the density is meant for.
        thresholds: What is good enough. Default: ``Thresholds()``.
        seed: Seed of everything random.
        max_events: Most events to use, chosen at random.
        progress: Whether to show the progress.

    Returns:
        Results and verdict; see :func:`zfit_egmm.diagnostics.report.write_report`.

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
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    task = Task(density, used, float(n_expected), seed)
    with _shown(progress) as show:
        for stage, advance in show(STAGES):
            reason = stage.why_not(task, found)
            if reason is not None:
                skipped[stage.name] = reason
                continue
            start = time.monotonic()
            try:
                with warnings.catch_warnings():
                    # Events at theta outside of the trained range are the caller's choice.
                    warnings.filterwarnings("ignore", message=".*in which it was trained.*")
                    found[stage.name] = stage.run(task, found, advance)
            except Exception as error:
                # Whatever it is, the other diagnostics are worth having; the report shows the error.
                failed[stage.name] = f"{type(error).__name__}: {error}"
            seconds[stage.name] = time.monotonic() - start
    results = Results(**found)
    verdict = judge(results, limits, n_expected=float(n_expected), failed=failed)
    return Evaluation(
        results,
        verdict,
        skipped,
        failed,
        limits,
        density,
        used,
        sample.n_events,
        float(n_expected),
        seed,
        seconds,
    )


@contextmanager
def _shown(is_enabled: bool) -> Iterator[Any]:
    """Yields a function that goes through stages and shows the progress on standard error."""
    console = Console(stderr=True)
    is_live = is_enabled and console.is_terminal
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, disable=not is_live, transient=True) as bar:
        line = bar.add_task("", total=1.0)

        def show(stages: tuple[Stage, ...]) -> Iterator[tuple[Stage, Any]]:
            total, done = sum(stage.cost for stage in stages), 0.0
            for stage in stages:
                bar.update(line, description=stage.title, completed=done / total)
                if is_enabled and not is_live:
                    console.print(f"evaluating: {stage.title}", highlight=False, soft_wrap=True)

                def advance(fraction: float, done: float = done, cost: float = stage.cost) -> None:
                    bar.update(line, completed=(done + fraction * cost) / total)

                yield stage, advance
                done += stage.cost

        yield show
