"""Read flat columns from ROOT files (TTree or RNTuple) with uproot; the only place that knows uproot."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfit_egmm.events.expressions import Expression, UnknownBranchError, parse
from zfit_egmm.events.files import PACKAGES, find_files, is_address, scheme

STEP_SIZE = "50 MB"


def read_columns(
    path: str | Path | Sequence[str | Path], tree: str, branches: Sequence[str], *, cut: str | None = None
) -> dict[str, np.ndarray]:
    """Read branches of a tree, file by file and in steps of bounded memory.

    Args:
        path: A file, a glob pattern such as ``"ntuples/*.root"``, an address such as ``root://...``, or a list of
            these. A file that is matched twice is read once.
        tree: Name of the tree, the same in every file.
        branches: Branch names, or expressions of branches, see :mod:`zfit_egmm.events.expressions`.
        cut: Selection, for example ``"(m4l > 105) & (abs(eta) < 2.5)"``.

    Returns:
        One array of shape ``(n_events,)`` per branch, in the branch's own number type; expressions are boolean, int64
        or float64.

    Raises:
        FileNotFoundError: If no file matches.
        KeyError: If the tree or a branch is missing; near names are listed.
        ValueError: If a branch is not flat, an expression cannot be evaluated, or no event passes the cut.
    """
    wanted = list(dict.fromkeys(branches))
    parts: dict[str, list[np.ndarray]] = {branch: [] for branch in wanted}
    files = find_files(path, tree)
    for file in files:
        _read_file(file, tree, wanted, cut, parts)
    columns = {branch: np.concatenate(arrays) if arrays else np.empty(0) for branch, arrays in parts.items()}
    if wanted and not len(columns[wanted[0]]):
        reason = f"no event passes the cut {cut!r}" if cut else "the tree holds no events"
        raise ValueError(f"tree {tree!r} in {_name(files)}: {reason}")
    return columns


def write_columns(path: str | Path, tree: str, columns: Mapping[str, np.ndarray]) -> None:
    """Write flat columns as a tree to a new ROOT file.

    Args:
        path: The file; an existing one is replaced.
        tree: Name of the tree.
        columns: Arrays of equal length by branch name.
    """
    write_trees(path, {tree: columns})


def write_trees(path: str | Path, trees: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """The same for several trees, by their names."""
    import uproot

    with uproot.recreate(path) as file:
        for tree, columns in trees.items():
            file.mktree(tree, {name: array.dtype for name, array in columns.items()})
            file[tree].extend(dict(columns))


def _name(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files)} files ({files[0]}, ...)"


def _read_file(file: str, tree: str, wanted: list[str], cut: str | None, parts: dict[str, list[np.ndarray]]) -> None:
    with _opened(file) as handle:
        where = f"tree {tree!r} of {file}"
        events = _tree(handle, file, tree)
        with _readable(f"{where} cannot be read"):
            keys = events.keys()
        expressions = {text: _parsed(text, keys, where) for text in wanted}
        condition = None if cut is None else _parsed(cut, keys, where)
        used = [*expressions.values(), *([] if condition is None else [condition])]
        needed = list(dict.fromkeys(branch for one in used for branch in one.branches)) or keys[:1]
        for arrays in _steps(events, needed, where):
            columns = {name: _flat(arrays[name], name, file) for name in needed}
            n_events = len(next(iter(columns.values())))
            with _explained(where):
                is_kept = slice(None) if condition is None else condition.truth(columns, n_events)
                for text, expression in expressions.items():
                    parts[text].append(expression.values(columns, n_events)[is_kept])


@contextlib.contextmanager
def _opened(file: str) -> Iterator[Any]:
    import uproot

    try:
        # A mapping, because in a plain text uproot takes a colon for the beginning of the name of a tree.
        handle = uproot.open({file: None})
    except ImportError as error:
        package = PACKAGES.get(scheme(file))
        hint = f'; install it with: python -m pip install "{package}"' if package else ""
        raise ValueError(f"{file} needs a package that is not installed ({_first_line(error)}){hint}") from error
    except Exception as error:
        reason = "it is truncated or corrupted, or no ROOT file"
        if is_address(file):
            reason = f"check the address and the connection, or whether {reason}"
        raise ValueError(
            f"{file} cannot be read as a ROOT file ({type(error).__name__}: {_first_line(error)}); {reason}"
        ) from error
    with handle:
        yield handle


@contextlib.contextmanager
def _readable(message: str) -> Iterator[None]:
    """Turn whatever uproot raises for a broken file into one error that names it."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{message} ({type(error).__name__}: {_first_line(error)}); it is truncated or corrupted, or no ROOT file"
        ) from error


def _steps(events: Any, needed: list[str], where: str) -> Iterator[Any]:
    with _readable(f"{where} cannot be read"):
        yield from events.iterate(needed, library="np", step_size=STEP_SIZE)


def _parsed(text: str, keys: Sequence[str], where: str) -> Expression:
    with _explained(where):
        try:
            return parse(text, keys)
        except UnknownBranchError as error:
            name = str(error.args[0])
            raise _missing("branch", name, keys, where if name == text else f"{where}, in {text!r}") from None


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Say where an expression is wrong."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _tree(handle: Any, file: str, tree: str) -> Any:
    classes = handle.classnames(cycle=False)
    trees = [key for key, kind in classes.items() if kind.startswith("TTree") or "RNTuple" in kind]
    # A name may end with the number of the version, as in "events;1".
    kind = {**classes, **handle.classnames(cycle=True)}.get(tree)
    if kind is None:
        raise _missing("tree", tree, trees, file)
    if not (kind.startswith("TTree") or "RNTuple" in kind):
        raise ValueError(f"{tree!r} in {file} is a {kind}, not a tree; its trees are: {_listed(trees)}")
    with _readable(f"tree {tree!r} of {file} cannot be read"):
        return handle[tree]


def _missing(what: str, name: str, keys: Sequence[str], where: str) -> KeyError:
    near = difflib.get_close_matches(name, keys, n=5, cutoff=0.5)
    hint = f"did you mean {_listed(near)}?" if near else f"there are: {_listed(keys)}"
    return _ReadableKeyError(f"no {what} {name!r} in {where}; {hint}")


class _ReadableKeyError(KeyError):
    """A KeyError whose message prints as text, not as the repr of a string."""

    def __str__(self) -> str:
        return str(self.args[0])


def _listed(names: Sequence[str], most: int = 30) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:most])
    return (shown or "none") + (", ..." if len(names) > most else "")


def _flat(array: np.ndarray, branch: str, file: str) -> np.ndarray:
    if array.dtype == object or array.ndim != 1 or array.dtype.kind not in "iufb":
        raise ValueError(
            f"branch {branch!r} in {file} does not hold one number per event "
            f"(type {array.dtype}, shape {array.shape}); choose a flat branch"
        )
    return array


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
