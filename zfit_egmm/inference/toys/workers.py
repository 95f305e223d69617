"""Where toys run: here, in spawned processes, or on the workers of a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ZFIT_DISABLE_TF_WARNINGS": "1",
}
MOST_CRASHES = 3
"""Times that all workers may die in a row without a single toy done."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """Some toys for one worker.

    Args:
        toys: For each the number of its point, its own number, the true values and the seed of the campaign.
    """

    toys: tuple[tuple[int, int, dict[str, float], int], ...]

    def run(self, experiment: Any) -> Rows:
        """Make the toys one after the other."""
        rows = []
        for point, toy, true, seed in self.toys:
            own = np.random.SeedSequence(seed, spawn_key=(point, toy))
            rows.append({"point": point, "toy": toy, **_plain(experiment.run(true, own))})
        return rows


def run_here(experiment: Any, tasks: Sequence[Task]) -> Iterator[Rows]:
    """Run tasks in this process."""
    for task in tasks:
        yield task.run(experiment)


def run_in_pool(make: Callable[[], Any], tasks: Sequence[Task], n_workers: int) -> Iterator[Rows]:
    """Run tasks in spawned processes of one thread each.

    A process that dies costs the toys that were running, which are run again.

    Raises:
        TypeError: If ``make`` cannot be sent.
        RuntimeError: If the processes die when they start, or again and again.
    """
    content = _packed(make, by_reference=_main_is_importable())
    left, crashes = list(tasks), 0
    while left:
        started: list[Task] = []
        try:
            for task, rows in _run_pool_once(content, tuple(left), n_workers, started):
                left.remove(task)
                crashes = 0
                yield rows
        except BrokenProcessPool:
            crashes += 1
            # Toys that may have killed their process come last, so that they do not hold up the others.
            left.sort(key=started.__contains__)
            if crashes >= MOST_CRASHES:
                raise RuntimeError(
                    f"all {n_workers} worker processes died {crashes} times without finishing a toy. Run the toys with "
                    "workers=1 to see why; each process needs its own memory"
                ) from None


def run_on_dask(make: Callable[[], Any], tasks: Sequence[Task], client: Any) -> Iterator[Rows]:
    """Run tasks on a Dask cluster; those of workers that die are run again elsewhere.

    Args:
        make: Makes the experiment.
        tasks: What to run.
        client: A ``dask.distributed.Client``.

    Raises:
        TypeError: If ``make`` cannot be sent.
        RuntimeError: If the cluster loses what was sent to it again and again.
    """
    from distributed import as_completed

    content = _packed(make, by_reference=False)
    left, losses = dict(enumerate(tasks)), 0
    while left:
        # A copy on every worker. If all that hold one die, the tasks that wait for it are cancelled, and sent again.
        shared = client.scatter(content, broadcast=True, hash=False)
        futures = {
            client.submit(_run_task, shared, task, pure=False, retries=MOST_CRASHES): number
            for number, task in left.items()
        }
        try:
            for future in as_completed(futures):
                rows = future.result()
                future.release()
                del left[futures[future]]
                losses = 0
                yield rows
        except CancelledError as error:
            losses += 1
            if losses >= MOST_CRASHES:
                raise RuntimeError(
                    f"the Dask cluster lost its workers {losses} times without finishing a toy. Look at the logs of "
                    "the workers; each needs its own memory"
                ) from error
        finally:
            client.cancel(list(futures))


def _run_pool_once(
    content: bytes, tasks: Sequence[Task], n_workers: int, started: list[Task]
) -> Iterator[tuple[Task, Rows]]:
    context = multiprocessing.get_context("spawn")
    has_started = context.Event()
    options: dict[str, Any] = {"mp_context": context, "initializer": _begin, "initargs": (has_started,)}
    with _environment(ONE_THREAD), _main_left_out(), ProcessPoolExecutor(n_workers, **options) as pool:
        waiting = iter(tasks)
        running: dict[Future, Task] = {}
        try:
            while True:
                # Two tasks per worker, so that an interrupt does not have to wait for a long queue.
                while len(running) < 2 * n_workers and (task := next(waiting, None)) is not None:
                    started.append(task)
                    running[pool.submit(_run_task, content, task)] = task
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                # What is done is handed out before an error ends it all.
                for future in sorted(done, key=lambda one: one.exception() is not None):
                    task = running.pop(future)
                    yield task, future.result()
        except BrokenProcessPool:
            if has_started.is_set():
                raise
            raise RuntimeError(
                "the worker processes die when they start. In a script, everything that is not a definition must stand "
                'below if __name__ == "__main__":, because each of them runs the script as well; each also needs its '
                "own memory"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(has_started: Any) -> None:
    """End this worker when the main process is gone, killed for example, rather than wait for tasks forever."""
    has_started.set()
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_experiments: dict[bytes, Any] = {}
"""The experiment of this worker process; made once."""

_one_at_a_time = threading.Lock()
"""An experiment has a state, and workers of a Dask cluster may have several threads."""


def _run_task(content: bytes, task: Task) -> Rows:
    with _one_at_a_time:
        if content not in _experiments:
            _experiments.clear()
            _experiments[content] = pickle.loads(content)()
        return task.run(_experiments[content])


def _packed(make: Callable[[], Any], *, by_reference: bool) -> bytes:
    """``make`` as bytes: by the name of its module where other processes can import that, else with its code."""
    if by_reference:
        with suppress(pickle.PicklingError, AttributeError, TypeError):
            return pickle.dumps(make)
    try:
        return cloudpickle.dumps(make)
    except Exception as error:
        raise TypeError(
            f"{make!r} cannot be sent to other processes ({error}): let it read from files what it needs, or use "
            "workers=1"
        ) from error


def _main_is_importable() -> bool:
    """Whether other processes can import the main program, which they do when they start."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return main.__spec__ is not None or (file is not None and Path(file).is_file())


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Keep new processes from importing a main program that is no file, such as a script that is piped to Python."""
    main = sys.modules["__main__"]
    file = None if _main_is_importable() else vars(main).pop("__file__", None)
    try:
        yield
    finally:
        if file is not None:
            main.__file__ = file


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of numpy as those of Python."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
