"""Saved ensembles: one file with all members, no pickle, refused when corrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zfit_egmm import archive, saved_model
from zfit_egmm.archive import ModelFileError
from zfit_egmm.density.density import Source
from zfit_egmm.density.ensemble import AnyDensity, EnsembleDensity

KIND, FORMAT_VERSION = "ensemble", 1


def save_ensemble(ensemble: EnsembleDensity, path: str | Path, *, overwrite: bool = False) -> Path:
    """Save an ensemble to one file.

    Args:
        ensemble: The ensemble.
        path: File to write, by convention with the suffix ``.egmm``.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        FileExistsError: If the file exists and ``overwrite`` is not set.
        OSError: If the place cannot be written to.
    """
    arrays: dict[str, np.ndarray] = {}
    for number, member in enumerate(ensemble.members):
        arrays |= {f"member_{number}_{name}": array for name, array in saved_model.arrays_of(member).items()}
    target = archive.write(path, manifest_of(ensemble), arrays, kind=KIND, version=FORMAT_VERSION, overwrite=overwrite)
    ensemble.source = Source(target.resolve(), saved_model.sha256(target))
    return target


def load_ensemble(path: str | Path) -> EnsembleDensity:
    """Load an ensemble from a file written by :func:`save_ensemble`.

    Args:
        path: The file.

    Returns:
        An ensemble with the same log densities as the saved one.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If the file is truncated, corrupted, foreign, of a newer format, or holds no ensemble.
    """
    manifest, arrays = archive.read(path, kind=KIND, version=FORMAT_VERSION)
    try:
        members = [
            saved_model.rebuild(entry, archive.with_prefix(arrays, f"member_{number}_"))
            for number, entry in enumerate(manifest["members"])
        ]
        ensemble = EnsembleDensity(members)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} does not describe a usable ensemble: {type(error).__name__}: {error}") from error
    source = Path(path).expanduser()
    ensemble.source = Source(source.resolve(), saved_model.sha256(source))
    return ensemble


def load_density(path: str | Path) -> AnyDensity:
    """Load what a file holds: a density or an ensemble.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If the file is truncated, corrupted, foreign, or of a newer format.
    """
    return load_ensemble(path) if archive.kind_of(path) == KIND else saved_model.load(path)


def manifest_of(density: AnyDensity) -> dict[str, Any]:
    """What the file of a density or an ensemble says besides weights, as JSON can hold it."""
    if isinstance(density, EnsembleDensity):
        return {"members": [saved_model.describe(member) for member in density.members]}
    return saved_model.describe(density)
