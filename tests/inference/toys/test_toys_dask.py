"""Toys on a Dask cluster of two processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest
from toy_experiments import Numbers, numbers

from zfit_egmm.inference.toys.campaign import ToyResults
from zfit_egmm.inference.toys.run import run_toys

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

# Dask warns of connections that close when a worker is killed, and of its own deprecations.
pytestmark = pytest.mark.filterwarnings("ignore")

POINTS = ({"mu": 0.0}, {"mu": 1.5})


@pytest.fixture(scope="module")
def client():
    """Two workers; one that dies is started anew.

    Dask looks again some time after each death, and gives a worker up that has then no process; with its default of
    15 s, a worker that dies twice 15 s apart is given up while it starts anew.
    """
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def run(n_toys=30, make=numbers, **arguments):
    return run_toys(make, n_toys, points=POINTS, seed=3, progress=False, **arguments)


@contextmanager
def killed_in_the_middle(path, victims):
    """Kills processes once a campaign has written ten lines; gives the number of toys that were done then."""
    n_done = []

    def kill():
        while not path.exists() or path.read_bytes().count(b"\n") < 10:
            time.sleep(0.02)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        n_done.append(path.read_bytes().count(b"\n") - 1)

    killer = threading.Thread(target=kill)
    killer.start()
    yield n_done
    killer.join()


def test_a_cluster_gives_the_same_file_as_this_process(client, tmp_path):
    path, other = tmp_path / "toys.jsonl", tmp_path / "other.jsonl"
    results = run(workers=client, path=path)
    assert results.rows == run(path=other).rows
    assert path.read_bytes() == other.read_bytes()
    # Nothing is left on the cluster, and more toys can be added to the file.
    assert not client.futures
    run(35, make=lambda: Numbers(), workers=client, path=path)  # noqa: PLW0108 - functions of any kind can be sent
    run(35, path=other)
    assert path.read_bytes() == other.read_bytes()


def test_an_error_on_a_worker_is_raised_here(client, tmp_path):
    path = tmp_path / "toys.jsonl"
    with pytest.raises(ValueError, match="toy 4 is wrong"):
        run(make=partial(Numbers, wrong=4), workers=client, path=path)
    run(workers=client, path=path)
    assert ToyResults.load(path).rows == run().rows


def test_a_toy_that_kills_its_worker_once_is_made_again(client, tmp_path):
    path, other = tmp_path / "toys.jsonl", tmp_path / "other.jsonl"
    run(make=partial(Numbers, folder=str(tmp_path), deadly=(3,)), workers=client, path=path)
    assert (tmp_path / "killed_0_3").exists()
    run(path=other)
    assert path.read_bytes() == other.read_bytes()


def test_a_worker_that_is_killed_in_the_middle_costs_nothing_but_time(client, tmp_path):
    client.wait_for_workers(2, timeout=120)
    path, other = tmp_path / "toys.jsonl", tmp_path / "other.jsonl"
    victims = list(client.run(os.getpid).values())
    with killed_in_the_middle(path, victims[:1]) as n_done:
        run(make=partial(Numbers, seconds=0.05), workers=client, path=path)
    run(path=other)
    assert path.read_bytes() == other.read_bytes()
    assert 9 <= n_done[0] < 60
    client.wait_for_workers(2, timeout=120)
    assert set(client.run(os.getpid).values()) != set(victims)


def test_all_workers_killed_at_once_cost_nothing_but_time(client, tmp_path):
    client.wait_for_workers(2, timeout=120)
    path, other = tmp_path / "toys.jsonl", tmp_path / "other.jsonl"
    victims = client.run(os.getpid).values()
    with killed_in_the_middle(path, victims):
        run(make=partial(Numbers, seconds=0.05), workers=client, path=path)
    run(path=other)
    assert path.read_bytes() == other.read_bytes()
