"""Campaigns of toys: what they depend on, their file, and processes that die."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import toy_experiments
from toy_experiments import Numbers, numbers

from zfit_egmm.inference.toys import workers as workers_module
from zfit_egmm.inference.toys.campaign import CampaignError, CampaignFile, ToyResults
from zfit_egmm.inference.toys.run import run_toys
from zfit_egmm.inference.toys.workers import Task, run_here, run_in_pool

POINTS = ({"mu": 0.0}, {"mu": 1.5})

SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(toy_experiments.__file__).parent)!r})
from functools import partial
from toy_experiments import Numbers
from zfit_egmm.inference.toys.run import run_toys
if __name__ == "__main__":
    make = partial(Numbers, seconds=0.1)
    run_toys(make, 60, points=[{{"mu": 0.0}}, {{"mu": 1.5}}], seed=3, path=sys.argv[1], workers=2, progress=False)
"""


class Counted(Numbers):
    """Remembers what it was asked for."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.asked = []

    def run(self, point, seed):
        row = super().run(point, seed)
        self.asked.append(seed.spawn_key)
        return row


def run(n_toys=6, make=numbers, **arguments):
    arguments = {"points": POINTS, "seed": 3, "progress": False, **arguments}
    return run_toys(make, n_toys, **arguments)


def test_a_toy_depends_on_the_seed_its_point_and_its_number_alone():
    results = run()
    assert [(row["point"], row["toy"]) for row in results.rows] == list(itertools.product(range(2), range(6)))
    assert results.rows == run().rows
    assert [row for row in results.rows if row["toy"] < 2] == list(run(2).rows)
    assert [row["value"] for row in run(points=POINTS[:1]).rows] == results.column("value", 0).tolist()
    assert len({row["value"] for row in results.rows + run(seed=4).rows}) == 24
    # In any order, and any number of toys at a time.
    toys = [(point, toy, POINTS[point], 3) for point in range(2) for toy in range(6)]
    for seed, size in ((0, 1), (1, 5)):
        mixed = [toys[i] for i in np.random.default_rng(seed).permutation(12)]
        tasks = [Task(tuple(mixed[first : first + size])) for first in range(0, 12, size)]
        rows = list(itertools.chain(*run_here(numbers(), tasks)))
        assert sorted(rows, key=lambda row: (row["point"], row["toy"])) == list(results.rows)


def test_results_are_plain_numbers_by_column():
    results = run(40)
    assert len(results) == 80
    assert results.points == POINTS
    assert {type(value) for row in results.rows for value in row.values()} == {int, float, bool, str}
    values = results.column("value", 1)
    assert values.shape == (40,)
    assert abs(values.mean() - 1.5) < 4 / np.sqrt(40)
    assert 0 < results.n_failed == np.sum(results.column("value") >= 2.5)
    assert results.column("value", 1, valid=True).max() < 2.5
    assert results.column("text").dtype.kind == "U"
    with pytest.raises(KeyError, match="no column 'mass'; there are point, toy, value"):
        results.column("mass")


def test_a_file_holds_what_is_returned(tmp_path):
    path = tmp_path / "new folder" / "toys.jsonl"
    results = run(path=path)
    loaded = ToyResults.load(path)
    assert loaded.rows == results.rows
    assert loaded.points == results.points
    assert loaded.head["experiment"] == {"kind": "numbers", "scale": 1.0}
    lines = path.read_text().splitlines()
    assert len(lines) == 13
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert [entry.name for entry in path.parent.iterdir()] == ["toys.jsonl"]
    with pytest.raises(FileNotFoundError, match=r"no file of toys .*other\.jsonl"):
        ToyResults.load(tmp_path / "other.jsonl")


def test_numbers_that_json_does_not_know_come_back(tmp_path):
    class Odd(Numbers):
        def run(self, *_):
            return {"a": np.float32(0.1), "b": np.nan, "c": np.bool_(True), "d": -np.inf}

    results = run(1, Odd, path=tmp_path / "toys.jsonl")
    (row, _) = ToyResults.load(tmp_path / "toys.jsonl").rows
    assert row["a"] == np.float32(0.1)
    assert row["c"] is True
    assert np.isnan(row["b"])
    assert row["d"] == -np.inf
    assert repr(row) == repr(results.rows[0])


def test_an_interrupted_file_goes_on_wherever_it_was_cut(tmp_path):
    path = tmp_path / "toys.jsonl"
    run(path=path)
    finished = path.read_bytes()
    # As it was before it was put in order, in the end.
    path.unlink()
    with pytest.raises(ValueError, match="toy 5 is wrong"):
        run(make=partial(Numbers, wrong=5), path=path)
    content = path.read_bytes()
    head = content.index(b"\n")
    assert content != finished
    assert content.count(b"\n") == 11
    cuts = {0, 1, head - 1, head, head + 1, head + 2, len(content) - 1, len(content)}
    cuts |= set(np.random.default_rng(0).integers(len(content), size=40).tolist())
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        experiment = Counted()
        results = run(make=lambda made=experiment: made, path=path)
        assert path.read_bytes() == finished, cut
        assert len(results) == 12
        assert len(experiment.asked) == 12 - max(0, content[:cut].count(b"\n") - 1), cut


def test_a_finished_file_is_read_only_and_more_toys_are_added_to_it(tmp_path):
    path, other = tmp_path / "toys.jsonl", tmp_path / "other.jsonl"
    run(3, path=path)
    run(path=other)
    experiment = Counted()
    assert run(make=lambda: experiment, path=path).rows == ToyResults.load(other).rows
    assert len(experiment.asked) == 6
    assert path.read_bytes() == other.read_bytes()
    assert len(run(2, make=lambda: experiment, path=path)) == 4
    assert len(experiment.asked) == 6
    assert path.read_bytes() == other.read_bytes()


def test_a_damaged_line_is_named_and_nothing_is_changed(tmp_path):
    path = tmp_path / "toys.jsonl"
    run(path=path)
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    for line in (b"{]\n", b"[1, 2]\n", b'{"point": 0}\n', b"\xff\xfe\n", b"\n"):
        path.write_bytes(b"".join([*lines[:4], line, *lines[5:]]))
        before = path.read_bytes()
        with pytest.raises(CampaignError, match="is damaged in line 5: remove that line"):
            run(path=path)
        assert path.read_bytes() == before
    path.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    run(path=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"energy,mass\n1,2\n",
        b'{"kind": "other"}\n',
        b"[]\n",
        b"3\n",
        b"\x89PNG\r\n\x1a\n",
        b'{"kind": "zfit_egmm toys"}\n',
    ],
)
def test_other_files_are_left_alone(tmp_path, content):
    path = tmp_path / "toys.jsonl"
    path.write_bytes(content)
    with pytest.raises(CampaignError, match=r"toys\.jsonl is no file of toys; choose another path"):
        run(path=path)
    with pytest.raises(CampaignError, match="no file of toys"):
        ToyResults.load(path)
    assert path.read_bytes() == content


def test_a_file_of_another_version_is_not_touched(tmp_path):
    path = tmp_path / "toys.jsonl"
    run(path=path)
    content = path.read_bytes().replace(b'"version": 1', b'"version": 99')
    path.write_bytes(content)
    with pytest.raises(CampaignError, match="has version 99 of the format, this program reads 1"):
        run(path=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("seed", {"seed": 4}),
        ("points", {"points": [{"mu": 0.1}]}),
        ("experiment", {"make": partial(Numbers, scale=2.0)}),
    ],
)
def test_another_campaign_is_not_mixed_into_a_file(tmp_path, name, change):
    path = tmp_path / "toys.jsonl"
    run(path=path)
    content = path.read_bytes()
    with pytest.raises(CampaignError, match=f"holds another campaign: {name} is .* there and .* now; choose another"):
        run(**{"path": path, **change})
    assert path.read_bytes() == content
    # The same points as other kinds of numbers are the same.
    run(path=path, points=[{"mu": np.float32(0.0)}, {"mu": np.float64(1.5)}])
    run(path=path, points=[{"mu": 0}, {"mu": 1.5}])
    assert path.read_bytes() == content


def test_only_one_process_writes_to_a_file(tmp_path, monkeypatch):
    import fcntl

    path = tmp_path / "toys.jsonl"
    run(path=path)
    content, head = path.read_bytes(), ToyResults.load(path).head
    campaign = {name: head[name] for name in ("seed", "points", "experiment")}
    first = CampaignFile(path, campaign)
    with pytest.raises(OSError, match="another process is writing toys"):
        run(path=path)
    assert len(ToyResults.load(path)) == 12

    # The other one finishes between opening and locking: its file is a new one.
    lock = fcntl.flock

    def late(stream, how):
        first.finish()
        lock(stream, how)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        with pytest.raises(OSError, match="has just finished"):
            run(path=path)
    run(path=path)
    assert path.read_bytes() == content


def test_toys_that_are_done_are_in_the_file_when_an_error_ends_it(tmp_path):
    path = tmp_path / "toys.jsonl"
    with pytest.raises(ValueError, match="toy 4 is wrong"):
        run(make=partial(Numbers, wrong=4), path=path)
    assert [(row["point"], row["toy"]) for row in ToyResults.load(path).rows] == list(
        itertools.product(range(2), range(4))
    )


def test_progress_goes_to_stderr_and_can_be_switched_off(capfd):
    run(progress=True)
    shown = capfd.readouterr()
    assert "12/12" in shown.err
    assert shown.out == ""
    run()
    assert capfd.readouterr() == ("", "")


def test_wrong_numbers_are_refused_before_anything_is_done(tmp_path):
    path = tmp_path / "toys.jsonl"
    with pytest.raises(ValueError, match="n_toys must be at least 1, got 0"):
        run(0, path=path)
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        run(seed=-1, path=path)
    for wrong in (0, 1.5, "two"):
        with pytest.raises(ValueError, match="workers must be a whole number from 1, or a Dask client"):
            run(workers=wrong, path=path)
    with pytest.raises(ValueError, match="mu is above 100"):
        run(points=[*POINTS, {"mu": 101.0}], path=path)
    assert not path.exists()


def test_what_cannot_be_sent_to_other_processes_is_explained():
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"<lambda>.* cannot be sent to other processes .*lock.*read from files"):
        run(make=lambda: lock and Numbers(), workers=2)


PIPED = f"""
import sys
sys.path.insert(0, {str(Path(toy_experiments.__file__).parent)!r})
from toy_experiments import Numbers
from zfit_egmm.inference.toys.run import run_toys
scale = 2.0

class Doubled(Numbers):
    pass

def make():
    return Doubled(scale=scale)

results = run_toys(make, 4, seed=3, workers=2, progress=False)
assert results.rows == run_toys(make, 4, seed=3, progress=False).rows
print(len(results), __file__)
"""


def test_a_function_of_a_piped_script_works_in_other_processes():
    """As one of a notebook does, where there is no file either."""
    command = [sys.executable, "-"]
    done = subprocess.run(command, input=PIPED, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4", "<stdin>"]


def test_processes_that_die_when_they_start_are_told_at_once(monkeypatch):
    """As in a script that is not guarded."""
    monkeypatch.setattr(workers_module, "_begin", os._exit)
    with pytest.raises(RuntimeError, match=r"the worker processes die when they start. In a script, .*__main__"):
        run(workers=2)


def test_a_process_that_is_killed_costs_nothing_but_time(tmp_path):
    path, other = tmp_path / "toys.jsonl", tmp_path / "other.jsonl"
    run(points=[{}], path=other)
    results = run(make=partial(Numbers, folder=tmp_path, deadly=(3,)), points=[{}], path=path, workers=2)
    assert (tmp_path / "killed_0_3").exists()
    assert path.read_bytes() == other.read_bytes()
    assert results.rows == ToyResults.load(other).rows


def test_processes_that_always_die_end_in_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "MOST_CRASHES", 1)
    make = partial(Numbers, folder=tmp_path, deadly=(0,), always=True)
    with pytest.raises(RuntimeError, match=r"all 1 worker processes died 1 times .*workers=1 to see why"):
        list(run_in_pool(make, [Task(((0, 0, {}, 3),))], 1))
    assert (tmp_path / "killed_0_0").exists()


def test_toys_that_kill_come_last_and_end_it_after_three_times(monkeypatch):
    tasks = [Task(((0, toy, {}, 3),)) for toy in range(6)]
    begun = []

    def pool(content, left, n_workers, started):
        """Breaks at toy 1, while toy 2 is running too."""
        begun.append([task.toys[0][1] for task in left])
        for task in left:
            started.append(task)
            if task is tasks[1]:
                started.append(tasks[2])
                raise BrokenProcessPool
            yield task, [task.toys[0][1]]

    monkeypatch.setattr(workers_module, "_run_pool_once", pool)
    done = []
    with pytest.raises(RuntimeError, match="all 2 worker processes died 3 times"):
        done.extend(row for rows in run_in_pool(numbers, tasks, 2) for row in rows)
    # The toy that was running with the one that kills has to wait behind it; all others are done.
    assert begun == [[0, 1, 2, 3, 4, 5], [3, 4, 5, 1, 2], [1, 2], [1, 2]]
    assert done == [0, 3, 4, 5]


def threads_for_processes(monkeypatch):
    """The same interface without the time to start processes; returns the sizes of the pools that were started."""
    started = []

    def pool(n_workers, *_, **__):
        started.append(n_workers)
        return ThreadPoolExecutor(n_workers)

    monkeypatch.setattr(workers_module, "ProcessPoolExecutor", pool)
    return started


def test_one_pool_makes_all_toys(monkeypatch):
    started = threads_for_processes(monkeypatch)
    assert run(30, workers=3).rows == run(30).rows
    assert started == [3]


def test_an_error_in_a_worker_is_raised_after_what_is_done(monkeypatch):
    started = threads_for_processes(monkeypatch)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    tasks = [Task(((0, toy, {}, 3),)) for toy in range(8)]
    done = []
    with pytest.raises(ValueError, match="toy 6 is wrong"):
        done.extend(row["toy"] for rows in run_in_pool(partial(Numbers, wrong=6), tasks, 2) for row in rows)
    # At most three others were under way with it, in no certain order: those are made again when it goes on.
    assert set(done) <= set(range(8)) - {6}
    assert len(set(done) & set(range(6))) >= 3
    assert started == [2]
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


def test_a_campaign_that_is_killed_goes_on_and_leaves_no_process_behind(tmp_path):
    path, other, script = (tmp_path / name for name in ("toys.jsonl", "other.jsonl", "script.py"))
    script.write_text(SCRIPT)
    running = subprocess.Popen([sys.executable, script, path])
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_bytes().count(b"\n") > 12):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) >= 2
    running.send_signal(signal.SIGKILL)
    running.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    there = len(ToyResults.load(path))
    assert 12 <= there < 120
    experiment = Counted()
    run(60, make=lambda: experiment, path=path)
    assert len(experiment.asked) == 120 - there
    run(60, path=other)
    assert path.read_bytes() == other.read_bytes()
