"""Which files are read: each once, and addresses as uproot understands them."""

from __future__ import annotations

import importlib.util
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from root_files import MASS, N, file_columns, write_file

from zfit_egmm import EventSample
from zfit_egmm.events.files import find_files
from zfit_egmm.events.root import read_columns


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("several")
    for number in range(2):
        write_file(path / f"part_{number}.root", "TTree", file_columns(seed=number))
    return path


def test_a_file_that_is_matched_twice_is_read_once(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    link, hard = tmp_path / "link.root", tmp_path / "hard.root"
    link.symlink_to(folder / "part_0.root")
    hard.hardlink_to(folder / "part_0.root")
    names = ["part_*.root", "*_0.root", folder / "part_0.root", "./part_1.root", f"file://{folder}/part_0.root"]
    names += ["../" + folder.name + "/part_0.root", link, hard, "part_0.root:events"]
    sample = EventSample.from_root(names, "events", [MASS])
    expected = np.concatenate([file_columns(seed=number)["mass"] for number in range(2)])
    np.testing.assert_array_equal(sample.column("mass"), expected)
    assert find_files(["root://host//a.root", "root://host//a.root:t"], "t") == ["root://host//a.root"]


@pytest.mark.parametrize("name", ["file://{}/part_0.root", "file://localhost{}/part_0.root", "{}/part_0.root:events"])
def test_names_of_local_files(folder, name):
    assert read_columns(name.format(folder), "events", ["mass"])["mass"].shape == (N,)
    assert read_columns(name.format(folder).replace("_0", "_*"), "events", ["mass"])["mass"].shape == (2 * N,)


def test_versions_of_a_tree(folder):
    np.testing.assert_array_equal(
        read_columns(folder / "part_0.root", "events;1", ["mass"])["mass"], file_columns()["mass"]
    )
    with pytest.raises(KeyError, match=r"no tree 'events;7' in .*part_0.root; did you mean 'events'\?"):
        read_columns(folder / "part_0.root", "events;7", ["mass"])


def test_another_tree_after_the_file_is_refused(folder):
    message = r"'.*part_0.root:other' names the tree 'other', but the tree to read is 'events'; name the same one"
    with pytest.raises(ValueError, match=message):
        read_columns(f"{folder}/part_0.root:other", "events", ["mass"])
    with pytest.raises(ValueError, match="names the tree 'other'"):
        read_columns("root://host:1094//part_0.root:other", "events", ["mass"])
    with pytest.raises(FileNotFoundError, match=r"no ROOT file matches '.*none.root:events'"):
        read_columns(f"{folder}/none.root:events", "events", ["mass"])


def test_names_with_colons_and_spaces(tmp_path):
    for name in ("12:30 h.root", "a%20b.root"):
        path = write_file(tmp_path / name, "TTree", file_columns())
        assert read_columns(path, "events", ["mass"])["mass"].shape == (N,)
    assert read_columns(f"file://{tmp_path}/12:30%20h.root", "events", ["mass"])["mass"].shape == (N,)


def test_a_folder_is_no_file(folder):
    with pytest.raises(FileNotFoundError, match=r"is a folder; name its files, for example .*/\*.root"):
        read_columns(folder, "events", ["mass"])


def test_addresses_that_cannot_be_used(folder):
    with pytest.raises(ValueError, match="patterns match files on this machine only"):
        read_columns("root://host//data/*.root", "events", ["mass"])
    with pytest.raises(ValueError, match="looks like an address, which a Path cannot hold: give it as a text"):
        read_columns(Path("root://host//data/a.root"), "events", ["mass"])
    with pytest.raises(ValueError, match="names the machine 'data'; a path begins with three slashes"):
        read_columns("file://data/a.root", "events", ["mass"])


@pytest.mark.parametrize(
    ("address", "package", "module"),
    [
        ("root://localhost:1//a.root", r"uproot\[xrootd\]", "fsspec_xrootd"),
        ("s3://bucket/a.root", r"uproot\[s3\]", "s3fs"),
        ("http://127.0.0.1:1/a.root", r"uproot\[http\]", "aiohttp"),
    ],
)
def test_a_missing_package_is_named(address, package, module):
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    message = rf"{address} needs a package that is not installed .*pip install \"{package}\""
    with pytest.raises(ValueError, match=message):
        read_columns(address, "events", ["mass"])


class Handler(SimpleHTTPRequestHandler):
    """Files with ranges, as servers of data have them."""

    def log_message(self, *_): ...

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = content[int(first) : int(last or len(content)) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(part)


@pytest.mark.filterwarnings("ignore")
def test_files_of_a_server_are_read(folder):
    pytest.importorskip("aiohttp", reason="uproot[http] is not installed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        for name in ("part_0.root", "part_0.root:events"):
            found = read_columns(f"{address}/{name}", "events", ["mass"])["mass"]
            np.testing.assert_array_equal(found, file_columns()["mass"])
        with pytest.raises(ValueError, match=r"none.root cannot be read as a ROOT file .*check the address"):
            read_columns(f"{address}/none.root", "events", ["mass"])
    finally:
        server.shutdown()
        server.server_close()
