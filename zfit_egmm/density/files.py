"""Files of densities: one format for all kinds, no pickle, refused when corrupted or when it makes no sense.

A file names the kind of its density, which is looked up in :mod:`zfit_egmm.registry`, never imported from its text.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from zfit_egmm import archive, registry
from zfit_egmm.archive import ModelFileError
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.state import State

if TYPE_CHECKING:
    from zfit_egmm.density.base import Density

KIND, FORMAT_VERSION = "density", 1
PACKAGES = ("zfit_egmm", "tensorflow", "tensorflow-probability", "numpy")
MOST_DEPTH = 8
"""Densities inside densities that a file may hold."""


class Source(NamedTuple):
    """The file that a density was saved to or loaded from."""

    path: Path
    sha256: str


def save(density: Density, path: str | Path, *, overwrite: bool = False) -> Path:
    """Save a density to one file.

    Args:
        density: The density.
        path: File to write, by convention with the suffix ``.egmm``.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        FileExistsError: If the file exists and ``overwrite`` is not set.
        OSError: If the place cannot be written to.
        TypeError: If the density, or one that it is composed of, is of a kind without a name for files.
    """
    manifest, arrays = described(density)
    manifest["versions"] = _versions()
    target = archive.write(path, manifest, arrays, kind=KIND, version=FORMAT_VERSION, overwrite=overwrite)
    density.source = Source(target.resolve(), sha256(target))
    return target


def load_density(path: str | Path) -> Density:
    """Load the density that a file holds, whatever its kind.

    Args:
        path: The file.

    Returns:
        A density with the same log densities as the saved one.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If the file is truncated, corrupted, foreign, of a newer format or an unknown kind, or its
            numbers make no sense.
    """
    manifest, arrays = archive.read(path, kind=KIND, version=FORMAT_VERSION)
    try:
        density = rebuilt(manifest, arrays)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except Exception as error:
        # Numbers that make no sense raise almost anything: OverflowError, math domain errors, errors of TensorFlow.
        raise ModelFileError(f"{path} does not describe a usable density: {type(error).__name__}: {error}") from error
    source = Path(path).expanduser()
    density.source = Source(source.resolve(), sha256(source))
    return density


def described(density: Density) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file says of a density besides versions, and the arrays it holds."""
    if not density.kind:
        raise TypeError(
            f"{density!r} cannot be saved: its class has no name for files. Define it as "
            f"class {type(density).__name__}(Density, kind='name')"
        )
    state = density.state()
    arrays = dict(state.arrays)
    members = []
    for number, member in enumerate(state.members):
        manifest, own = described(member)
        members.append(manifest)
        arrays |= {f"member_{number}_{name}": array for name, array in own.items()}
    described_density = {
        "family": density.kind,
        **density.axes.as_text(),
        "state": dict(state.manifest),
        "members": members,
        "n_weights": density.n_weights,
        "training": density.training if not members else {},
    }
    return described_density, arrays


def rebuilt(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray], depth: int = 0) -> Density:
    """The density of a manifest and its arrays.

    Raises:
        ModelFileError: If the kind is not known.
        KeyError, TypeError, ValueError: If they do not fit each other.
    """
    family = manifest["family"]
    if family not in registry.names("DENSITIES"):
        raise ModelFileError(
            f"it holds a density of the kind {family!r}, which this version does not know; it knows "
            f"{', '.join(registry.names('DENSITIES'))}. Import the package that defines it first, or update zfit_egmm"
        )
    if depth > MOST_DEPTH:
        raise ValueError(f"densities are nested more than {MOST_DEPTH} deep")
    members = tuple(
        rebuilt(entry, archive.with_prefix(arrays, f"member_{number}_"), depth + 1)
        for number, entry in enumerate(manifest["members"])
    )
    own = {name: array for name, array in arrays.items() if not (members and name.startswith("member_"))}
    state = State(manifest["state"], own, members)
    density = registry.find("DENSITIES", family).from_state(Axes.of_text(manifest), state, manifest["training"])
    _check_use(density)
    return density


def _check_use(density: Density) -> None:
    """Evaluate the density at places of its box and of the trained range: what makes no sense shows there at last."""
    low, high = density.axes.box
    places = low + np.linspace(0, 1, 9)[:, np.newaxis] * (high - low)
    least, most = np.array(density.theta_range, dtype=float).reshape(-1, 2).T
    for share in (0.0, 0.4, 1.0):
        theta = least + share * (most - least)
        values = density.log_prob_tensor(tf.constant(places), tf.constant(theta, tf.float64))
        if np.isnan(values).any() or np.isposinf(values).any():
            raise ValueError(f"its log density is not a number at theta = {theta.tolist()}")


def fingerprint(density: Density) -> str:
    """SHA-256 of everything that decides on the values of a density, in hexadecimal.

    Raises:
        TypeError: If the density, or one that it is composed of, is of a kind without a name for files.
    """
    manifest, arrays = described(density)
    return archive.checksum(_without_training(manifest), arrays)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _without_training(manifest: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in manifest.items() if key not in ("training", "members")}
    return {**kept, "members": [_without_training(member) for member in manifest["members"]]}


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
