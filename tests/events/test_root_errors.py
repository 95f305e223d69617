from __future__ import annotations

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from root_files import AXES, MASS, N, file_columns, write_file

from zfit_egmm import EventSample, Observable


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
    assert all(f"'{name}'" in _message(caught) for name in file_columns())


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
    columns = file_columns()
    first = write_file(tmp_path / "first.root", kind, columns)
    columns["massive"] = columns.pop("mass")
    second = write_file(tmp_path / "second.root", kind, columns)
    with pytest.raises(KeyError, match=r"no branch 'mass' in tree 'events' of .*second.root; did you mean 'massive'"):
        EventSample.from_root([first, second], "events", AXES)


def _with_arrays(path: Path, kind: str) -> Path:
    """A file with a branch of varying and one of fixed length per event, besides the flat ones."""
    columns = file_columns()
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
    np.testing.assert_array_equal(EventSample.from_root(path, "events", [MASS]).x[:, 0], file_columns()["mass"])


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
    expected = file_columns()
    # Compressed pages notice that they are broken.
    expected["broken"] = np.repeat(np.arange(6.0), N // 6)
    path = write_file(tmp_path / "a.root", kind, expected)
    _break(path, kind, "broken")
    sample = EventSample.from_root(
        path, "events", AXES, theta={"c": "c_hw"}, weights="w_gen * w_pileup", cut="jets > 1"
    )
    np.testing.assert_array_equal(sample.column("mass"), expected["mass"][expected["jets"] > 1])
    with pytest.raises(Exception, match=r"(?s)a\.root"):
        EventSample.from_root(path, "events", [*AXES, Observable("broken", 0, 10)])


def test_a_branch_that_cannot_be_decompressed_is_named(tmp_path, kind):
    columns = file_columns() | {"broken": np.repeat(np.arange(6.0), N // 6)}
    path = write_file(tmp_path / "a.root", kind, columns)
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
    path = write_file(tmp_path / "a.root", kind, file_columns())
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


def test_no_event_passes(file, tmp_path):
    copy = shutil.copy(file, tmp_path)
    with pytest.raises(ValueError, match=r"tree 'events' in .*events.root: no event passes the cut 'mass > 99'"):
        EventSample.from_root(file, "events", AXES, cut="mass > 99")
    with pytest.raises(ValueError, match=r"in 2 files \(.*events.root, ...\): no event passes the cut 'mass > 99'"):
        EventSample.from_root([file, copy], "events", AXES, cut="mass > 99")


def test_empty_tree(tmp_path, kind):
    path = write_file(tmp_path / "a.root", kind, {name: value[:0] for name, value in file_columns().items()})
    with pytest.raises(ValueError, match=r"tree 'events' in .*a.root: the tree holds no events"):
        EventSample.from_root(path, "events", AXES)


def test_the_cut_that_an_error_proposes_works(file):
    narrow = Observable("mass", 2, 9.5, unit="GeV")
    with pytest.raises(ValueError, match=r"'mass': \d+ of 300 events lie outside \[2, 9.5\] GeV") as caught:
        EventSample.from_root(file, "events", [narrow])
    cut = str(caught.value).split('cut="')[1].rstrip('"')
    mass = file_columns()["mass"]
    sample = EventSample.from_root(file, "events", [narrow], cut=cut)
    np.testing.assert_array_equal(sample.x[:, 0], mass[(mass >= 2) & (mass <= 9.5)])


def test_nan_in_a_branch(tmp_path, kind):
    columns = file_columns()
    columns["mass"][17] = np.nan
    path = write_file(tmp_path / "a.root", kind, columns)
    with pytest.raises(ValueError, match=r"'mass': 1 of 300 values are NaN or infinite, the first at row 17; remove"):
        EventSample.from_root(path, "events", AXES)
    # Every comparison with NaN is false.
    assert EventSample.from_root(path, "events", AXES, cut="mass >= 0").n_events == N - 1
