"""One file that holds named arrays and a JSON manifest, with a checksum; nothing in it is executed.

The file is an ordinary zip archive: ``manifest.json`` beside ``arrays/<name>.npy``, so that it can be
looked into with any unzip program.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PRODUCER = "zfit_egmm"
MAX_BYTES = 4 * 1024**3


class ModelFileError(ValueError):
    """A file that cannot be used: truncated, corrupted, foreign, or of a newer format."""


def write(
    path: str | Path,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    kind: str,
    version: int,
    overwrite: bool = False,
) -> Path:
    """Write a file in one step: it is complete or not there at all.

    Args:
        path: Where to write.
        manifest: Anything that JSON can hold.
        arrays: Arrays of numbers by name.
        kind: What the file holds, for example ``"model"``.
        version: Version of the format of this kind.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        FileExistsError: If the file exists and ``overwrite`` is not set.
        OSError: If the place cannot be written to.
    """
    target = check_output(path, overwrite=overwrite)
    head = {"producer": PRODUCER, "kind": kind, "format_version": version, **manifest}
    head["checksum"] = checksum(head, arrays)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("manifest.json", json.dumps(head, indent=2, allow_nan=True))
            for name, array in arrays.items():
                with archive.open(f"arrays/{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return target


def check_output(path: str | Path, *, overwrite: bool = False) -> Path:
    """Check that a file can be written, before any work is done for it.

    Raises:
        FileExistsError: If it exists and ``overwrite`` is not set.
        FileNotFoundError: If its folder does not exist.
        OSError: If it is a folder or the folder cannot be written to.
    """
    target = Path(path).expanduser()
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of a file in it")
    if target.parent.exists() and not target.parent.is_dir():
        raise NotADirectoryError(f"cannot write {target}: {target.parent} is a file, not a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: the folder {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"cannot write {target}: no permission to write in {target.parent}")
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{target} exists already; choose another name, or replace it with overwrite=True (--overwrite)"
        )
    return target


def check_output_folder(path: str | Path, names: Sequence[str], *, overwrite: bool = False) -> Path:
    """Make a folder for results, before any work is done for them.

    Args:
        path: The folder; its parents are made, too.
        names: Files that hold results.
        overwrite: Whether existing ones may be replaced.

    Raises:
        FileExistsError: If a file is there and ``overwrite`` is not set.
        OSError: If it is a file, or cannot be made or written to.
    """
    folder = Path(path).expanduser()
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; choose another name for the folder of the results")
    check_parents(folder / "results")
    found = [name for name in names if (folder / name).exists()]
    if found and not overwrite:
        raise FileExistsError(
            f"{folder / found[0]} exists; choose another folder, or replace it with overwrite=True (--overwrite)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_parents(path: Path) -> None:
    """Check that a file can be written once its folders are made.

    Raises:
        OSError: If one of them is a file, or must not be written to.
    """
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is a file, not a folder; choose another place for the results")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write in {there}; choose another place for the results")


def read(path: str | Path, *, kind: str, version: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a file written by :func:`write` and verify it.

    Args:
        path: The file.
        kind: What it must hold.
        version: Newest format version that is understood.

    Returns:
        The manifest and the arrays.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If it is truncated, corrupted, foreign, of another kind or a newer format.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise FileNotFoundError(f"no file {source} (looked from {Path.cwd()})")
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = _read_manifest(archive, source)
            _check_kind(manifest, source, kind, version)
            arrays = _read_arrays(archive, source)
    except ModelFileError:
        raise
    except Exception as error:
        # Broken archives raise almost anything: zlib.error, RuntimeError for "encrypted" members, MemoryError, ...
        raise ModelFileError(
            f"{source} is not a {PRODUCER} {kind} file, or it is truncated or corrupted ({error}); "
            "copy or create it again"
        ) from error
    stored = manifest.pop("checksum", None)
    if stored != checksum(manifest, arrays):
        raise ModelFileError(f"{source} is corrupted: its checksum does not match its content; copy or create it again")
    return manifest, arrays


def with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names start with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _read_manifest(archive: zipfile.ZipFile, source: Path) -> dict[str, Any]:
    if "manifest.json" not in archive.namelist():
        raise ModelFileError(f"{source} is an archive of something else: it holds no manifest.json")
    if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
        raise ModelFileError(f"{source} would unpack to more than {MAX_BYTES} bytes and is refused")
    try:
        manifest = json.loads(archive.read("manifest.json"))
    except ValueError as error:
        raise ModelFileError(f"{source}: manifest.json is not valid JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise ModelFileError(f"{source}: manifest.json does not hold an object")
    return manifest


def _check_kind(manifest: Mapping[str, Any], source: Path, kind: str, version: int) -> None:
    if manifest.get("producer") != PRODUCER:
        raise ModelFileError(f"{source} was not written by {PRODUCER} (producer {manifest.get('producer')!r})")
    if manifest.get("kind") != kind:
        raise ModelFileError(f"{source} holds a {manifest.get('kind')!r}, not a {kind!r}")
    found = manifest.get("format_version")
    if not isinstance(found, int) or found < 1:
        raise ModelFileError(f"{source} states no valid format version ({found!r})")
    if found > version:
        raise ModelFileError(
            f"{source} has format version {found}, but this {PRODUCER} reads up to {version}; update {PRODUCER}"
        )


def _read_arrays(archive: zipfile.ZipFile, source: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for name in archive.namelist():
        if name.startswith("arrays/") and name.endswith(".npy"):
            try:
                with archive.open(name) as member:
                    array = np.lib.format.read_array(member, allow_pickle=False)
            except ValueError as error:
                raise ModelFileError(f"{source}: {name} is not a plain array of numbers ({error})") from error
            arrays[name.removeprefix("arrays/").removesuffix(".npy")] = array
    return arrays


def checksum(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of a manifest and named arrays, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True, allow_nan=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
