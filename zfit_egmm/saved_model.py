"""Saved densities: one file with weights and a manifest, no pickle, refused when corrupted."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from zfit_egmm import archive
from zfit_egmm.archive import ModelFileError
from zfit_egmm.density.conditioners import NETWORKS, Network, network_kind
from zfit_egmm.density.density import Density, Source
from zfit_egmm.density.theta import Bend, Stretch, ThetaScaling
from zfit_egmm.observables import Observable
from zfit_egmm.projection import Projection

KIND, FORMAT_VERSION = "model", 1
PROJECTION_ARRAYS = ("knots_x", "knots_u", "slopes")
PACKAGES = ("zfit_egmm", "tensorflow", "tensorflow-probability", "numpy")


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
    """
    content = arrays_of(density)
    target = archive.write(path, describe(density), content, kind=KIND, version=FORMAT_VERSION, overwrite=overwrite)
    density.source = Source(target.resolve(), sha256(target))
    return target


def describe(density: Density) -> dict[str, Any]:
    """The manifest of a density: everything about it except its numbers, as plain data."""
    network = density.autoregressive.network
    return {
        "observables": [asdict(observable) for observable in density.observables],
        "theta_names": list(density.theta_names),
        "theta_range": [list(pair) for pair in density.theta_range],
        "theta_stretches": [None if stretch is None else list(stretch) for stretch in density.scaling.stretches],
        "theta_bends": [list(bend) for bend in density.scaling.bends],
        "network": {"kind": network_kind(network), **asdict(network)},
        "projections": [None if projection is None else projection.kind for projection in density.projections],
        "latent_ranges": [list(pair) for pair in density.autoregressive.latent_ranges],
        "n_weights": density.n_weights,
        "training": density.training,
        "versions": _versions(),
    }


def load(path: str | Path) -> Density:
    """Load a density from a file written by :func:`save`.

    Args:
        path: The file.

    Returns:
        A density with the same log densities as the saved one.

    Raises:
        FileNotFoundError: If there is no such file.
        ModelFileError: If the file is truncated, corrupted, foreign, or of a newer format.
    """
    manifest, arrays = archive.read(path, kind=KIND, version=FORMAT_VERSION)
    try:
        density = rebuild(manifest, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} does not describe a usable density: {type(error).__name__}: {error}") from error
    source = Path(path).expanduser()
    density.source = Source(source.resolve(), sha256(source))
    return density


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def arrays_of(density: Density) -> dict[str, np.ndarray]:
    """The numbers of a density by the names that they have in a file."""
    arrays: dict[str, np.ndarray] = {}
    for number, projection in enumerate(density.projections):
        if projection is not None:
            arrays |= {f"projection_{number}_{name}": getattr(projection, name) for name in PROJECTION_ARRAYS}
    for number, factor in enumerate(density.weights):
        arrays |= {f"factor_{number}_{name}": value for name, value in factor.items()}
    return arrays


def rebuild(manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> Density:
    """The density of a manifest and its numbers.

    Raises:
        KeyError, TypeError, ValueError: If they do not fit each other.
    """
    _check_lengths(manifest)
    density = Density(
        [Observable(**entry) for entry in manifest["observables"]],
        manifest["theta_names"],
        _scaling(manifest),
        network=_network(**manifest["network"]),
        projections=[
            None if kind is None else Projection(kind, *(arrays[f"projection_{n}_{a}"] for a in PROJECTION_ARRAYS))
            for n, kind in enumerate(manifest["projections"])
        ],
        latent_ranges=_pairs(manifest["latent_ranges"]),
        weights=[archive.with_prefix(arrays, f"factor_{number}_") for number in range(len(manifest["observables"]))],
        training=manifest["training"],
    )
    _check_weights(density)
    return density


def _scaling(manifest: dict[str, Any]) -> ThetaScaling:
    n_theta = len(manifest["theta_names"])
    stretches = tuple(None if pair is None else Stretch(*map(float, pair)) for pair in manifest["theta_stretches"])
    bends = tuple(Bend(int(number), float(value), float(radius)) for number, value, radius in manifest["theta_bends"])
    if stretches and len(stretches) != n_theta:
        raise ValueError(f"{len(stretches)} theta_stretches for {n_theta} theta_names")
    if not all(stretch is None or stretch.width > 0 for stretch in stretches):
        raise ValueError("a width of theta_stretches is not positive")
    if not all(0 <= bend.parameter < n_theta and bend.radius > 0 for bend in bends):
        raise ValueError("theta_bends do not fit the parameters")
    return ThetaScaling(_pairs(manifest["theta_range"]), stretches, bends)


def _network(kind: str, **choices: Any) -> Network:
    """The network of a file, which must state every choice: defaults may have been others when it was written."""
    missing = {field.name for field in fields(NETWORKS[kind])} - set(choices)
    if missing:
        raise ValueError(f"the network lacks {', '.join(sorted(missing))}: was the file made by an older version?")
    return NETWORKS[kind](**choices)


def _check_lengths(manifest: dict[str, Any]) -> None:
    """Check that the entries of the manifest fit each other."""
    for names, keys in (
        ("observables", ("projections", "latent_ranges")),
        ("theta_names", ("theta_range",)),
    ):
        for key in keys:
            if len(manifest[key]) != len(manifest[names]):
                raise ValueError(f"{len(manifest[key])} {key} for {len(manifest[names])} {names}")
    for observable, kind in zip(manifest["observables"], manifest["projections"], strict=True):
        if (kind is None) != (observable["kind"] == "discrete"):
            raise ValueError(
                f"observable {observable['name']!r} is {observable['kind']}, but its projection is {kind!r}"
            )


def _pairs(values: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(low), float(high)) for low, high in values)


def _check_weights(density: Density) -> None:
    """Compare names and shapes of the weights with what the network needs."""
    expected = density.autoregressive.initial_weights(np.random.default_rng(0))
    for observable, wanted, found in zip(density.observables, expected, density.weights, strict=True):
        if {n: a.shape for n, a in wanted.items()} != {n: a.shape for n, a in found.items()}:
            raise ValueError(f"the weights of observable {observable.name!r} do not fit its network")
        if not all(np.isfinite(array).all() for array in found.values()):
            raise ValueError(f"the weights of observable {observable.name!r} are not finite")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
