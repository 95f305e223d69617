"""Read flat columns from ROOT files (TTree or RNTuple) with uproot; the only place that knows uproot."""

from __future__ import annotations

import ast
import contextlib
import difflib
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

STEP_SIZE = "50 MB"


def read_columns(
    path: str | Path | Sequence[str | Path], tree: str, branches: Sequence[str], *, cut: str | None = None
) -> dict[str, np.ndarray]:
    """Read branches of a tree, file by file and in steps of bounded memory.

    Args:
        path: A file, a glob pattern such as ``"ntuples/*.root"``, or a list of these.
        tree: Name of the tree, the same in every file.
        branches: Branch names, or expressions of branches as numexpr understands them.
        cut: Selection, for example ``"(m4l > 105) & (abs(eta) < 2.5)"``.

    Returns:
        One array of shape ``(n_events,)`` per branch, in the branch's own number type.

    Raises:
        FileNotFoundError: If no file matches.
        KeyError: If the tree or a branch is missing; near names are listed.
        ValueError: If a branch is not flat or no event passes the cut.
    """
    wanted = list(dict.fromkeys(branches))
    parts: dict[str, list[np.ndarray]] = {branch: [] for branch in wanted}
    files = _expand(path)
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
    import uproot

    with uproot.recreate(path) as file:
        file.mktree(tree, {name: array.dtype for name, array in columns.items()})
        file[tree].extend(dict(columns))


def _expand(path: str | Path | Sequence[str | Path]) -> list[str]:
    entries = [path] if isinstance(path, str | Path) else list(path)
    files: list[str] = []
    for entry in entries:
        name = str(Path(entry).expanduser())
        matches = [name] if Path(name).is_file() else sorted(glob.glob(name, recursive=True))
        if not matches:
            raise FileNotFoundError(
                f"no ROOT file matches {str(entry)!r} (looked from {Path.cwd()}); check the path or the pattern"
            )
        files.extend(matches)
    if not files:
        raise FileNotFoundError("the list of ROOT files is empty")
    return files


def _name(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else f"{len(files)} files ({files[0]}, ...)"


def _read_file(file: str, tree: str, wanted: list[str], cut: str | None, parts: dict[str, list[np.ndarray]]) -> None:
    import uproot

    with _readable(f"{file} cannot be read as a ROOT file"):
        handle = uproot.open(file)
    with handle:
        where = f"tree {tree!r} of {file}"
        events = _tree(handle, file, tree)
        with _readable(f"{where} cannot be read"):
            keys = events.keys()
        needed: dict[str, None] = {}
        for expression in wanted if cut is None else [*wanted, cut]:
            for name in [expression] if expression in keys else _names(expression, where):
                if name not in keys:
                    raise _missing("branch", name, keys, where if name == expression else f"{where}, in {expression!r}")
                needed[name] = None
        for arrays in _steps(events, list(needed), where):
            columns = {name: _flat(arrays[name], name, file) for name in needed}
            is_kept = slice(None) if cut is None else _evaluate(cut, columns, where).astype(bool)
            for branch in wanted:
                parts[branch].append(_evaluate(branch, columns, where)[is_kept])


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


def _names(expression: str, where: str) -> list[str]:
    """Branches that an expression needs."""
    try:
        nodes = list(ast.walk(ast.parse(expression.strip(), mode="eval")))
    except SyntaxError as error:
        raise ValueError(
            f"{where}: {expression!r} is neither a branch nor a valid expression ({error.msg}); combine conditions as "
            "in '(a > 1) & (b < 2)'"
        ) from error
    functions = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return [node.id for node in nodes if isinstance(node, ast.Name) and node.id not in functions]


def _evaluate(expression: str, columns: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """Value per event of a branch or an expression; uproot itself evaluates none for RNTuples."""
    if expression in columns:
        return columns[expression]
    import numexpr

    try:
        value = numexpr.evaluate(expression.strip(), local_dict=dict(columns), global_dict={})
    except Exception as error:
        raise ValueError(
            f"{where}: cannot evaluate {expression!r} ({type(error).__name__}: {_first_line(error)}); write conditions "
            "as in '(a > 1) & (abs(b) < 2)'"
        ) from error
    if value.ndim == 0 and _names(expression, where):
        raise ValueError(f"{where}: {expression!r} is a sum over events; write an expression with one value per event")
    return np.broadcast_to(value, next(iter(columns.values())).shape)


def _tree(handle: Any, file: str, tree: str) -> Any:
    classes = handle.classnames(cycle=False)
    trees = [key for key, kind in classes.items() if kind.startswith("TTree") or "RNTuple" in kind]
    if tree not in classes:
        raise _missing("tree", tree, trees, file)
    if tree not in trees:
        raise ValueError(f"{tree!r} in {file} is a {classes[tree]}, not a tree; its trees are: {_listed(trees)}")
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
