"""Learned densities p(x | theta) as native zfit PDFs.

The names below are loaded on first use, so that ``import zfit_egmm`` is quick and needs neither
TensorFlow nor zfit. The zfit PDF lives in :mod:`zfit_egmm.pdf`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zfit_egmm.archive import ModelFileError
    from zfit_egmm.coordinates.rotation import Rotation
    from zfit_egmm.coordinates.steps import Difference, Fraction, Log, Ratio
    from zfit_egmm.density.base import Density
    from zfit_egmm.density.composed.ensemble import EnsembleDensity
    from zfit_egmm.density.files import load_density
    from zfit_egmm.events.sample import EventSample
    from zfit_egmm.families.egmm.networks import PaperNetwork, SmoothNetwork
    from zfit_egmm.families.egmm.settings import MixtureSettings
    from zfit_egmm.observables import Observable
    from zfit_egmm.training.config import TrainingConfig
    from zfit_egmm.training.ensemble import train_ensemble
    from zfit_egmm.training.train import train

__version__ = "0.1.0"

_HOME = {
    "Density": "zfit_egmm.density.base",
    "ModelFileError": "zfit_egmm.archive",
    "MixtureSettings": "zfit_egmm.families.egmm.settings",
    "PaperNetwork": "zfit_egmm.families.egmm.networks",
    "SmoothNetwork": "zfit_egmm.families.egmm.networks",
    "Difference": "zfit_egmm.coordinates.steps",
    "Fraction": "zfit_egmm.coordinates.steps",
    "Log": "zfit_egmm.coordinates.steps",
    "Ratio": "zfit_egmm.coordinates.steps",
    "Rotation": "zfit_egmm.coordinates.rotation",
    "EventSample": "zfit_egmm.events.sample",
    "Observable": "zfit_egmm.observables",
    "TrainingConfig": "zfit_egmm.training.config",
    "EnsembleDensity": "zfit_egmm.density.composed.ensemble",
    "load_density": "zfit_egmm.density.files",
    "train": "zfit_egmm.training.train",
    "train_ensemble": "zfit_egmm.training.ensemble",
}

__all__ = [
    "Density",
    "Difference",
    "EnsembleDensity",
    "EventSample",
    "Fraction",
    "Log",
    "MixtureSettings",
    "ModelFileError",
    "Observable",
    "PaperNetwork",
    "Ratio",
    "Rotation",
    "SmoothNetwork",
    "TrainingConfig",
    "__version__",
    "load_density",
    "train",
    "train_ensemble",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'zfit_egmm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
