from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from zfit_egmm import EventSample, Observable
from zfit_egmm.events import root
from zfit_egmm.events.root import read_columns, write_columns

N = 300
MASS = Observable("mass", 0, 10, unit="GeV")
ANGLE = Observable("angle", -1, 1)
AXES = (ANGLE, MASS)


def _columns(n: int = N, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "mass": rng.uniform(0, 10, n),
        "angle": rng.uniform(-1, 1, n).astype(np.float32),
        "jets": rng.integers(0, 4, n).astype(np.int32),
        "charge": rng.choice([-1, 1], n).astype(np.int8),
        "event": rng.integers(0, 2**40, n).astype(np.uint64),
        "is_good": rng.random(n) < 0.6,
        "w_gen": rng.choice([-1.0, 1.0], n, p=[0.2, 0.8]),
        "w_pileup": rng.uniform(0.5, 1.5, n),
        "c_hw": rng.choice([-1.0, 0.0, 2.5], n),
        "c_hb": rng.normal(size=n),
    }


def _write(path: Path, kind: str, columns: dict, *, tree: str = "events") -> Path:
    """A file with a TTree or an RNTuple, written in two pieces."""
    half = len(next(iter(columns.values()))) // 2
    with uproot.recreate(path) as file:
        if kind == "TTree":
            types = {
                name: value.dtype if isinstance(value, np.ndarray) else "var * float64"
                for name, value in columns.items()
            }
            file.mktree(tree, types)
        else:
            file.mkrntuple(tree, ak.Array({name: value[:0] for name, value in columns.items()}).layout.form)
        for part in (slice(half), slice(half, None)):
            file[tree].extend({name: value[part] for name, value in columns.items()})
        file["histogram"] = np.histogram([1.0, 2.0])
    return path


@pytest.fixture(params=["TTree", "RNTuple"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=["TTree", "RNTuple"])
def file(request, tmp_path_factory) -> Path:
    """One file of each kind, not to be changed."""
    return _write(tmp_path_factory.mktemp("root") / "events.root", request.param, _columns())


def test_the_fixture_holds_what_it_says(tmp_path, kind):
    path = _write(tmp_path / "a.root", kind, _columns())
    with uproot.open(path) as handle:
        assert kind in handle.classnames(cycle=False)["events"]


def test_observables_are_branches_in_their_order(file):
    expected = _columns()
    sample = EventSample.from_root(file, "events", AXES)
    assert sample.observables == AXES
    assert sample.x.dtype == np.float64
    np.testing.assert_array_equal(sample.x, np.stack([expected["angle"], expected["mass"]], axis=1))
    assert not sample.is_weighted
    assert sample.theta_names == ()
    np.testing.assert_array_equal(EventSample.from_root(str(file), "events", AXES[::-1]).x, sample.x[:, ::-1])


def test_integer_branches(file):
    expected = _columns()
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
    expected = _columns()
    is_kept = mask(expected)
    assert 0 < is_kept.sum() < N
    sample = EventSample.from_root(file, "events", [MASS], theta={"c": "c_hw"}, weights="w_pileup", cut=cut)
    np.testing.assert_array_equal(sample.x[:, 0], expected["mass"][is_kept])
    np.testing.assert_array_equal(sample.theta[:, 0], expected["c_hw"][is_kept])
    np.testing.assert_array_equal(sample.weights, expected["w_pileup"][is_kept])


def test_cut_in_steps(file, monkeypatch):
    """A file that is read in many steps gives the same events."""
    monkeypatch.setattr(root, "STEP_SIZE", 7)
    expected = _columns()
    columns = read_columns(file, "events", ["mass", "jets"], cut="mass > 4")
    is_kept = expected["mass"] > 4
    np.testing.assert_array_equal(columns["mass"], expected["mass"][is_kept])
    np.testing.assert_array_equal(columns["jets"], expected["jets"][is_kept])
    assert columns["jets"].dtype == np.int32


def test_weights(file):
    expected = _columns()
    sample = EventSample.from_root(file, "events", AXES, weights="w_gen")
    assert sample.is_weighted
    assert sample.weights.min() == -1
    np.testing.assert_array_equal(sample.weights, expected["w_gen"])
    sample = EventSample.from_root(file, "events", AXES, weights="w_gen * w_pileup / (1 + is_good)")
    weights = expected["w_gen"] * expected["w_pileup"] / (1 + expected["is_good"])
    np.testing.assert_allclose(sample.weights, weights, rtol=1e-14)


def test_theta(file):
    expected = _columns()
    theta = {"second": "c_hb", "first": "c_hw"}
    sample = EventSample.from_root(file, "events", AXES, theta=theta, cut="mass > 5")
    assert sample.theta_names == ("second", "first")
    is_kept = expected["mass"] > 5
    np.testing.assert_array_equal(sample.theta, np.stack([expected["c_hb"], expected["c_hw"]], axis=1)[is_kept])


@pytest.mark.parametrize("form", ["glob", "list", "list of globs", "recursive glob"])
def test_several_files(tmp_path, kind, form):
    parts = [_columns(n=n, seed=n) for n in (40, 10, 30)]
    # The middle file holds no event that passes the cut.
    parts[1]["mass"] += 10
    (tmp_path / "deep").mkdir()
    paths = [tmp_path / "deep" / f"part_{number}.root" for number in range(3)]
    for path, part in zip(paths, parts, strict=True):
        _write(path, kind, part)
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
    path = _write(tmp_path / "events[1].root", "TTree", _columns())
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


@pytest.mark.parametrize("path", ["nothing.root", "none_*.root", ["nothing.root"]])
def test_missing_file(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    message = r"no ROOT file matches 'no.*\.root' \(looked from .*\); check the path or the pattern"
    with pytest.raises(FileNotFoundError, match=message) as caught:
        EventSample.from_root(path, "events", AXES)
    assert str(tmp_path) in str(caught.value)


def test_one_missing_file_of_several(file):
    with pytest.raises(FileNotFoundError, match=r"no ROOT file matches 'nothing.root'"):
        EventSample.from_root([file, "nothing.root"], "events", AXES)


def test_empty_list_of_files():
    with pytest.raises(FileNotFoundError, match="the list of ROOT files is empty"):
        EventSample.from_root([], "events", AXES)


def _message(caught) -> str:
    """Text that a user sees at the end of a traceback: no quotes around it, no escapes."""
    return str(caught.value)


def test_missing_tree(file):
    with pytest.raises(KeyError, match=r"no tree 'event' in .*events.root; did you mean 'events'\?") as caught:
        EventSample.from_root(file, "event", AXES)
    assert _message(caught).startswith("no tree")
    with pytest.raises(KeyError, match=r"no tree 'ntuple' in .*events.root; there are: 'events'$"):
        EventSample.from_root(file, "ntuple", AXES)


def test_something_else_than_a_tree(file):
    with pytest.raises(ValueError, match=r"'histogram' in .* is a TH1D, not a tree; its trees are: 'events'"):
        EventSample.from_root(file, "histogram", AXES)


def test_missing_branch(file):
    axes = [Observable("mas", 0, 10)]
    with pytest.raises(KeyError, match=r"no branch 'mas' in tree 'events' of .*events.root; did you mean 'mass'\?"):
        EventSample.from_root(file, "events", axes)
    with pytest.raises(KeyError, match=r"no branch 'XYZ' in tree 'events' of .*; there are: .*'mass'") as caught:
        EventSample.from_root(file, "events", [Observable("XYZ", 0, 1)])
    assert all(f"'{name}'" in _message(caught) for name in _columns())


@pytest.mark.parametrize(
    "options",
    [
        {"theta": {"c": "c_hq"}},
        {"weights": "c_hq"},
        {"weights": "w_gen * c_hq"},
        {"cut": "(mass > 1) & (c_hq > 0)"},
    ],
)
def test_missing_branch_of_theta_weights_and_cut(file, options):
    with pytest.raises(KeyError, match=r"no branch 'c_hq' in tree 'events' of .*did you mean .*'c_hb'.*\?") as caught:
        EventSample.from_root(file, "events", AXES, **options)
    expression = next(iter(options.values()))
    if " " in expression:
        assert f"in {expression!r}" in _message(caught)


def test_branch_that_only_some_files_have(tmp_path, kind):
    columns = _columns()
    first = _write(tmp_path / "first.root", kind, columns)
    columns["massive"] = columns.pop("mass")
    second = _write(tmp_path / "second.root", kind, columns)
    with pytest.raises(KeyError, match=r"no branch 'mass' in tree 'events' of .*second.root; did you mean 'massive'"):
        EventSample.from_root([first, second], "events", AXES)


def _with_arrays(path: Path, kind: str) -> Path:
    """A file with a branch of varying and one of fixed length per event, besides the flat ones."""
    columns = _columns()
    lists = ak.unflatten(np.arange(2.0 * N), np.tile([1, 3], N // 2))
    fixed = np.ones((N, 3))
    with uproot.recreate(path) as file:
        if kind == "TTree":
            types = {name: value.dtype for name, value in columns.items()}
            file.mktree("events", types | {"pt": "var * float64", "xyz": np.dtype(("f8", (3,)))})
            file["events"].extend({**columns, "pt": lists, "xyz": fixed})
        else:
            file.mkrntuple("events", ak.Array({**columns, "pt": lists, "xyz": ak.from_regular(fixed)}))
    return path


@pytest.mark.parametrize("options", [{}, {"weights": "mass * {}"}, {"cut": "{} > 1"}, {"theta": {"c": "{}"}}])
@pytest.mark.parametrize("branch", ["pt", "xyz"])
def test_branches_must_be_flat(tmp_path, kind, branch, options):
    path = _with_arrays(tmp_path / "a.root", kind)
    axes = AXES if options else [Observable(branch, 0, 1e4)]
    options = {
        key: {"c": branch} if isinstance(value, dict) else value.format(branch) for key, value in options.items()
    }
    message = rf"branch '{branch}' in .*a.root does not hold one number per event.*; choose a flat branch"
    with pytest.raises(ValueError, match=message):
        EventSample.from_root(path, "events", axes, **options)


def test_other_branches_need_not_be_flat(tmp_path, kind):
    path = _with_arrays(tmp_path / "a.root", kind)
    np.testing.assert_array_equal(EventSample.from_root(path, "events", [MASS]).x[:, 0], _columns()["mass"])


def _break(path: Path, kind: str, branch: str) -> None:
    """Overwrite the stored bytes of one branch."""
    with uproot.open(path) as handle:
        tree = handle["events"]
        if kind == "TTree":
            seek, size = tree[branch].member("fBasketSeek"), tree[branch].member("fBasketBytes")
            places = [(int(a), int(b)) for a, b in zip(seek, size, strict=True) if b]
        else:
            column = tree.keys().index(branch)
            pages = [page for cluster in tree.page_link_list for page in cluster[column].pages]
            places = [(page.locator.offset, page.locator.num_bytes) for page in pages]
    assert places
    with path.open("r+b") as stream:
        for start, size in places:
            stream.seek(start)
            stream.write(b"\xff" * size)


def test_only_needed_branches_are_read(tmp_path, kind):
    expected = _columns()
    # Compressed pages notice that they are broken.
    expected["broken"] = np.repeat(np.arange(6.0), N // 6)
    path = _write(tmp_path / "a.root", kind, expected)
    _break(path, kind, "broken")
    sample = EventSample.from_root(
        path, "events", AXES, theta={"c": "c_hw"}, weights="w_gen * w_pileup", cut="jets > 1"
    )
    np.testing.assert_array_equal(sample.column("mass"), expected["mass"][expected["jets"] > 1])
    with pytest.raises(Exception, match=r"(?s)a\.root"):
        EventSample.from_root(path, "events", [*AXES, Observable("broken", 0, 10)])


def test_a_branch_that_cannot_be_decompressed_is_named(tmp_path, kind):
    columns = _columns() | {"broken": np.repeat(np.arange(6.0), N // 6)}
    path = _write(tmp_path / "a.root", kind, columns)
    _break(path, kind, "broken")
    with pytest.raises(ValueError, match=r"tree 'events' of .*a.root.* cannot be read .*truncated or corrupted"):
        EventSample.from_root(path, "events", [Observable("broken", 0, 10)])


@pytest.mark.parametrize("content", [b"", b"mass,angle\n1,2\n" * 100])
def test_foreign_file(tmp_path, content):
    path = tmp_path / "a.root"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.root cannot be read as a ROOT file \(.*\)"):
        EventSample.from_root(path, "events", AXES)


def test_truncated_file(tmp_path, kind):
    path = _write(tmp_path / "a.root", kind, _columns())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 8])
    with pytest.raises(ValueError, match=r"a.root.* cannot be read .*truncated or corrupted"):
        EventSample.from_root(path, "events", AXES)


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        ("mass >", "neither a branch nor a valid expression"),
        ("mass = 3", "neither a branch nor a valid expression"),
        ("(mass > 3", "neither a branch nor a valid expression"),
        ("(mass > 3) && (jets > 1)", "neither a branch nor a valid expression"),
        ("mass > 3 and jets > 1", "cannot evaluate"),
        ("1 < mass < 3", "cannot evaluate"),
        ("mass > 3 & jets > 1", "cannot evaluate"),
        ("cosine(mass) > 0", "cannot evaluate"),
        ("mass[0] > 3", "cannot evaluate"),
        ("mass.max() > 3", "cannot evaluate"),
    ],
)
def test_bad_cut(file, cut, reason):
    with pytest.raises(ValueError, match=f"tree 'events' of .*events.root: .*{reason}.*as in '") as caught:
        EventSample.from_root(file, "events", AXES, cut=cut)
    assert repr(cut) in str(caught.value)


def test_bad_weight_expression(file):
    with pytest.raises(ValueError, match=r"'w_gen \*' is neither a branch nor a valid expression"):
        EventSample.from_root(file, "events", AXES, weights="w_gen *")


@pytest.mark.parametrize("weights", ["sum(w_pileup)", "prod(w_pileup)"])
def test_expressions_give_one_value_per_event(file, weights):
    """A sum over the events in memory depends on the size of the steps."""
    with pytest.raises(ValueError, match=r"(?s)'\w+\(w_pileup\)'.*per event"):
        EventSample.from_root(file, "events", AXES, weights=weights)


def test_no_event_passes(file):
    with pytest.raises(ValueError, match=r"tree 'events' in .*events.root: no event passes the cut 'mass > 99'"):
        EventSample.from_root(file, "events", AXES, cut="mass > 99")
    with pytest.raises(ValueError, match=r"in 2 files \(.*events.root, ...\): no event passes the cut 'mass > 99'"):
        EventSample.from_root([file, file], "events", AXES, cut="mass > 99")


def test_empty_tree(tmp_path, kind):
    path = _write(tmp_path / "a.root", kind, {name: value[:0] for name, value in _columns().items()})
    with pytest.raises(ValueError, match=r"tree 'events' in .*a.root: the tree holds no events"):
        EventSample.from_root(path, "events", AXES)


def test_the_cut_that_an_error_proposes_works(file):
    narrow = Observable("mass", 2, 9.5, unit="GeV")
    with pytest.raises(ValueError, match=r"'mass': \d+ of 300 events lie outside \[2, 9.5\] GeV") as caught:
        EventSample.from_root(file, "events", [narrow])
    cut = str(caught.value).split('cut="')[1].rstrip('"')
    mass = _columns()["mass"]
    sample = EventSample.from_root(file, "events", [narrow], cut=cut)
    np.testing.assert_array_equal(sample.x[:, 0], mass[(mass >= 2) & (mass <= 9.5)])


def test_nan_in_a_branch(tmp_path, kind):
    columns = _columns()
    columns["mass"][17] = np.nan
    path = _write(tmp_path / "a.root", kind, columns)
    with pytest.raises(ValueError, match=r"'mass': 1 of 300 values are NaN or infinite, the first at row 17; remove"):
        EventSample.from_root(path, "events", AXES)
    # Every comparison with NaN is false.
    assert EventSample.from_root(path, "events", AXES, cut="mass >= 0").n_events == N - 1


def test_written_columns_can_be_read(tmp_path):
    columns = {name: value for name, value in _columns().items() if name in ("mass", "jets", "is_good")}
    path = tmp_path / "a.root"
    write_columns(path, "events", _columns())
    write_columns(path, "events", columns)
    with uproot.open(path) as handle:
        assert handle["events"].keys() == list(columns)
    back = read_columns(path, "events", list(columns))
    for name, value in columns.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype
