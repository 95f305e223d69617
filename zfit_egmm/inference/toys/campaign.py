"""The file of a campaign of toys: lines of JSON, appended as toys are done, so that nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zfit_egmm.archive import check_parents

KIND = "zfit_egmm toys"
VERSION = 1
SAME = ("version", "seed", "points", "experiment")
"""What has to agree for a campaign to go on; the number of toys may grow."""


class CampaignError(ValueError):
    """A file of results that belongs to something else, or is damaged."""


@dataclass(frozen=True, eq=False)
class ToyResults:
    """Results of toys, one row each, ordered by point and toy.

    Args:
        points: True values of each point.
        rows: One mapping per toy, with ``point`` (number of the point), ``toy`` and what the experiment returned.
        head: Seed, description of the experiment and so on.
    """

    points: tuple[dict[str, float], ...]
    rows: tuple[dict[str, Any], ...]
    head: dict[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str, point: int | None = None, *, valid: bool = False) -> np.ndarray:
        """One number per toy, shape ``(n_toys,)``.

        Args:
            name: Name of the column.
            point: Only toys of this point.
            valid: Only toys whose fits are valid.

        Raises:
            KeyError: If there is no such column.
        """
        rows = [r for r in self.rows if (point is None or r["point"] == point) and (not valid or r.get("valid", True))]
        if rows and name not in rows[0]:
            raise KeyError(f"no column {name!r}; there are {', '.join(rows[0])}")
        return np.array([row[name] for row in rows])

    @property
    def n_failed(self) -> int:
        """Toys without a valid fit, which are kept in the results."""
        return sum(not row.get("valid", True) for row in self.rows)

    @classmethod
    def load(cls, path: str | Path) -> ToyResults:
        """Read a file of results, complete or not.

        Raises:
            FileNotFoundError: If there is none.
            CampaignError: If it holds something else.
        """
        head, rows = _read(Path(path))
        return cls(tuple(head["points"]), tuple(_sorted(rows)), head)


def check_path(path: str | Path, seed: int) -> None:
    """Check that toys can be appended to a file, before any work is done for them.

    Raises:
        CampaignError: If the file holds something else, or toys of another seed.
        OSError: If it cannot be written.
    """
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; give the name of a file in it, such as {file / 'toys.jsonl'}")
    check_parents(file)
    # What a crash has left of a first line is no campaign yet.
    if file.is_file() and b"\n" in file.read_bytes():
        _check_same(file, _read(file)[0], {"seed": seed}, ("version", "seed"))


class CampaignFile:
    """A file that toys are appended to; only one process can hold it.

    Args:
        path: The file.
        head: What the campaign is.

    Raises:
        CampaignError: If the file holds another campaign, or something else.
        OSError: If it cannot be written, or another process holds it.
    """

    def __init__(self, path: str | Path, head: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.head = dict(head)
        self.rows: list[dict[str, Any]] = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("a", encoding="utf-8")
        try:
            _lock(self._stream, self.path)
            if self._is_new():
                os.truncate(self.path, 0)
                self._write([self._first_line])
            else:
                there, self.rows = _read(self.path)
                _check_same(self.path, there, self.head)
                _cut_incomplete_line(self.path)
        except BaseException:
            self._stream.close()
            raise

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows; they are in the file when this returns."""
        new = [dict(row) for row in rows]
        self.rows += new
        self._write(new)

    def finish(self) -> None:
        """Order the rows by point and toy, and close the file."""
        self._rewrite()
        self._stream.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._stream.close()

    @property
    def _first_line(self) -> dict[str, Any]:
        return {"kind": KIND, "version": VERSION, **self.head}

    def _is_new(self) -> bool:
        """Whether the file holds nothing, or only a part of the first line, cut off by a crash."""
        first = json.dumps(self._first_line).encode()
        with self.path.open("rb") as stream:
            return first.startswith(stream.read(len(first) + 1))

    def _write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._stream.write("".join(json.dumps(row) + "\n" for row in rows))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _rewrite(self) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.writelines(json.dumps(line) + "\n" for line in [self._first_line, *_sorted(self.rows)])
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, self.path.stat().st_mode & 0o777)
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Head and rows; the last line may be cut off by a crash, any other damage is an error."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of toys {path}")
    lines = path.read_bytes().split(b"\n")
    try:
        head = json.loads(lines[0])
        if head["kind"] != KIND or not {"version", "points"} <= set(head):
            raise KeyError("kind")
    except (ValueError, TypeError, KeyError):
        raise CampaignError(f"{path} is no file of toys; choose another path for the results") from None
    if head["version"] != VERSION:
        raise CampaignError(f"{path} has version {head['version']} of the format, this program reads {VERSION}")
    rows = list(_parsed(path, lines[1:]))
    return head, rows


def _parsed(path: Path, lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    # A complete line ends with a newline, so that the last piece is empty, or cut off.
    for number, line in enumerate(lines[:-1]):
        try:
            row = json.loads(line)
            row["point"], row["toy"]
        except (ValueError, TypeError, KeyError):
            raise CampaignError(
                f"{path} is damaged in line {number + 2}: remove that line to keep the others, and run again"
            ) from None
        yield row


def _sorted(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["point"], row["toy"]))


def _check_same(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any], names: Sequence[str] = SAME) -> None:
    wanted = json.loads(json.dumps({"version": VERSION, **wanted}))
    for name in names:
        if there.get(name) != wanted.get(name):
            raise CampaignError(
                f"{path} holds another campaign: {name} is {_short(there.get(name))} there and "
                f"{_short(wanted.get(name))} now; choose another path, or remove the file to start anew"
            )


def _cut_incomplete_line(path: Path) -> None:
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 300 else text[:300] + " ..."


def _lock(stream: Any, path: Path) -> None:
    with contextlib.suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another process is writing toys to {path}") from None
        if not os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            raise OSError(f"another process has just finished {path}; run again")
