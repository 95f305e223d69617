"""fit, scan, limit, toys and coverage from the command line, on real simulated events."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from zfit_egmm.cli.analysis import EXAMPLE
from zfit_egmm.events.root import write_columns
from zfit_egmm.inference import ToyResults

PNG = b"\x89PNG"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, h4l_events, h4l_density, h4l_background) -> Path:
    """What zfit-egmm demo leaves: two models and pseudo-data; with held-out events."""
    path = tmp_path_factory.mktemp("analysis")
    (path / "egmm_demo").mkdir()
    h4l_density.save(path / "egmm_demo" / "signal.egmm")
    h4l_background.save(path / "egmm_demo" / "background.egmm")
    names = [observable.name for observable in h4l_density.observables]
    data = dict(zip(names, h4l_events.data.T, strict=True))
    # One event outside of the box, as real data has.
    data = {name: np.append(column, 1e3) for name, column in data.items()}
    write_columns(path / "egmm_demo" / "data.root", "events", data)
    return path


@pytest.fixture
def config(folder, tmp_path):
    """Write a configuration that differs in some entries from the example, without its further starts."""

    def write(**changes) -> Path:
        content = {**yaml.safe_load(EXAMPLE), "starts": [], **changes}
        content["data"] = {**content["data"], "files": str(folder / "egmm_demo" / "data.root")}
        for entry in content["components"].values():
            entry["model"] = str(folder / entry["model"])
        path = tmp_path / "analysis.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


def test_the_example_fits_beside_the_demo(run, folder, monkeypatch):
    monkeypatch.chdir(folder)
    example = run("fit", "--example")
    assert example.out == EXAMPLE
    Path("fit.yaml").write_text(example.out)
    Path("egmm_fit").mkdir()
    Path("egmm_fit/fit.json").write_text("of an earlier fit")
    refused = run("fit", "fit.yaml")
    assert "fit.json exists; choose another folder with --out" in refused.error
    result = run("fit", "fit.yaml", "--overwrite")
    assert result.code == 0, result
    assert "500 events; 1 outside the ranges of the observables are cut" in result.out
    content = json.loads(Path("egmm_fit/fit.json").read_text())
    assert content["is_valid"]
    assert 200 < content["values"]["n_signal"] < 400
    assert content["values"]["n_signal"] + content["values"]["n_background"] == pytest.approx(500, abs=0.5)
    ((low, high),) = content["intervals"]["n_signal"]["parts"]
    assert low < content["values"]["n_signal"] < high
    assert len(content["models"]["signal"]["sha256"]) == 64
    assert Path("egmm_fit/observables.png").read_bytes().startswith(PNG)


def test_a_scan_and_contours(run, config):
    path = config(
        parameters={"theta": {"value": 1}, "n_signal": {"value": 300, "low": 0}, "n_background": {"value": 200}}
    )
    result = run("scan", path, "-p", "n_signal", "--points", 7)
    assert result.code == 0, result
    content = json.loads(Path("egmm_scan/scan.json").read_text())
    curve = np.array(content["minus2_log_ratio"])
    assert curve.min() < 0.5
    assert max(curve[0], curve[-1]) > 4
    result = run("scan", path, "-p", "n_signal", "-p", "n_background", "--points", 9, "--out", "contours")
    assert result.code == 0, result
    assert Path("contours/scan.png").read_bytes().startswith(PNG)


def test_a_limit_and_a_significance(run, config):
    fixed = {"theta": {"value": 1, "fixed": True}, "n_signal": {"value": 300, "low": 0, "high": 1000}}
    result = run("limit", config(parameters={**fixed, "n_background": {"value": 200}}), "-p", "n_signal")
    assert result.code == 0, result
    content = json.loads(Path("egmm_limit/limit.json").read_text())
    # 300 signal events on a smooth background are seen beyond doubt.
    assert content["discovery"]["significance"] > 5
    assert 300 < content["limit"]["observed_limit"] < 450
    assert content["limit"]["expected_limits"][2] < 100
    assert Path("egmm_limit/limit.pdf").stat().st_size > 1000


def test_a_limit_with_a_meaningless_theta_says_what_to_do(run, config):
    result = run("limit", config(), "-p", "n_signal")
    assert "theta" in result.errors
    assert "fix" in result.errors


def test_toys_go_on_and_coverage_is_told(run, config):
    fixed = {"theta": {"value": 1, "fixed": True}, "n_signal": {"value": 60}, "n_background": {"value": 40}}
    path = config(parameters=fixed)
    at = ["--at", "n_signal=60,n_background=40", "--at", "n_signal=30,n_background=70"]
    assert run("toys", path, "-n", 3, *at).code == 0
    first = ToyResults.load("toys.jsonl")
    assert len(first) == 6
    result = run("toys", path, "-n", 5, *at)
    assert result.code == 0, result
    assert "all points: 10 toys, 0 failed" in result.out
    more = ToyResults.load("toys.jsonl")
    assert [row for row in more.rows if row["toy"] < 3] == list(first.rows)
    result = run("coverage", path, "-n", 3, *at, "-p", "n_signal")
    assert result.code == 0, result
    content = json.loads(Path("egmm_coverage/coverage.json").read_text())
    assert content["interest"] == ["n_signal"]
    assert 0 <= content["overall"]["region"]["0.6827"]["value"] <= 1
    assert Path("egmm_coverage/coverage.png").read_bytes().startswith(PNG)


def test_toys_of_held_out_events(run, config, folder):
    held_out = {"files": str(Path(__file__).parents[1] / "zfit_egmm" / "data" / "h4l_demo.root"), "cut": "mz2 < 65"}
    components = yaml.safe_load(EXAMPLE)["components"]
    components["signal"]["held_out"] = {**held_out, "tree": "signal", "theta": {"theta": "theta"}}
    components["background"]["held_out"] = {**held_out, "tree": "background"}
    path = config(components=components)
    at = ["--at", "theta=1,n_signal=60,n_background=40"]
    result = run("toys", path, "-n", 2, "--from-events", *at)
    assert result.code == 0, result
    sizes = ToyResults.load("toys.jsonl").column("n_events")
    assert np.all(np.abs(sizes - 100) < 50)
    result = run("toys", path, "-n", 2, "--from-events", "--at", "theta=1.5", "--out", "other.jsonl")
    assert "no simulated events at {'theta': 1.5}" in result.error
    missing = config()
    result = run("toys", missing, "-n", 2, "--from-events", *at, "--out", "third.jsonl")
    assert "need held_out events of every component; there are none for " in result.error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"parameters": {"tehta": {"value": 1}}},
            "parameters: tehta is used by no component; there are",
        ),
        ({"parameters": {"n_signal": {"value": 3}}}, "parameters: n_background: give a start"),
        ({"ranges": {"m4l": [100, 120]}}, "m4l"),
        ({"ranges": {"mass": [100, 120]}}, "ranges: mass is no observable; there are m4l, mz2"),
        ({"constraints": [{"parameter": "n_signal", "value": 3, "sigma": 0}]}, "constraints.0.sigma"),
        ({"datta": {}}, "datta"),
    ],
)
def test_wrong_configurations(run, config, changes, message):
    assert message in run("fit", config(**changes)).errors


def test_a_scan_outside_the_limits_and_unknown_parameters(run, config):
    path = config()
    assert "lies outside the limits [-8, 8]" in run("scan", path, "-p", "theta", "--low", -9, "--high", 9).errors
    assert "'tehta' is no free parameter" in run("scan", path, "-p", "tehta", "--out", "b").errors
    assert run("scan", path).code == 2
    assert "write NAME=VALUE" in run("toys", path, "--at", "theta").errors
