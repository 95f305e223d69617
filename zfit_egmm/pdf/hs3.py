"""HS3: an EGMM as text, with its density referenced by path and hash."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pydantic.v1 as pydantic

from zfit_egmm.archive import ModelFileError
from zfit_egmm.density import files
from zfit_egmm.density.files import load_density
from zfit_egmm.pdf.egmm import EGMM
from zfit_egmm.pdf.spaces import ranges_of, space_of_ranges
from zfit_egmm.zfit_compat import BasePDFRepr, Serializer

Ranges = dict[str, tuple[float, float]]


def reference(pdf: EGMM) -> dict[str, str]:
    """Path, relative to the current folder, and SHA-256 of the file that the density was saved to or loaded from.

    Raises:
        ModelFileError: If it was never saved, or the file is gone or has changed since.
    """
    source = pdf.density.source
    if source is None:
        raise ModelFileError(
            f"the density of {pdf.name!r} is in no file that HS3 could refer to; save it first: density.save(path)"
        )
    _checked(source.path, source.sha256)
    return {"path": Path(os.path.relpath(source.path)).as_posix(), "sha256": source.sha256}


def restore(
    *,
    density: dict[str, str],
    observables: Ranges,
    theta: dict[str, Any] | None = None,
    norm: Ranges | None = None,
    limits: list[Ranges] | None = None,
    **others: Any,
) -> EGMM:
    """The PDF that the fields of :class:`EGMMRepr` describe.

    Raises:
        FileNotFoundError: If the file of the density is not there.
        ModelFileError: If it has another hash.
    """
    path = Path(density["path"])
    _checked(path, density["sha256"])
    return EGMM(
        load_density(path),
        params=theta,
        obs=space_of_ranges(observables),
        norm=None if norm is None else space_of_ranges(norm),
        limits=None if limits is None else [space_of_ranges(ranges) for ranges in limits],
        **others,
    )


def _checked(path: Path, expected: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path} (looked from {Path.cwd()}): the density is not there. Paths in HS3 are relative to the "
            "folder in which it is written and read"
        )
    found = files.sha256(path)
    if found != expected:
        raise ModelFileError(
            f"{path} is another density than the one referred to: its SHA-256 is {found}, expected {expected}"
        )


class EGMMRepr(BasePDFRepr):
    """Fields of an EGMM in HS3."""

    _implementation = EGMM
    _constructor = pydantic.PrivateAttr(restore)
    hs3_type: Literal["EGMM"] = pydantic.Field("EGMM", alias="type")
    label: str | None = None
    density: dict[str, str]
    observables: Ranges
    theta: dict[str, Serializer.types.ParamInputTypeDiscriminated] | None = None
    norm: Ranges | None = None
    limits: list[Ranges] | None = None
    tolerance: float

    @pydantic.root_validator(pre=True)
    def convert_params(cls, values: Any) -> Any:  # noqa: N805 - pydantic's validators are class methods
        """Fields from a PDF; also under the name that zfit gives to this step."""
        if not cls.orm_mode(values):
            return values
        pdf = values._obj
        return {
            "name": pdf.name,
            "label": pdf.label,
            "extended": pdf.get_yield() if pdf.is_extended else None,
            "density": reference(pdf),
            "observables": ranges_of(pdf.space),
            "theta": {name: pdf.params[name] for name in pdf.density.theta_names},
            "norm": None if pdf.norm == pdf.space else ranges_of(pdf.norm),
            "limits": None if pdf.truncation is None else [ranges_of(space) for space in pdf.truncation],
            "tolerance": pdf.tolerance,
        }
