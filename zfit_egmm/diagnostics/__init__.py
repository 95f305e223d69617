"""Where a learned density is wrong: compared with held-out simulated events."""

from zfit_egmm.diagnostics.calibration import Calibration, calibration
from zfit_egmm.diagnostics.coverage import Coverage, highest_density_coverage
from zfit_egmm.diagnostics.divergences import (
    Divergence,
    ObservableDivergences,
    TrueDivergence,
    observable_divergences,
    true_divergence,
)
from zfit_egmm.diagnostics.energy import EnergyTest, energy_test
from zfit_egmm.diagnostics.evaluation import Evaluation, evaluate
from zfit_egmm.diagnostics.marginals import (
    PairPulls,
    PullFrequencies,
    Spectrum,
    pair_pulls,
    pull_frequencies,
    spectra,
)
from zfit_egmm.diagnostics.report import write_report
from zfit_egmm.diagnostics.spectrum_ratios import ThetaRatio, theta_ratios
from zfit_egmm.diagnostics.theta.bias import ThetaBias, theta_bias
from zfit_egmm.diagnostics.theta.classifier import ClassifierComparison, classifier_comparison
from zfit_egmm.diagnostics.theta.closure import ClosureFits, closure_fits
from zfit_egmm.diagnostics.theta.reweighting import Reweighting, reweighting_closure
from zfit_egmm.diagnostics.theta.score import InformationTest, ScoreTest, information_test, score_test
from zfit_egmm.diagnostics.thresholds import Thresholds
from zfit_egmm.diagnostics.two_sample import ClassifierTest, classifier_test

__all__ = [
    "Calibration",
    "ClassifierComparison",
    "ClassifierTest",
    "ClosureFits",
    "Coverage",
    "Divergence",
    "EnergyTest",
    "Evaluation",
    "InformationTest",
    "ObservableDivergences",
    "PairPulls",
    "PullFrequencies",
    "Reweighting",
    "ScoreTest",
    "Spectrum",
    "ThetaBias",
    "ThetaRatio",
    "Thresholds",
    "TrueDivergence",
    "calibration",
    "classifier_comparison",
    "classifier_test",
    "closure_fits",
    "energy_test",
    "evaluate",
    "highest_density_coverage",
    "information_test",
    "observable_divergences",
    "pair_pulls",
    "pull_frequencies",
    "reweighting_closure",
    "score_test",
    "spectra",
    "theta_bias",
    "theta_ratios",
    "true_divergence",
    "write_report",
]
