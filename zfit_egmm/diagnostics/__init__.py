"""Where a learned density is wrong: compared with held-out simulated events."""

from zfit_egmm.diagnostics.report.evaluation import Evaluation, evaluate
from zfit_egmm.diagnostics.report.page import write_report
from zfit_egmm.diagnostics.report.thresholds import Thresholds
from zfit_egmm.diagnostics.shapes.classifier import ClassifierTest, classifier_test, plot_classifier
from zfit_egmm.diagnostics.shapes.coverage import (
    HighestDensityCoverage,
    highest_density_coverage,
    plot_highest_density_coverage,
)
from zfit_egmm.diagnostics.shapes.divergences import (
    Divergence,
    ObservableDivergences,
    TrueDivergence,
    observable_divergences,
    true_divergence,
)
from zfit_egmm.diagnostics.shapes.energy import EnergyTest, energy_test
from zfit_egmm.diagnostics.shapes.pulls import (
    PairPulls,
    PullFrequencies,
    pair_pulls,
    plot_pair_pulls,
    plot_pull_frequencies,
    pull_frequencies,
)
from zfit_egmm.diagnostics.shapes.spectra import Spectrum, plot_spectra, spectra
from zfit_egmm.diagnostics.shapes.spectrum_ratios import ThetaRatio, plot_theta_ratios, theta_ratios
from zfit_egmm.diagnostics.shapes.transforms import Calibration, calibration, plot_transforms
from zfit_egmm.diagnostics.shapes.worst_regions import WorstRegion, worst_regions
from zfit_egmm.diagnostics.theta.bias import ThetaBias, plot_bias, theta_bias
from zfit_egmm.diagnostics.theta.closure import ClosureFits, closure_fits, plot_closure
from zfit_egmm.diagnostics.theta.comparison import ClassifierComparison, classifier_comparison
from zfit_egmm.diagnostics.theta.information import InformationTest, information_test, plot_information
from zfit_egmm.diagnostics.theta.reweighting import Reweighting, plot_reweighting, reweighting_closure
from zfit_egmm.diagnostics.theta.score import ScoreTest, plot_scores, score_test

__all__ = [
    "Calibration",
    "ClassifierComparison",
    "ClassifierTest",
    "ClosureFits",
    "Divergence",
    "EnergyTest",
    "Evaluation",
    "HighestDensityCoverage",
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
    "WorstRegion",
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
    "plot_bias",
    "plot_classifier",
    "plot_closure",
    "plot_highest_density_coverage",
    "plot_information",
    "plot_pair_pulls",
    "plot_pull_frequencies",
    "plot_reweighting",
    "plot_scores",
    "plot_spectra",
    "plot_theta_ratios",
    "plot_transforms",
    "pull_frequencies",
    "reweighting_closure",
    "score_test",
    "spectra",
    "theta_bias",
    "theta_ratios",
    "true_divergence",
    "worst_regions",
    "write_report",
]
