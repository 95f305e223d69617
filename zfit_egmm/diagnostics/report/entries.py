"""The diagnostics of an evaluation; a new one is a file, in which its entry stands, and a line in the list below."""

from __future__ import annotations

from dataclasses import make_dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from zfit_egmm.diagnostics.entry.declaration import Entry
from zfit_egmm.diagnostics.shapes.classifier import NetworkEntry, TreesEntry
from zfit_egmm.diagnostics.shapes.coverage import CoverageEntry
from zfit_egmm.diagnostics.shapes.divergences import DivergencesEntry
from zfit_egmm.diagnostics.shapes.energy import EnergyEntry
from zfit_egmm.diagnostics.shapes.pulls import PairPullsEntry, PullFrequenciesEntry
from zfit_egmm.diagnostics.shapes.spectra import SpectraEntry
from zfit_egmm.diagnostics.shapes.spectrum_ratios import RatiosEntry
from zfit_egmm.diagnostics.shapes.transforms import CalibrationEntry
from zfit_egmm.diagnostics.shapes.worst_regions import WorstRegionsEntry
from zfit_egmm.diagnostics.theta.bias import BiasEntry
from zfit_egmm.diagnostics.theta.closure import ClosureEntry
from zfit_egmm.diagnostics.theta.comparison import ComparisonEntry
from zfit_egmm.diagnostics.theta.information import InformationEntry
from zfit_egmm.diagnostics.theta.reweighting import ReweightingEntry
from zfit_egmm.diagnostics.theta.score import ScoreEntry

ENTRIES: tuple[Entry, ...] = (
    BiasEntry(),
    TreesEntry(),
    WorstRegionsEntry(),
    NetworkEntry(),
    EnergyEntry(),
    SpectraEntry(),
    DivergencesEntry(),
    PairPullsEntry(),
    PullFrequenciesEntry(),
    CalibrationEntry(),
    CoverageEntry(),
    ScoreEntry(),
    ClosureEntry(),
    InformationEntry(),
    ReweightingEntry(),
    ComparisonEntry(),
    RatiosEntry(),
)
"""All diagnostics, in the order of the page; each runs after those whose results it takes."""

if TYPE_CHECKING:
    Results = SimpleNamespace
else:
    Results = make_dataclass("Results", [(entry.name, Any, None) for entry in ENTRIES], frozen=True, eq=False)
    Results.__module__, Results.__doc__ = __name__, "What was found, by name; ``None`` if skipped or failed."
