"""Fixtures: one small trained model per session, and a clean zfit around every test."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Callable

os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that share the cores are faster with one thread each.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pytest
import tensorflow as tf
from command_line import Result
from filelock import FileLock

from zfit_egmm import Density, EventSample, Observable, TrainingConfig, train
from zfit_egmm.demo import toy


def pytest_collection_finish():
    # Tracing graphs makes many objects that live on; looking at them again and again takes a tenth of the time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_modifyitems(items):
    if tf.config.list_physical_devices("GPU"):
        return
    skip = pytest.mark.skip(reason="TensorFlow sees no GPU on this machine")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="module")
def _free_graphs():
    yield
    # The graphs of a module hold on to each other, some hundred megabytes of them.
    gc.collect()


@pytest.fixture(autouse=True)
def _fresh_zfit():
    yield
    import zfit

    zfit.run.clear_graph_cache()
    zfit.run.set_graph_mode()


@pytest.fixture(scope="session")
def toy_sample() -> EventSample:
    return toy.grid_sample(2500, values=(-1.0, -0.5, 0.0, 0.5, 1.0), seed=5)


@pytest.fixture(scope="session")
def train_once(tmp_path_factory) -> Callable[..., Density]:
    """Trains a density once for all processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def once(name: str, sample: EventSample, **options) -> Density:
        path = folder / f"{name}.egmm"
        with FileLock(f"{path}.lock"):
            if not path.exists():
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Doubtful events")
                    train(sample, TrainingConfig.preset("fast", **options), progress=False).save(path)
        density = Density.load(path)
        density.source = None
        return density

    return once


@pytest.fixture(scope="session")
def toy_density(toy_sample, train_once) -> Density:
    """Four observables given two parameters."""
    return train_once("toy", toy_sample, seed=1, epochs=6)


@pytest.fixture(scope="session")
def mixed_sample() -> EventSample:
    """A continuous, a discrete and a continuous observable, correlated, given one theta, weighted."""
    rng = np.random.default_rng(11)
    n = 20_000
    theta = rng.uniform(-1, 1, n)
    energy = np.clip(rng.exponential(20 + 5 * theta), 0, 99.9)
    jets = np.minimum(rng.poisson(0.3 + energy / 40), 3)
    angle = np.clip(rng.normal(0.3 * theta + 0.2 * jets, 0.5), -1.9, 1.9)
    weights = np.where(rng.random(n) < 0.1, -0.5, 1.0)
    observables = (
        Observable("energy", 0, 100, unit="GeV", linear_fraction=0.2),
        Observable("jets", 0, 3, kind="discrete"),
        Observable("angle", -2, 2),
    )
    x = np.stack([energy, jets, angle], axis=1)
    return EventSample(observables, x, theta=theta[:, None], theta_names=("shift",), weights=weights)


@pytest.fixture(scope="session")
def mixed_density(mixed_sample, train_once) -> Density:
    return train_once("mixed", mixed_sample, seed=2, epochs=5)


@pytest.fixture(scope="session")
def h4l_events():
    """Real simulated events: signal and background to train with, and pseudo-data of others."""
    from zfit_egmm.demo.events import load_events

    return load_events(theta=1.0, n_signal=300, n_background=200, seed=4)


@pytest.fixture(scope="session")
def h4l_density(h4l_events, train_once) -> Density:
    """Five observables of H -> 4l given the CP-mixing theta."""
    return train_once("h4l", h4l_events.signal, seed=1, epochs=4)


@pytest.fixture(scope="session")
def h4l_background(h4l_events, train_once) -> Density:
    return train_once("h4l_background", h4l_events.background, seed=1, epochs=4)


@pytest.fixture(scope="session")
def plain_density(train_once) -> Density:
    """One observable, no theta."""
    rng = np.random.default_rng(3)
    x = rng.triangular(0, 2, 10, size=(4000, 1))
    return train_once("plain", EventSample([Observable("mass", 0, 10)], x), epochs=8)


@pytest.fixture(params=["toy", "mixed", "plain"])
def density(request) -> Density:
    return request.getfixturevalue(f"{request.param}_density")


@pytest.fixture
def theta(density) -> np.ndarray:
    """A parameter point inside the trained range of ``density``."""
    return np.array([0.6 * low + 0.4 * high for low, high in density.theta_range])


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> Callable[..., Result]:
    """The command in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("TF_CPP_MIN_LOG_LEVEL", "ZFIT_DISABLE_TF_WARNINGS"):
        monkeypatch.setenv(name, "3")
    monkeypatch.delenv("ZFIT_EGMM_DEBUG", raising=False)

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["zfit-egmm", *map(str, arguments)])
        code = 0
        try:
            from zfit_egmm.cli import main

            main()
        except SystemExit as end:
            code = end.code or 0
        return Result(code, *capsys.readouterr())

    return call
