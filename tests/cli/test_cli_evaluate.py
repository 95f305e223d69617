"""evaluate from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zfit_egmm.cli.evaluate import read_events
from zfit_egmm.density.composed.ensemble import EnsembleDensity
from zfit_egmm.diagnostics.report import evaluation as module
from zfit_egmm.events.root import write_columns


@pytest.fixture
def only(monkeypatch):
    """Run only some of the diagnostics."""

    def choose(*names):
        monkeypatch.setattr(module, "ENTRIES", [stage for stage in module.ENTRIES if stage.name in names])

    return choose


@pytest.fixture(scope="module")
def signal_file(tmp_path_factory, h4l_events, h4l_density) -> Path:
    """3000 events, 30 of them outside of the box; the parameter also under another name."""
    path = tmp_path_factory.mktemp("events") / "held_out.root"
    rng = np.random.default_rng(1)
    rows = rng.choice(len(h4l_events.signal), 3000, replace=False)
    x, theta = h4l_events.signal.x[rows].copy(), h4l_events.signal.theta[rows, 0]
    x[:30, 1] = 80.0
    columns = {o.name: column for o, column in zip(h4l_density.observables, x.T, strict=True)}
    write_columns(path, "signal", {**columns, "theta": theta, "coupling": theta, "w": rng.uniform(0.5, 1.5, 3000)})
    write_columns(path.with_name("no_theta.root"), "signal", {**columns, "coupling": theta})
    return path


@pytest.fixture(scope="module")
def mass_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mass") / "held_out.root"
    write_columns(path, "events", {"mass": np.random.default_rng(4).triangular(0, 2, 10, 3000)})
    return path


def test_a_report_on_real_events(run, signal_file, h4l_density, tmp_path, only):
    # Second derivatives take long to trace, and coverage to draw.
    only(*({stage.name for stage in module.ENTRIES} - {"closure", "information", "network", "coverage", "ratios"}))
    h4l_density.save(tmp_path / "signal.egmm")
    result = run("evaluate", "signal.egmm", signal_file, "--tree", "signal", "-n", 1500, "--expected", 50, "--seed", 3)
    assert result.code == 0, result
    assert "note: 30 events (1 %) with mz2 outside 12 to 65 are left out" in result.out
    assert "EventSample(2970 events of (m4l, mz2, cos_theta1, cos_theta2, phi) given theta)" in result.out
    assert "50 expected events" in " ".join(result.out.split())
    assert "wrote egmm_evaluate/evaluate.html and egmm_evaluate/evaluate.json" in result.out
    content = json.loads(Path("egmm_evaluate/evaluate.json").read_text(), parse_constant=pytest.fail)
    assert content["failed"] == {}
    assert len(content["theta_bias_over_sigma"]) == len(content["score_mean"]) == 9
    origin = content["provenance"]
    assert (origin["n_events"], origin["n_events_given"], origin["seed"], origin["tree"]) == (1500, 2970, 3, "signal")
    assert len(origin["model_sha256"]) == 64
    assert origin["model_sha256"] in Path("egmm_evaluate/evaluate.html").read_text()
    again = run("evaluate", "signal.egmm", signal_file, "--tree", "signal")
    assert "egmm_evaluate/evaluate.html exists; choose another folder" in again.error


def test_a_missed_threshold_is_status_3(run, mass_file, plain_density, tmp_path, only):
    only("spectra", "divergences", "calibration", "classifier")
    plain_density.save(tmp_path / "mass.egmm")
    arguments = ("evaluate", "mass.egmm", mass_file, "--tree", "events", "--overwrite", "--out", "report")
    kept = run(*arguments, "--threshold", "width=0.5", "--threshold", "auc_p_value=0")
    assert kept.code == 0, kept
    missed = run(*arguments, "--threshold", "calibration_p_value=1", "--threshold", "width=0.5")
    assert missed.code == 3
    assert missed.err.endswith("missed: calibration_p_value\n")
    assert Path("report/evaluate.html").exists()
    assert json.loads(Path("report/evaluate.json").read_text())["passed"] is False


def test_wrong_usage(run, mass_file, plain_density, tmp_path):
    plain_density.save(tmp_path / "mass.egmm")
    model = ("evaluate", "mass.egmm", mass_file, "--tree")
    assert "no tree 'event'" in run(*model, "event").error
    assert "there is no threshold 'aux'" in run(*model, "events", "--threshold", "aux=1").error
    assert "write NAME=VALUE" in run(*model, "events", "--threshold", "auc").error
    assert "this model has no parameters" in run(*model, "events", "--theta", "c=c").error
    assert "no event passes the cut" in run(*model, "events", "--cut", "mass > 99").error
    assert run("evaluate", "mass.egmm", mass_file).code == 2


def test_events_are_read_with_the_axes_of_the_model(signal_file, h4l_density):
    def read(path=signal_file, theta=(), weights=None, cut=None):
        return read_events(h4l_density, str(path), "signal", theta=theta, weights=weights, cut=cut)

    by_default = read()
    named = read(theta=["theta=coupling"], weights="w", cut="mz2 < 65")
    assert np.array_equal(by_default.sample.theta, named.sample.theta)
    assert named.sample.is_weighted
    assert named.notes == []
    assert by_default.sample.n_events == named.sample.n_events == 2970
    constant = read(theta=["theta=2.0"])
    assert set(constant.sample.theta[:, 0]) == {2.0}
    with pytest.raises(ValueError, match=r"no branch 'theta'.*--theta theta=BRANCH"):
        read(signal_file.with_name("no_theta.root"))
    with pytest.raises(KeyError, match="no branch 'v'"):
        read(weights="v")
    with pytest.raises(ValueError, match=r"no event .* lies in the ranges of the model: 2970 .*theta outside -8 to 8"):
        read(theta=["theta=9.0"], cut="mz2 < 65")


def test_ensembles_are_evaluated_too(run, mass_file, plain_density, tmp_path, only):
    only("spectra", "coverage", "calibration")
    EnsembleDensity([plain_density, plain_density]).save(tmp_path / "both.egmm")
    result = run("evaluate", "both.egmm", mass_file, "--tree", "events", "-n", 1000)
    assert result.code == 0, result
    content = json.loads(Path("egmm_evaluate/evaluate.json").read_text())
    assert (content["failed"], content["skipped"]) == ({}, {})
    assert len(content["calibration"]) == 1
    assert "EnsembleDensity(2 members" in content["provenance"]["model"]
