"""Registry: which kinds of density and of model there are, found in the folders of ``families`` and nowhere else.

A folder of ``zfit_egmm/families`` says in its ``__init__.py``, which imports nothing heavy, what it brings:

- ``DENSITIES``: kinds of density as files name them, with the place of their class, ``{"egmm": "module:Class"}``;
- ``REWEIGHTINGS``: kinds of functions that densities may be multiplied with, in the same form;
- ``MODELS``: what ``TrainingConfig(model=...)`` accepts, with the place of the dataclass of its settings;
- ``PRESETS``: named configurations, with the place of each.

Files and configurations hold names only; a place is never taken from them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any, Literal

Table = Literal["DENSITIES", "REWEIGHTINGS", "MODELS", "PRESETS"]

DENSITIES = {
    "ensemble": "zfit_egmm.density.composed.ensemble:EnsembleDensity",
    "product": "zfit_egmm.density.composed.product:ProductDensity",
    "transformed": "zfit_egmm.density.composed.transformed:TransformedDensity",
    "uniform": "zfit_egmm.density.uniform:UniformDensity",
}
"""Densities that are no family of their own."""

REWEIGHTINGS = {"density ratio": "zfit_egmm.density.composed.product:DensityRatio"}

_registered: dict[Table, dict[str, Any]] = {"DENSITIES": {}, "REWEIGHTINGS": {}, "MODELS": {}, "PRESETS": {}}


def register(table: Table, name: str, entry: Any) -> None:
    """Make a density class, settings of a model or a preset known under a name, from outside of this package.

    Raises:
        ValueError: If something else has this name.
    """
    taken = _registered[table].get(name, _places(table).get(name, entry))
    if taken is not entry and not _is_same(taken, entry):
        raise ValueError(f"{name!r} is taken by {taken} already; choose another name")
    _registered[table][name] = entry


def names(table: Table) -> list[str]:
    """All known names."""
    return sorted({**_places(table), **_registered[table]})


def find(table: Table, name: str) -> Any:
    """What a name stands for.

    Raises:
        KeyError: If there is no such name.
    """
    if name in _registered[table]:
        return _registered[table][name]
    module, _, attribute = _places(table)[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def _places(table: Table) -> dict[str, str]:
    families = importlib.import_module("zfit_egmm.families")
    places = dict({"DENSITIES": DENSITIES, "REWEIGHTINGS": REWEIGHTINGS}.get(table, {}))
    for found in pkgutil.iter_modules(families.__path__):
        places |= getattr(importlib.import_module(f"zfit_egmm.families.{found.name}"), table, {})
    return places


def _is_same(place: Any, entry: Any) -> bool:
    """Whether a place, or a class defined again, is that of an entry."""
    if not isinstance(place, str):
        place = f"{place.__module__}:{place.__qualname__}"
    return place == f"{entry.__module__}:{entry.__qualname__}"
