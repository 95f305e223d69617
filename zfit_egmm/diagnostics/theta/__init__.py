"""Does a density depend on theta as the simulation does? Tests on held-out events, and the bias that is left."""

from zfit_egmm.diagnostics.theta.bias import ThetaBias, theta_bias
from zfit_egmm.diagnostics.theta.classifier import ClassifierComparison, classifier_comparison
from zfit_egmm.diagnostics.theta.closure import ClosureFits, closure_fits
from zfit_egmm.diagnostics.theta.reweighting import ReweightedSpectrum, Reweighting, reweighting_closure
from zfit_egmm.diagnostics.theta.score import InformationTest, ScoreTest, information_test, score_test

__all__ = [
    "ClassifierComparison",
    "ClosureFits",
    "InformationTest",
    "ReweightedSpectrum",
    "Reweighting",
    "ScoreTest",
    "ThetaBias",
    "classifier_comparison",
    "closure_fits",
    "information_test",
    "reweighting_closure",
    "score_test",
    "theta_bias",
]
