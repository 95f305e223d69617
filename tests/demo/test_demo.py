"""The demo on the real events that come with the package, with short trainings."""

from __future__ import annotations

import json

import iminuit
import numpy as np
import pytest

from zfit_egmm import Density
from zfit_egmm.demo.events import load_events, observables
from zfit_egmm.demo.fit import fit
from zfit_egmm.demo.run import run
from zfit_egmm.events.root import read_columns


def test_pseudo_data_hold_no_training_event():
    events = load_events(theta=1.0, n_signal=300, n_background=200, seed=3)
    assert events.data.shape == (500, len(observables()))
    used = {row.tobytes() for sample in (events.signal, events.background) for row in sample.x}
    held_out = {row.tobytes() for sample in (events.held_signal, events.held_background) for row in sample.x}
    assert not held_out & used
    assert all(row.tobytes() in held_out for row in events.data)
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
    held_out = read_columns(out / "held_out.root", "signal", ["m4l", "theta"])
    expected = load_events(theta=1.0, n_signal=300, n_background=200, seed=2).held_signal
    np.testing.assert_array_equal(held_out["m4l"], expected.column("m4l"))
    np.testing.assert_array_equal(held_out["theta"], expected.theta[:, 0])
    assert len(read_columns(out / "held_out.root", "background", ["phi"])["phi"]) > 1000
    with pytest.raises(FileExistsError, match=r"demo.json.*--overwrite"):
        run(out, quiet=True)


def test_the_fit_is_that_of_minuit_and_minos(h4l_events, h4l_density, h4l_background):
    result = fit(h4l_events.data, h4l_density, h4l_background, progress=False)
    background = np.exp(h4l_background.log_prob(h4l_events.data))

    def nll(theta, n_signal, n_background):
        intensity = n_signal * np.exp(h4l_density.log_prob(h4l_events.data, [theta])) + n_background * background
        return 2 * (n_signal + n_background - np.log(intensity).sum())

    minuit = iminuit.Minuit(nll, **{name: entry.value for name, entry in result.values.items()})
    minuit.limits["theta"] = h4l_density.theta_range[0]
    minuit.migrad()
    minuit.minos()
    for name, entry in result.values.items():
        error = minuit.errors[name]
        assert entry.value == pytest.approx(minuit.values[name], abs=0.02 * error)
        if minuit.merrors[name].is_valid:
            assert entry.lower - entry.value == pytest.approx(minuit.merrors[name].lower, abs=0.02 * error)
            assert entry.upper - entry.value == pytest.approx(minuit.merrors[name].upper, abs=0.02 * error)
        assert result.hesse[name] == pytest.approx(error, rel=0.1)
    at = result.profile_theta[12]
    minuit.values["theta"], minuit.fixed["theta"] = at, True
    lowest = minuit.fval
    minuit.migrad()
    assert result.profile[12] == pytest.approx(minuit.fval - lowest, abs=0.01)
