"""The benchmark of accuracy and speed: its KL divergences see a wrong density, and the program runs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import density as benchmark
import numpy as np
import pytest

from zfit_egmm.demo import toy

PROGRAM = Path(benchmark.__file__)
SMALL = ("--events", "4900", "--quality", "fast", "--time-budget", "60", "--test-events", "2000")
RATES = ("train_cpu_s", "train_wall_s", "log_prob_per_s", "sample_per_s")
OTHERS = ("threads", "n_events", "quality", "verdict")


def run(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(PROGRAM), *options]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def check_result(result: dict, largest: float) -> None:
    assert set(result) >= {"kl", "grid_mean", *RATES, *OTHERS}
    assert list(result["kl"]) == ["(0, 0)", "(0.8, 0.8)", "(-0.8, 0)", "(0.25, 0.25)", "(0.5, -0.5)", "(1.5, 1.5)"]
    for value, error in [*result["kl"].values(), result["grid_mean"]]:
        assert 0 < error < 0.1
        assert -3 * error < value < largest
    assert all(math.isfinite(result[name]) and result[name] > 0 for name in RATES)
    assert result["n_events"] == 4900


def test_a_density_is_trained_saved_and_loaded(tmp_path):
    path = tmp_path / "toy.egmm"
    process = run(*SMALL, "--save", str(path))
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) == 1
    trained = json.loads(process.stdout)
    check_result(trained, largest=0.5)
    assert (trained["threads"], trained["quality"]) == (2, "fast")
    assert "peer" not in trained
    loaded = json.loads(run("--load", str(path), "--test-events", "2000").stdout)
    same = ("kl", "grid_mean", "train_cpu_s", "train_wall_s", "n_events", "quality", "verdict")
    assert {name: loaded[name] for name in same} == {name: trained[name] for name in same}


def test_a_peer_trains_on_the_same_events_for_the_same_cpu_time():
    pytest.importorskip("torch")
    process = run(*SMALL, "--peer", "torch-mixture")
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    check_result(result, largest=0.5)
    peer = result["peer"]["torch-mixture"]
    # In the CPU time of so small a training the peer does not get far.
    check_result(peer, largest=8)
    assert peer["train_cpu_s"] == pytest.approx(result["train_cpu_s"], rel=0.2)
    assert (result["threads"], peer["threads"]) == (1, 1)
    point = "(0.8, 0.8)"
    expected = result["kl"][point][0] / peer["kl"][point][0]
    assert result["kl_ratio"]["torch-mixture"][point] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--events", "3"), "--events must be at least 49"),
        (("--dense", "--events", "80"), "--events must be at least 81"),
        (("--time-budget", "nan"), "--time-budget must be positive"),
        (("--load", "missing.egmm"), "no file missing.egmm"),
        (("--save", "missing/toy.egmm"), "no folder for missing/toy.egmm"),
    ],
)
def test_wrong_arguments_are_explained(options, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *options])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert message in capsys.readouterr().err


def test_accuracy_of_the_truth_and_of_wrong_densities():
    n = 20_000
    x, theta = benchmark.truth_events(toy.SPARSE, n)
    truth = toy.log_prob(x, theta)
    exact = benchmark.accuracy(truth - truth, toy.SPARSE, n)
    assert {tuple(pair) for pair in [*exact["kl"].values(), exact["grid_mean"]]} == {(0.0, 0.0)}

    # The truth at a parameter that is off, towards zero: a normalised density whose every divergence is positive.
    wrong = theta - 0.3 * np.where(theta > 0, 1, -1)
    shifted = benchmark.accuracy(truth - toy.log_prob(x, wrong), toy.SPARSE, n)
    for value, error in [*shifted["kl"].values(), shifted["grid_mean"]]:
        assert value > 5 * error > 0


def test_the_grid_mean_gives_every_point_of_the_grid_equal_weight():
    n = 4900
    _, theta = benchmark.truth_events(toy.SPARSE, n)
    is_corner = np.all(theta == -1.5, axis=1)
    assert is_corner.sum() == n / 49
    # Two Gaussians of equal width, sigma widths apart, have log ratios of this mean and width.
    sigma = np.where(is_corner, 1.0, 0.1)
    difference = np.random.default_rng(1).normal(sigma**2 / 2, sigma)
    result = benchmark.accuracy(difference, toy.SPARSE, n)
    value, error = result["grid_mean"]
    assert error < math.sqrt((1 + 48 * 0.01) / 100) / 49
    assert value == pytest.approx((0.5 + 48 * 0.005) / 49, abs=4 * error)
    at_zero, error = result["kl"]["(0, 0)"]
    # Fluctuations that are common to the divergence and to the ratio are subtracted.
    assert error < 0.2 * 0.1 / math.sqrt(n)
    assert at_zero == pytest.approx(0.005, abs=4 * error)
