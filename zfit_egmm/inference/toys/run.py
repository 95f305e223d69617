"""run_toys: a campaign of toys in this process, in a pool of processes or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np

from zfit_egmm.inference.toys.campaign import CampaignFile, ToyResults, check_path
from zfit_egmm.inference.toys.workers import Task, run_here, run_in_pool, run_on_dask

MOST_PER_TASK = 20
TASKS_PER_WORKER = 20


class Experiment(Protocol):
    """What makes and evaluates one toy, such as :class:`~zfit_egmm.inference.toys.toy_fit.ToyFit`."""

    def describe(self) -> Mapping[str, Any]:
        """What decides the results, in terms of JSON; kept in the file of results."""

    def check(self, point: Mapping[str, float]) -> None:
        """Raise ``ValueError`` if toys cannot be made at a point."""

    def run(self, point: Mapping[str, float], seed: np.random.SeedSequence) -> Mapping[str, Any]:
        """One toy: numbers and texts by name. It may depend on the point and the seed only."""


def run_toys(
    make: Callable[[], Experiment],
    n_toys: int,
    *,
    points: Sequence[Mapping[str, float]] = ({},),
    seed: int = 0,
    path: Any = None,
    workers: Any = 1,
    progress: bool = True,
) -> ToyResults:
    """Make toys, many times at each point, and collect their results.

    Each toy depends on the seed, its point and its number alone, so that results are the same whatever ran where and
    in which order, with the same number of threads per process. With a path, results are appended to the file as they
    come; the same call goes on where it was interrupted, and a larger ``n_toys`` adds to what is there.

    Args:
        make: Makes the experiment, once per process. For other processes it may be any function, also one of a
            notebook, but what it needs must be sent with it: let it read from files. A script that uses other processes
            must be guarded by ``if __name__ == "__main__"``.
        n_toys: Toys at each point.
        points: True values of parameters.
        seed: Seed of all toys.
        path: File for the results (lines of JSON), by custom with the suffix ``.jsonl``.
        workers: 1 for this process, a larger number for that many new processes with one thread each, or a
            ``dask.distributed.Client``.
        progress: Whether to show a progress bar.

    Raises:
        CampaignError: If the file holds another campaign.
        ValueError: If a number or a point makes no sense.
        TypeError: If ``make`` cannot be sent to other processes.
    """
    check_campaign(n_toys, seed, workers, path)
    experiment = make()
    places = [{name: float(value) for name, value in point.items()} for point in points]
    for point in places:
        experiment.check(point)
    head = {"seed": int(seed), "points": places, "experiment": dict(experiment.describe())}
    file = CampaignFile(path, head) if path is not None else None
    done = file.rows if file is not None else []
    try:
        tasks = _tasks(places, n_toys, int(seed), {(row["point"], row["toy"]) for row in done}, workers)
        rows = list(done)
        n_all = n_toys * len(places)
        with _Progress(n_all, enabled=progress) as bar, closing(_run(make, experiment, tasks, workers)) as found:
            bar.update(len(done), done)
            for new in found:
                rows += new
                if file is not None:
                    file.append(new)
                bar.update(len(new), new)
        if file is not None:
            file.finish()
    finally:
        if file is not None:
            file.close()
    wanted = [row for row in rows if row["toy"] < n_toys]
    wanted.sort(key=lambda row: (row["point"], row["toy"]))
    return ToyResults(tuple(places), tuple(wanted), head)


def check_campaign(n_toys: int, seed: int, workers: Any, path: Any) -> None:
    """Check what toys are asked for, before any work is done for them.

    Raises:
        CampaignError: If the file holds something else.
        OSError: If it cannot be written.
        ValueError: If a number makes no sense.
    """
    if n_toys < 1:
        raise ValueError(f"n_toys must be at least 1, got {n_toys}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if not _is_dask(workers) and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers must be a whole number from 1, or a Dask client, got {workers!r}")
    if path is not None:
        check_path(path, int(seed))


def _is_dask(workers: Any) -> bool:
    return hasattr(workers, "submit") and hasattr(workers, "nthreads")


def _run(
    make: Callable[[], Experiment], experiment: Experiment, tasks: list[Task], workers: Any
) -> Generator[list[dict[str, Any]], None, None]:
    if not tasks:
        return
    if _is_dask(workers):
        yield from run_on_dask(make, tasks, workers)
    elif workers == 1:
        yield from run_here(experiment, tasks)
    else:
        yield from run_in_pool(make, tasks, workers)


def _tasks(
    points: Sequence[Mapping[str, float]], n_toys: int, seed: int, done: set[tuple[int, int]], workers: Any
) -> list[Task]:
    """What is still to be done, in pieces of a few toys."""
    left = [(p, toy) for toy in range(n_toys) for p in range(len(points)) if (p, toy) not in done]
    n_workers = max(1, len(workers.nthreads())) if _is_dask(workers) else workers
    size = 1 if n_workers == 1 else int(np.clip(len(left) // (TASKS_PER_WORKER * n_workers), 1, MOST_PER_TASK))
    return [
        Task(tuple((p, toy, dict(points[p]), seed) for p, toy in left[first : first + size]))
        for first in range(0, len(left), size)
    ]


class _Progress:
    """A progress bar with rate, remaining time and failed fits."""

    def __init__(self, total: int, *, enabled: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("toys"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=Console(stderr=True),
            disable=not enabled,
        )
        self._task = self._bar.add_task("toys", total=total, rate="", failed="")
        self._n_failed = 0

    def update(self, n: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self._n_failed += sum(not row.get("valid", True) for row in rows)
        speed = self._bar.tasks[0].speed
        rate = f"{speed:.2g} per second" if speed else ""
        failed = f"{self._n_failed} failed" if self._n_failed else ""
        self._bar.update(self._task, advance=n, rate=rate, failed=failed)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
