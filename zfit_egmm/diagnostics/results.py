"""Results of all diagnostics of one density."""

from __future__ import annotations

from dataclasses import dataclass

from zfit_egmm.diagnostics.calibration import Calibration
from zfit_egmm.diagnostics.coverage import Coverage
from zfit_egmm.diagnostics.divergences import ObservableDivergences
from zfit_egmm.diagnostics.energy import EnergyTest
from zfit_egmm.diagnostics.marginals import PairPulls, PullFrequencies, Spectrum
from zfit_egmm.diagnostics.regions import Region
from zfit_egmm.diagnostics.spectrum_ratios import ThetaRatio
from zfit_egmm.diagnostics.theta import (
    ClassifierComparison,
    ClosureFits,
    InformationTest,
    Reweighting,
    ScoreTest,
    ThetaBias,
)
from zfit_egmm.diagnostics.two_sample import ClassifierTest


@dataclass(frozen=True, eq=False)
class Results:
    """What the diagnostics found; ``None`` for those that were skipped or failed.

    Args:
        spectra: Spectra of all observables.
        pair_pulls: Pulls in bins of two observables.
        pull_frequencies: How often pulls of each size occur.
        divergences: Distances between the spectra of simulation and model.
        classifier: Classifier two-sample test with boosted trees.
        network: The same with a neural network.
        worst_regions: Where the boosted trees see the largest differences.
        energy: Energy test in all observables and theta.
        calibration: Tests of the probability integral transforms.
        coverage: Coverage of highest-density regions.
        score: Mean scores at each theta.
        closure: Fits of theta to the held-out events.
        bias: Bias on theta for a number of events.
        information: Fisher information from scores and from the curvature.
        reweighting: Spectra reweighted from one theta to others.
        comparison: Likelihood ratios of theta against those of a classifier.
        ratios: Spectra at other theta over those at a reference.
    """

    spectra: tuple[Spectrum, ...] | None = None
    pair_pulls: tuple[PairPulls, ...] | None = None
    pull_frequencies: PullFrequencies | None = None
    divergences: tuple[ObservableDivergences, ...] | None = None
    classifier: ClassifierTest | None = None
    network: ClassifierTest | None = None
    worst_regions: tuple[Region, ...] | None = None
    energy: EnergyTest | None = None
    calibration: Calibration | None = None
    coverage: tuple[Coverage, ...] | None = None
    score: ScoreTest | None = None
    closure: ClosureFits | None = None
    bias: ThetaBias | None = None
    information: InformationTest | None = None
    reweighting: tuple[Reweighting, ...] | None = None
    comparison: tuple[ClassifierComparison, ...] | None = None
    ratios: tuple[ThetaRatio, ...] | None = None
