"""Read flat columns from ROOT files with uproot; the only place that knows uproot."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Sequence
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
        branches: Branch names, or expressions of branches in uproot's syntax.
        cut: Selection in uproot's syntax, for example ``"(m4l > 105) & (mz2 < 65)"``.

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


def _read_file(
    file: str, tree: str, wanted: list[str], cut: str | None, parts: dict[str, list[np.ndarray]]
) -> None:
    import uproot

    try:
        handle = uproot.open(file)
    except Exception as error:
        raise ValueError(
            f"{file} cannot be read as a ROOT file ({type(error).__name__}: {_first_line(error)})"
        ) from error
    with handle:
        events = _tree(handle, file, tree)
        keys = events.keys()
        for branch in wanted:
            if branch not in keys and branch.isidentifier():
                raise _missing("branch", branch, keys, f"tree {tree!r} of {file}")
        try:
            for arrays in events.iterate(wanted, cut=cut, library="np", step_size=STEP_SIZE):
                for branch in wanted:
                    parts[branch].append(_flat(arrays[branch], branch, file))
        except uproot.KeyInFileError as error:
            where = f"tree {tree!r} of {file}, in the cut {cut!r} or an expression"
            raise _missing("branch", str(error.key), keys, where) from error
        except (SyntaxError, NameError, TypeError) as error:
            raise ValueError(
                f"tree {tree!r} of {file}: uproot cannot evaluate the cut {cut!r} or an expression among "
                f"{wanted} ({_first_line(error)}); combine conditions as in '(a > 1) & (b < 2)'"
            ) from error


def _tree(handle: Any, file: str, tree: str) -> Any:
    classes = handle.classnames(cycle=False)
    trees = [key for key, kind in classes.items() if kind.startswith("TTree") or "RNTuple" in kind]
    if tree not in classes:
        raise _missing("tree", tree, trees, file)
    if tree not in trees:
        raise ValueError(f"{tree!r} in {file} is a {classes[tree]}, not a tree; its trees are: {_listed(trees)}")
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
