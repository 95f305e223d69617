from __future__ import annotations

import numpy as np
import pytest
import uproot
from root_files import AXES, MASS, N, file_columns, write_file

from zfit_egmm import EventSample, Observable
from zfit_egmm.events import root
from zfit_egmm.events.root import read_columns, write_columns


def test_the_fixture_holds_what_it_says(tmp_path, kind):
    path = write_file(tmp_path / "a.root", kind, file_columns())
    with uproot.open(path) as handle:
        assert kind in handle.classnames(cycle=False)["events"]


def test_observables_are_branches_in_their_order(file):
    expected = file_columns()
    sample = EventSample.from_root(file, "events", AXES)
    assert sample.observables == AXES
    assert sample.x.dtype == np.float64
    np.testing.assert_array_equal(sample.x, np.stack([expected["angle"], expected["mass"]], axis=1))
    assert not sample.is_weighted
    assert sample.theta_names == ()
    np.testing.assert_array_equal(EventSample.from_root(str(file), "events", AXES[::-1]).x, sample.x[:, ::-1])


def test_integer_branches(file):
    expected = file_columns()
    axes = [Observable("jets", 0, 3, kind="discrete"), Observable("charge", -1, 1), Observable("is_good", 0, 1)]
    sample = EventSample.from_root(file, "events", axes)
    assert sample.x.dtype == np.float64
    for name in ("jets", "charge", "is_good"):
        np.testing.assert_array_equal(sample.column(name), expected[name])


@pytest.mark.parametrize(
    ("cut", "mask"),
    [
        ("(mass > 2) & (angle <= 0.5)", lambda c: (c["mass"] > 2) & (c["angle"] <= 0.5)),
        ("(jets == 2) | (abs(c_hb) > 1)", lambda c: (c["jets"] == 2) | (abs(c["c_hb"]) > 1)),
        ("is_good", lambda c: c["is_good"]),
        ("~is_good & (charge * jets < 0)", lambda c: ~c["is_good"] & (c["charge"] * c["jets"] < 0)),
        ("sqrt(mass) + cos(angle) > 3", lambda c: np.sqrt(c["mass"]) + np.cos(c["angle"].astype(float)) > 3),
        ("event % 2 == 0", lambda c: c["event"] % 2 == 0),
        ("jets / 2 > 0.7", lambda c: c["jets"] / 2 > 0.7),
        ("  mass < 3 ", lambda c: c["mass"] < 3),
        ("mass < 3\n", lambda c: c["mass"] < 3),
    ],
)
def test_cut(file, cut, mask):
    expected = file_columns()
    is_kept = mask(expected)
    assert 0 < is_kept.sum() < N
    sample = EventSample.from_root(file, "events", [MASS], theta={"c": "c_hw"}, weights="w_pileup", cut=cut)
    np.testing.assert_array_equal(sample.x[:, 0], expected["mass"][is_kept])
    np.testing.assert_array_equal(sample.theta[:, 0], expected["c_hw"][is_kept])
    np.testing.assert_array_equal(sample.weights, expected["w_pileup"][is_kept])


def test_cut_in_steps(file, monkeypatch):
    """A file that is read in many steps gives the same events."""
    monkeypatch.setattr(root, "STEP_SIZE", 7)
    expected = file_columns()
    columns = read_columns(file, "events", ["mass", "jets"], cut="mass > 4")
    is_kept = expected["mass"] > 4
    np.testing.assert_array_equal(columns["mass"], expected["mass"][is_kept])
    np.testing.assert_array_equal(columns["jets"], expected["jets"][is_kept])
    assert columns["jets"].dtype == np.int32


def test_weights(file):
    expected = file_columns()
    sample = EventSample.from_root(file, "events", AXES, weights="w_gen")
    assert sample.is_weighted
    assert sample.weights.min() == -1
    np.testing.assert_array_equal(sample.weights, expected["w_gen"])
    sample = EventSample.from_root(file, "events", AXES, weights="w_gen * w_pileup / (1 + is_good)")
    weights = expected["w_gen"] * expected["w_pileup"] / (1 + expected["is_good"])
    np.testing.assert_allclose(sample.weights, weights, rtol=1e-14)


def test_theta(file):
    expected = file_columns()
    theta = {"second": "c_hb", "first": "c_hw"}
    sample = EventSample.from_root(file, "events", AXES, theta=theta, cut="mass > 5")
    assert sample.theta_names == ("second", "first")
    is_kept = expected["mass"] > 5
    np.testing.assert_array_equal(sample.theta, np.stack([expected["c_hb"], expected["c_hw"]], axis=1)[is_kept])


@pytest.mark.parametrize("form", ["glob", "list", "list of globs", "recursive glob"])
def test_several_files(tmp_path, kind, form):
    parts = [file_columns(n=n, seed=n) for n in (40, 10, 30)]
    # The middle file holds no event that passes the cut.
    parts[1]["mass"] += 10
    (tmp_path / "deep").mkdir()
    paths = [tmp_path / "deep" / f"part_{number}.root" for number in range(3)]
    for path, part in zip(paths, parts, strict=True):
        write_file(path, kind, part)
    (tmp_path / "deep" / "notes.txt").write_text("not events")
    given = {
        "glob": str(tmp_path / "deep" / "part_*.root"),
        "list": paths,
        "list of globs": [tmp_path / "deep" / "part_[01].root", str(paths[2])],
        "recursive glob": tmp_path / "**" / "*.root",
    }[form]
    sample = EventSample.from_root(given, "events", [MASS], cut="mass < 9.5", weights="w_pileup")
    masses = np.concatenate([part["mass"] for part in parts])
    weights = np.concatenate([part["w_pileup"] for part in parts])
    assert masses.max() > 10
    np.testing.assert_array_equal(sample.x[:, 0], masses[masses < 9.5])
    np.testing.assert_array_equal(sample.weights, weights[masses < 9.5])


def test_a_file_name_with_brackets_is_a_file(tmp_path):
    path = write_file(tmp_path / "events[1].root", "TTree", file_columns())
    assert EventSample.from_root(path, "events", [MASS]).n_events == N


def test_tree_in_a_folder(tmp_path, kind):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as handle:
        handle.mkdir("nominal")
    with uproot.update(path) as handle:
        make = handle["nominal"].mktree if kind == "TTree" else handle["nominal"].mkrntuple
        make("events", {"mass": np.dtype("f8")}).extend({"mass": np.array([1.0, 2.0])})
    assert EventSample.from_root(path, "nominal/events", [MASS]).x[:, 0].tolist() == [1.0, 2.0]
    with pytest.raises(KeyError, match=r"no tree 'events' in .*'nominal/events'"):
        EventSample.from_root(path, "events", [MASS])


def test_written_columns_can_be_read(tmp_path):
    columns = {name: value for name, value in file_columns().items() if name in ("mass", "jets", "is_good")}
    path = tmp_path / "a.root"
    write_columns(path, "events", file_columns())
    write_columns(path, "events", columns)
    with uproot.open(path) as handle:
        assert handle["events"].keys() == list(columns)
    back = read_columns(path, "events", list(columns))
    for name, value in columns.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype
