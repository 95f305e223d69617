"""The inference benchmarks: their likelihood machinery against closed forms, and tiny runs of each from end to end."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math

import ewzjj
import h4l
import inference
import numpy as np
import pytest

from zfit_egmm import Density
from zfit_egmm.demo import toy
from zfit_egmm.events.root import write_columns

THETAS = (-4.0, -1.0, 0.0, 1.0, 4.0)


def _accepted(phi: np.ndarray) -> np.ndarray:
    """Acceptance of the made-up detector: it sees more of one side, so its acceptance depends on theta."""
    return np.where(np.cos(phi) > 0, 1.0, 0.3)


def _acceptance(theta: float) -> float:
    """Closed form of the acceptance: the interference moves 2 theta kappa / (1 + theta^2 kappa^2) / pi to one side."""
    kappa = np.linspace(0.1, 0.3, 2001)
    side = 0.5 + 2 * theta * kappa / (1 + (theta * kappa) ** 2) / np.pi
    return float(np.mean(0.3 + 0.7 * side))


def _angular_events(theta: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Angle and kappa of events with density |1 + theta kappa exp(i phi)|^2, after the detector."""
    rng = np.random.default_rng(seed)
    phi, kappa = rng.uniform(-np.pi, np.pi, 12 * n), rng.uniform(0.1, 0.3, 12 * n)
    # Normalised over phi for every kappa, which is independent of theta like the Z masses are.
    density = (1 + 2 * theta * kappa * np.cos(phi) + (theta * kappa) ** 2) / (1 + (theta * kappa) ** 2)
    kept = np.flatnonzero(rng.random(12 * n) < density / 2 * _accepted(phi))[:n]
    assert len(kept) == n
    return phi[kept], kappa[kept]


@pytest.fixture(scope="module")
def angular():
    """Events of all theta: their theta, angles and coefficients of the exact likelihood."""
    n = 20_000
    parts = [_angular_events(theta, n, seed) for seed, theta in enumerate(THETAS)]
    phi, kappa = (np.concatenate(column) for column in zip(*parts, strict=True))
    elements = h4l.MatrixElements(2 * kappa * np.cos(phi), kappa**2, kappa**2)
    return np.repeat(THETAS, n), phi, elements


def test_ratio_of_generated_events_by_hand():
    elements = h4l.MatrixElements(np.array([0.1, -0.2]), np.array([0.05, 0.02]), np.array([0.04, 0.03]))
    ratio = h4l.log_generated_ratio(np.array([0.0, 2.0, -4.0]), elements)
    expected = [[1, 1.4 / 1.16, 1.4 / 1.64], [1, 0.68 / 1.12, 2.12 / 1.48]]
    assert np.allclose(np.exp(ratio), expected, rtol=1e-12)


def test_acceptance_from_reweighted_events(angular):
    theta, _, elements = angular
    at = np.array([-6.0, -4.0, -0.5, 0.0, 2.0, 4.0])
    found = h4l.log_acceptance(at, theta, elements)
    expected = np.log([_acceptance(value) / _acceptance(0.0) for value in at])
    assert np.ptp(expected) > 0.5
    assert found == pytest.approx(expected, abs=0.012)
    assert found[3] == 0


def test_exact_fit_recovers_theta_only_with_the_acceptance(angular):
    theta, _, elements = angular
    at = h4l.nodes(6.0)
    acceptance = h4l.log_acceptance(at, theta, elements)
    for value, tolerance in ((-4.0, 0.25), (0.0, 0.12), (1.0, 0.12)):
        curves = h4l.log_generated_ratio(at, elements.select(np.flatnonzero(theta == value)))
        best = h4l.best_fits(at, np.array([(curves - acceptance).sum(axis=0), curves.sum(axis=0)]))
        assert best[0] == pytest.approx(value, abs=tolerance)
        assert abs(best[1] - value) > 4 * tolerance


def test_best_fit_is_the_global_maximum():
    at = h4l.nodes(12.0)
    curves = np.array([np.maximum(-((at - 3) ** 2), -((at + 3) ** 2) - depth) for depth in (1.0, -1.0)])
    assert h4l.best_fits(at, curves) == pytest.approx([3, -3], abs=0.01)
    assert h4l.best_fits(at, at[np.newaxis]) == pytest.approx([12])


def test_biases_and_spreads_of_known_fits():
    exact = np.random.default_rng(1).normal(2.1, 0.5, 4000)
    result = h4l.summarise(2.1 + 1.2 * (exact - 2.1) + 0.25, exact, theta=2.0, n_events=50_000, sample_size=500)
    assert result["bias"] == pytest.approx(0.35, abs=0.04)
    assert result["spread_ratio"] == pytest.approx(1.2)
    assert result["robust_spread_ratio"] == pytest.approx(1.2)
    assert result["mean_difference_over_spread"] == pytest.approx(0.5, abs=0.03)
    assert result["difference_over_spread"] == pytest.approx(math.hypot(0.5, 0.2), abs=0.03)
    # Fifty thousand events are a hundred samples, however many are drawn from them.
    assert result["bias_error"] == pytest.approx(0.6 * math.sqrt(1 / 4000 + 1 / 100), rel=0.05)


def test_error_of_a_known_score():
    rng = np.random.default_rng(2)
    x, noise = rng.normal(0, 1, 50_000), rng.normal(0, 0.3, 50_000)
    exact = np.stack([-0.5 * (x + 0.25) ** 2, -0.5 * (x - 0.25) ** 2], axis=1)
    # Its slope is 0.8 x with noise of 0.3: an error of 0.2^2 + 0.3^2 of the information, which is one.
    learned = 0.8 * exact + np.stack([np.zeros(50_000), 0.5 * noise], axis=1)
    found = h4l.score_error(learned, exact)
    assert found["score_error"] == pytest.approx(0.13, abs=5 * found["score_error_error"])
    assert found["score_error_error"] < 0.002
    assert h4l.score_error(exact, exact)["score_error"] == 0


def _gaussian(centre, sigma):
    return lambda points: -0.5 * np.square((points - centre) / sigma).sum(axis=1)


def test_regions_of_a_gaussian_likelihood():
    centre, sigma = np.array([-0.63, 0.777]), np.array([0.08, 0.05])
    fit = inference.fit(_gaussian(centre, sigma), centre + np.array([1.6, 0.0]) * sigma)
    assert fit.best == pytest.approx(centre, abs=0.001)
    assert fit.half_extent == pytest.approx(sigma, rel=0.005)
    assert fit.areas == pytest.approx(np.pi * sigma.prod() * np.array([2.30, 6.18]), rel=0.005)
    # 1.6 sigma is a level of 2.56, between the two.
    assert fit.holds_truth.tolist() == [False, True]


def test_regions_end_at_the_trained_limits():
    sigma = np.array([0.08, 0.05])
    fit = inference.fit(_gaussian(np.array([1.5, 0.2]), sigma), (1.5, 0.2))
    assert fit.areas == pytest.approx(np.pi * sigma.prod() * np.array([2.30, 6.18]) / 2, rel=0.005)
    assert fit.half_extent == pytest.approx([0.04, 0.05], rel=0.005)


def test_regions_of_a_likelihood_with_a_kink():
    # The region is two overlapping ellipses with their far sides cut off at zero, where the kink is.
    def log_likelihood(points):
        cx, cy = points.T
        return -0.5 * (((np.abs(cx) - 0.05) / 0.08) ** 2 + (cy / 0.05) ** 2) + 2.0 * np.minimum(cx, 0.0)

    axis = np.linspace(-0.5, 0.5, 1001)
    dense = -2 * log_likelihood(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2))
    dense -= dense.min()
    fit = inference.fit(log_likelihood, (0.0, 0.0))
    assert fit.best == pytest.approx([0.05, 0], abs=0.002)
    assert fit.areas == pytest.approx([(dense < level).sum() * 1e-6 for level in (2.30, 6.18)], rel=0.005)


def test_a_shifted_and_wider_model_is_seen():
    sigma, rng = np.array([0.08, 0.05]), np.random.default_rng(2)
    model, truth = [], []
    for centre in rng.normal([0.8, -0.8], sigma, (6, 2)):
        truth.append(inference.fit(_gaussian(centre, sigma), (0.8, -0.8)))
        model.append(inference.fit(_gaussian(centre + [0.5, -0.25] * sigma, 1.1 * sigma), (0.8, -0.8)))
    compared = inference.compare(model, truth)
    result = inference.summarise([compared, compared])
    assert result["mean_shift"] == pytest.approx([0.5, -0.25], abs=0.02)
    assert result["rms_shift"] == pytest.approx([0.5, 0.25], abs=0.02)
    assert result["area_ratio_683"] == pytest.approx(1.21, rel=0.005)
    assert result["area_ratio_954"] == pytest.approx(1.21, rel=0.005)
    same = inference.summarise([inference.compare(truth, truth)])
    assert same["rms_shift"].tolist() == [0, 0]
    assert same["area_ratio_683"] == 1
    assert same["model_coverage_683"] == same["truth_coverage_683"]


def _run(program, capsys, *options: str) -> dict:
    program.main(list(options))
    output = capsys.readouterr().out.splitlines()
    assert len(output) == 1
    return json.loads(output[0])


def test_inference_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inference, "EVENTS_PER_GRID_POINT", 100)
    monkeypatch.setattr(inference, "N_EVENTS", 100)
    monkeypatch.setattr(inference, "POINTS", ((0.0, 0.0), (0.8, -0.8)))
    model = str(tmp_path / "toy.egmm")
    options = ("--quality", "fast", "--sparse", "--data-sets", "2")
    first = _run(inference, capsys, *options, "--events", "3000", "--save", model)
    assert first["n_data_sets"] == 4
    assert first["n_events"] == 3000
    assert [point["point"] for point in first["points"]] == [[0.0, 0.0], [0.8, -0.8]]
    assert first["area_ratio_683"] == pytest.approx(np.mean([p["area_ratio_683"] for p in first["points"]]), rel=1e-3)
    assert first["worst_area_ratio"] in [point["area_ratio_683"] for point in first["points"]]
    assert len(first["rms_shift"]) == len(first["mean_shift"]) == 2
    again = _run(inference, capsys, *options, "--load", model)
    assert {**again, "fit_wall_s": 0} == {**first, "fit_wall_s": 0}
    # The truth itself, in the place of a model, is its own measure.
    exact = inference.measure(toy.log_prob, 2)
    assert exact["rms_shift"].tolist() == [0, 0]
    assert exact["area_ratio_954"] == 1


@pytest.fixture(scope="module")
def h4l_file(tmp_path_factory, angular):
    theta, phi, elements = angular
    rng = np.random.default_rng(6)
    columns = {
        "mz1": rng.uniform(80, 100, len(phi)),
        "mz2": rng.uniform(20, 40, len(phi)),
        "cos_theta1": rng.uniform(-1, 1, len(phi)),
        # A stand-in for the size of the interference, which is known for each event.
        "cos_theta2": 10 * np.sqrt(elements.c) - 2,
        "phi": phi,
        "me_b": elements.b,
        "me_c": elements.c,
        "me_rho": elements.rho,
        "theta": theta,
    }
    path = tmp_path_factory.mktemp("h4l") / "h4l.root"
    write_columns(path, "signal", {name: column[::20].astype(np.float32) for name, column in columns.items()})
    return str(path)


H4L_OPTIONS = ("--quality", "fast", "--samples", "40", "--sample-size", "100")


@pytest.fixture(scope="module")
def h4l_model(tmp_path_factory, h4l_file):
    """A density trained on 2000 events by the program, and what the program printed."""
    path = str(tmp_path_factory.mktemp("model") / "h4l.egmm")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        h4l.main([h4l_file, *H4L_OPTIONS, "--events", "2000", "--save", path])
    return path, json.loads(output.getvalue())


def test_h4l_from_end_to_end(capsys, h4l_file, h4l_model):
    path, result = h4l_model
    assert result["theta"] == list(THETAS)
    assert result["n_held_out"] == [250] * 5
    assert result["n_events"] == 2000
    assert {len(entry) for entry in result.values() if isinstance(entry, list)} == {5}
    assert abs(result["exact_bias"][2]) < 4 * result["bias_error"][2]
    # Even a short training sees which way theta points.
    assert result["best_fit_of_all"][0] < -1 < 1 < result["best_fit_of_all"][4]
    assert _run(h4l, capsys, h4l_file, *H4L_OPTIONS, "--load", path) == result


def test_h4l_without_a_theta(capsys, h4l_file, h4l_model):
    events = h4l.read_events(h4l_file, [1.0])
    assert not np.any(events.is_training & (events.theta == 1))
    assert events.is_training.sum() == 4 * 750
    options = (h4l_file, *H4L_OPTIONS, "--leave-out", "1", "--load")
    result = _run(h4l, capsys, *options, h4l_model[0])
    assert result["theta"] == [1.0]
    assert result["n_held_out"] == [1000]


def test_h4l_refuses_a_density_that_knows_the_test_events(tmp_path, h4l_file, h4l_model):
    density = Density.load(h4l_model[0])
    density.training["benchmark"]["n_events"] = 3750
    path = density.save(tmp_path / "all.egmm")
    with pytest.raises(SystemExit, match="3750 events, more than the 3000"):
        h4l.main([h4l_file, "--leave-out", "1", "--load", str(path)])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_h4l_with_a_peer(tmp_path, capsys, h4l_file, h4l_model):
    path, alone = h4l_model
    density = Density.load(path)
    density.training["benchmark"]["train_cpu_s"] = 2.0
    path = str(density.save(tmp_path / "quick.egmm"))
    options = (h4l_file, *H4L_OPTIONS, "--events", "2000", "--theta", "4", "--load", path)
    result = _run(h4l, capsys, *options, "--peer", "torch-mixture")
    assert result["bias"] == pytest.approx(alone["bias"][4:], rel=1e-3)
    peer = result["peer"]
    assert peer["theta"] == [4.0]
    assert peer["n_events"] == 2000
    assert peer["train_cpu_s"] == pytest.approx(2.0, rel=0.3)
    assert peer["best_fit_of_all"][0] > 0.5
    assert not [name for name in peer if name.startswith("exact_")]


def _write_ewzjj(path, n: int) -> None:
    """Flat spectra; the angle carries c_w. Three test events lie outside of the range of the angle."""
    rng = np.random.default_rng(8)

    def events(points, n_events):
        theta = np.repeat(np.array(points), n_events, axis=0)
        x = {o.name: rng.uniform(o.low, o.high, len(theta)) for o in ewzjj.OBSERVABLES}
        rate = 1 + np.multiply.outer(theta[:, 1], np.sin(np.linspace(-np.pi, np.pi, 201)))
        cdf = np.cumsum(rate, axis=1) / rate.sum(axis=1, keepdims=True)
        bins = (cdf < rng.random((len(theta), 1))).sum(axis=1)
        x["dphijj"] = (-np.pi + 2 * np.pi * (bins + rng.random(len(theta)) - 0.5) / 200).clip(-3.14, 3.14)
        return {**x, "c_hwb": theta[:, 0], "c_w": theta[:, 1]}

    train = events([(a, b) for a in (-4.0, 0.0, 4.0) for b in (-0.4, 0.0, 0.4)], n // 6)
    test = events([(0.0, 0.0), (2.0, 0.2)], n)
    flat = -np.log(900 * 1200 * 4850 * 2 * np.pi)
    truth = {"logp": flat + np.log1p(test["c_w"] * np.sin(test["dphijj"])), "logp_sm": np.full(2 * n, flat)}
    test["dphijj"][:3] = 4.0
    import uproot

    with uproot.recreate(path) as file:
        for name, tree in (("train", train), ("test", {**test, **truth})):
            columns = {
                key: array.astype(float if key.startswith("logp") else np.float32) for key, array in tree.items()
            }
            file.mktree(name, {key: array.dtype for key, array in columns.items()})
            file[name].extend(columns)


@pytest.fixture(scope="module")
def ewzjj_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("ewzjj") / "ewzjj.root"
    _write_ewzjj(path, 1500)
    return str(path)


def test_ewzjj_of_the_truth_and_of_a_wrong_model(ewzjj_file):
    columns, n_outside = ewzjj.read_test_events(ewzjj_file)
    assert n_outside == 3
    flat = -np.log(900 * 1200 * 4850 * 2 * np.pi)
    exact = ewzjj.measure(lambda x, theta: flat + np.log1p(theta[1] * np.sin(x[:, 3])), columns)
    assert exact["kl"]["(0, 0)"] == pytest.approx([0, 0], abs=1e-6)
    assert exact["kl"]["(2, 0.2)"] == pytest.approx([0, 0], abs=1e-6)
    assert exact["ratio_rms_error"] == {"(2, 0.2)": pytest.approx(0, abs=1e-6)}
    wrong = ewzjj.measure(lambda x, theta: np.full(len(x), flat - 0.5 + 0 * theta[0]), columns)
    # A flat model loses the mean of the log ratio, 0.2^2 / 4 to lowest order, and half a nat.
    kl, error = wrong["kl"]["(2, 0.2)"]
    assert kl == pytest.approx(0.51, abs=4 * error)
    assert 0.002 < error < 0.005
    assert wrong["ratio_rms_error"] == wrong["ratio_rms_true"]
    assert wrong["ratio_rms_true"]["(2, 0.2)"] == pytest.approx(0.2 / math.sqrt(2), rel=0.05)


def test_ewzjj_from_end_to_end(tmp_path, capsys, ewzjj_file):
    model = str(tmp_path / "ewzjj.egmm")
    first = _run(ewzjj, capsys, ewzjj_file, "--quality", "fast", "--time-budget", "30", "--save", model)
    assert (first["n_test"], first["n_test_outside"]) == (2997, 3)
    assert set(first["kl"]) == {"(0, 0)", "(2, 0.2)"}
    assert all(-0.1 < kl < 0.4 for kl, _ in first["kl"].values())
    assert "epochs over" in first["verdict"]
    assert _run(ewzjj, capsys, ewzjj_file, "--load", model) == first


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        (h4l, ["nothing.root"], "there is no file 'nothing.root'"),
        (ewzjj, ["nothing.root"], "there is no file 'nothing.root'"),
        (inference, ["--load", "nothing.egmm"], "there is no file 'nothing.egmm'"),
        (inference, ["--data-sets", "1"], "expected an integer of at least 2, got '1'"),
        (inference, ["--time-budget", "soon"], "expected a number of at least 1, got 'soon'"),
    ],
)
def test_wrong_arguments(program, options, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main(options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_theta_that_has_no_events(capsys, h4l_file):
    with pytest.raises(SystemExit):
        h4l.main([h4l_file, "--leave-out", "3"])
    assert "--leave-out: no events at theta 3; there are -4, -1, 0, 1, 4" in capsys.readouterr().err
