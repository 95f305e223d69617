"""The demo on the real events that come with the package, with short trainings."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zfit_egmm import Density
from zfit_egmm.demo.events import load_events, observables
from zfit_egmm.demo.fit import FittedValue, _crossings, _second_minimum
from zfit_egmm.demo.run import run


def test_pseudo_data_hold_no_training_event():
    events = load_events(theta=1.0, n_signal=300, n_background=200, seed=3)
    assert events.data.shape == (500, len(observables()))
    used = {row.tobytes() for sample in (events.signal, events.background) for row in sample.x}
    assert not any(row.tobytes() in used for row in events.data)
    again = load_events(theta=1.0, n_signal=300, n_background=200, seed=3)
    assert np.array_equal(events.data, again.data)


def test_demo_writes_models_figures_and_numbers(tmp_path):
    out = tmp_path / "demo"
    summary = run(out, seed=2, epochs=3, quiet=True)
    written = json.loads((out / "demo.json").read_text())
    assert written == json.loads(json.dumps(summary))
    assert written["injected"] == {"theta": 1.0, "n_signal": 300, "n_background": 200}
    assert written["valid"] is True
    assert set(written["seconds"]) >= {"train_signal", "train_background", "fit"}
    for name, injected in written["injected"].items():
        fitted = written["fitted"][name]
        assert fitted["lower"] < fitted["value"] < fitted["upper"]
        # Yields to 20 %, theta to four units: a wrong model or a swapped component is far outside.
        assert fitted["value"] == pytest.approx(injected, abs=4 if name == "theta" else 60)
    for name in ("observables", "profile_theta", "training"):
        for suffix in ("png", "pdf"):
            assert (out / f"{name}.{suffix}").stat().st_size > 5000
    assert Density.load(out / "signal.egmm").theta_names == ("theta",)
    assert not list(out.glob("*.checkpoint"))
    with pytest.raises(FileExistsError, match=r"demo.json.*--overwrite"):
        run(out, quiet=True)


def test_interval_is_read_off_the_profile_where_minos_fails():
    points = np.linspace(-8, 8, 161)
    profile = np.minimum((points - 7) ** 2, 30)
    lower, upper = _crossings(points, profile, 7.0)
    assert lower == pytest.approx(6, abs=0.05)
    assert upper == pytest.approx(8, abs=0.05)
    assert _crossings(points, np.minimum((points - 7.5) ** 2, 30), 7.5)[1] == 8


def test_a_second_minimum_is_reported():
    points = np.linspace(-8, 8, 161)
    profile = np.minimum((points - 3) ** 2, (points + 3) ** 2 + 1.5)
    notes = _second_minimum(points, profile, FittedValue(3.0, 2.0, 4.0))
    assert len(notes) == 1
    assert "theta = -3.0" in notes[0]
