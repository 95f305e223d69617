"""fit, scan, limit, toys and coverage from the command line, on real simulated events."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from zfit_egmm import EventSample
from zfit_egmm.cli import inference_run
from zfit_egmm.cli.analysis import EXAMPLE, read_analysis
from zfit_egmm.cli.analysis_model import build, held_out
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
    assert "fit.json exists; choose another folder with --out, or replace it with --overwrite" in refused.error
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


def test_the_limit_of_the_example_holds_what_means_nothing_without_a_signal(run, config):
    result = run("limit", config(), "-p", "n_signal")
    assert result.code == 0, result
    assert "without n_signal there is no theta: it is held at 0.5" in " ".join(result.out.split())
    found = json.loads(Path("egmm_limit/limit.json").read_text())
    assert found["held"] == {"theta": 0.5}
    fixed = {**yaml.safe_load(EXAMPLE)["parameters"], "theta": {"value": 0.5, "fixed": True}}
    assert run("limit", config(parameters=fixed), "-p", "n_signal", "--out", "fixed").code == 0
    expected = json.loads(Path("fixed/limit.json").read_text())
    assert expected["held"] == {}
    for name in ("observed_limit", "expected_limits"):
        np.testing.assert_allclose(found["limit"][name], expected["limit"][name], rtol=1e-6)
    assert found["discovery"]["significance"] == pytest.approx(expected["discovery"]["significance"], rel=1e-6)
    open_theta = {**fixed, "theta": {"low": -8, "high": 8}}
    told = run("limit", config(parameters=open_theta), "-p", "n_signal", "--out", "open").error
    assert "without n_signal there is no theta: give the value at which it is held in" in told
    assert "--toys" in told


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


HELD_OUT = {"files": str(Path(__file__).parents[2] / "zfit_egmm" / "data" / "h4l_demo.root"), "cut": "mz2 < 65"}


def with_held_out(**signal) -> dict:
    components = yaml.safe_load(EXAMPLE)["components"]
    components["signal"] |= {"held_out": {**HELD_OUT, "tree": "signal", "theta": {"theta": "theta"}}, **signal}
    components["background"]["held_out"] = {**HELD_OUT, "tree": "background"}
    return components


def test_toys_of_held_out_events(run, config):
    path = config(components=with_held_out())
    at = ["--at", "theta=1,n_signal=60,n_background=40"]
    result = run("toys", path, "-n", 2, "--from-events", *at)
    assert result.code == 0, result
    sizes = ToyResults.load("toys.jsonl").column("n_events")
    assert np.all(np.abs(sizes - 100) < 50)
    result = run("toys", path, "-n", 2, "--from-events", "--at", "theta=1.5", "--out", "other.jsonl")
    assert "no simulated events at {'theta': 1.5}" in result.error


@pytest.mark.parametrize("value", ["1.0", 2])
def test_held_out_events_of_a_theta_that_is_a_number(config, value, h4l_density):
    """The events at this value, whatever the name of its branch, and none of the others."""
    components = with_held_out(params={"theta": value})
    description = read_analysis(
        config(components=components, parameters={"n_signal": {"value": 9}, "n_background": {"value": 9}})
    )
    source = held_out(build(description))
    source.check({"n_signal": 60.0, "n_background": 40.0})
    (x,) = source({"n_signal": 500.0, "n_background": 0.0}, np.random.default_rng(0))
    everything = EventSample.from_root(
        HELD_OUT["files"], "signal", h4l_density.observables, theta=["theta"], cut=HELD_OUT["cut"]
    )
    there = everything.select(everything.theta[:, 0] == float(value)).x
    assert len(x) > 400
    assert {tuple(row) for row in x} <= {tuple(row) for row in there}


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ({"params": {"theta": 1.5}}, "components: signal: held_out: no simulated events at {'theta': 1.5}; there are"),
        ({"held_out": None}, "components: signal: held_out: toys from events need held_out events of every component"),
        (
            {"held_out": {**HELD_OUT, "tree": "signal"}},
            "depends on theta; name the branch, theta: {theta: theta}",
        ),
        (
            {"held_out": {**HELD_OUT, "tree": "signal", "theta": {"tehta": "theta"}}},
            "components: signal: held_out: theta: tehta is unknown; ",
        ),
        (
            {"held_out": {**HELD_OUT, "tree": "signal", "theta": {"theta": "theta"}, "weights": "0.1 - (m4l > 130)"}},
            "components: signal: held_out: the weights sum to|events of negative weight",
        ),
    ],
)
def test_held_out_events_that_cannot_be_used(run, config, signal, message):
    fixed = {"n_signal": {"value": 60}, "n_background": {"value": 40}}
    result = run("toys", config(components=with_held_out(**signal), parameters=fixed), "-n", 2, "--from-events")
    assert any(text in result.error for text in message.split("|"))


def test_places_for_results_are_checked_before_any_work(run, config, monkeypatch):
    """A fit would end with an error here, as would the reading of the data."""
    monkeypatch.setattr(inference_run, "build", None)
    path = config()
    Path("file").write_text("precious")
    Path("folder").mkdir()
    Path("other.jsonl").write_text(json.dumps({"kind": "zfit_egmm toys", "version": 1, "seed": 7, "points": []}) + "\n")
    for out, message in {
        "folder": "folder is a folder; give the name of a file in it",
        "file/toys.jsonl": "file is a file, not a folder",
        "other.jsonl": "holds another campaign: seed is 7 there and 0 now",
        "analysis.yaml": "is no file of toys",
    }.items():
        assert message in run("toys", path, "--out", out).error
    for command in (("fit",), ("scan", "-p", "theta"), ("limit", "-p", "n_signal"), ("coverage",)):
        assert "file is a file; choose another name" in run(command[0], path, *command[1:], "--out", "file").error
        assert "file is a file, not a folder" in run(command[0], path, *command[1:], "--out", "file/deep/er").error
    assert Path("file").read_text() == "precious"


def test_names_in_options_are_checked_before_any_work(run, config, monkeypatch):
    monkeypatch.setattr(inference_run, "build", None)
    path = config(parameters={**yaml.safe_load(EXAMPLE)["parameters"], "n_background": {"value": 200, "fixed": True}})
    told = "the configuration has no parameter of this name; did you mean n_signal?"
    for command in (("scan",), ("limit",), ("toys",), ("coverage",)):
        assert run(*command, path, "-p", "n_sgnal").error == f"-p n_sgnal: {told}"
        told_fixed = run(*command, path, "-p", "n_background").error
        assert told_fixed == "-p n_background: the parameter is fixed in the configuration; remove fixed: true"
    assert run("toys", path, "--at", "n_sgnal=3").error == f"--at n_sgnal: {told}"
    assert "write NAME=VALUE" in run("toys", path, "--at", "theta").error


def test_a_name_that_may_be_misspelt_is_told(run, config):
    components = yaml.safe_load(EXAMPLE)["components"]
    components["signal"]["params"]["theta"] = "thetta"
    parameters = {name: value for name, value in yaml.safe_load(EXAMPLE)["parameters"].items() if name != "theta"}
    result = run("toys", config(components=components, parameters=parameters), "-n", 2, "--at", "thetta=9")
    told = "note: thetta stands once in the configuration, and not under parameters: it floats from -8 to 8"
    assert told in " ".join(result.out.split())


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
    assert (
        "-p tehta: the configuration has no parameter of this name; did you mean theta?"
        in run("scan", path, "-p", "tehta", "--out", "b").errors
    )
    assert run("scan", path).code == 2
    assert "write NAME=VALUE" in run("toys", path, "--at", "theta").errors
