"""Which ROOT files are meant: paths, patterns, addresses such as ``root://...``, and ``file.root:tree``."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

PACKAGES = {
    "http": "uproot[http]",
    "https": "uproot[http]",
    "root": "uproot[xrootd]",
    "roots": "uproot[xrootd]",
    "xroot": "uproot[xrootd]",
    "xroots": "uproot[xrootd]",
    "s3": "uproot[s3]",
    "gs": "gcsfs",
}
"""What reads files at addresses, by their scheme, for ``pip install``."""


def scheme(name: str) -> str:
    """Scheme of an address, such as ``root``; empty for a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", name)
    return found[1].lower() if found else ""


def is_address(name: str) -> bool:
    """Whether a name is an address rather than a path, also one such as ``file:///data/events.root``."""
    return bool(scheme(name))


def find_files(path: str | Path | Sequence[str | Path], tree: str) -> list[str]:
    """Files by their names, each of them once, however often it is matched.

    Args:
        path: A path, a pattern or an address, or a list of these.
        tree: Name of the tree, which may follow a file after a colon.

    Raises:
        FileNotFoundError: If nothing matches.
        ValueError: If another tree follows a file, or an address cannot be used.
    """
    entries = [path] if isinstance(path, str | Path) else list(path)
    if not entries:
        raise FileNotFoundError("the list of ROOT files is empty")
    found: dict[object, str] = {}
    for entry in entries:
        for file in _matches(entry, tree):
            found.setdefault(_identity(file), file)
    return list(found.values())


def _matches(entry: str | Path, tree: str) -> list[str]:
    name = _local(str(entry), entry)
    if is_address(name):
        found = re.fullmatch(r"(\w+://[^/]*/.*\.root[^:/]*):([^:]+)", name)
        file = _checked(found[1], found[2], tree, entry) if found else name
        if "*" in file:
            raise ValueError(f"{str(entry)!r}: patterns match files on this machine only; list the addresses")
        return [file]
    name = str(Path(name).expanduser())
    files = _local_files(name)
    if not files and ":" in name:
        before, _, after = name.rpartition(":")
        if _local_files(before):
            files = _local_files(_checked(before, after, tree, entry))
    if not files:
        if Path(name).is_dir():
            raise FileNotFoundError(f"{str(entry)!r} is a folder; name its files, for example {name}/*.root")
        raise FileNotFoundError(
            f"no ROOT file matches {str(entry)!r} (looked from {Path.cwd()}); check the path or the pattern"
        )
    return files


def _local(name: str, entry: str | Path) -> str:
    """The path in an address of a file on this machine; other names stay."""
    if isinstance(entry, Path) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", name):
        raise ValueError(f"{name!r} looks like an address, which a Path cannot hold: give it as a text")
    if scheme(name) != "file":
        return name
    parts = urlsplit(name)
    if parts.netloc not in {"", "localhost"}:
        raise ValueError(f"{name!r} names the machine {parts.netloc!r}; a path begins with three slashes: file:///")
    return unquote(name[len("file://") + len(parts.netloc) :])


def _local_files(name: str) -> list[str]:
    if Path(name).is_file():
        return [name]
    return [file for file in sorted(glob.glob(name, recursive=True)) if Path(file).is_file()]


def _checked(file: str, named: str, tree: str, entry: str | Path) -> str:
    """The file in ``file.root:tree``.

    Raises:
        ValueError: If this is another tree than the one that is wanted.
    """
    if named.strip("/") != tree.strip("/"):
        raise ValueError(
            f"{str(entry)!r} names the tree {named!r}, but the tree to read is {tree!r}; name the same one, or the "
            "file alone"
        )
    return file


def _identity(file: str) -> object:
    """The same for two names of one file, be they links or relative and absolute paths."""
    if is_address(file):
        return file
    there = os.stat(file)
    return there.st_dev, there.st_ino
