"""Fits, scans, limits, toys and coverage of unbinned models; hypothesis tests with hepstats."""

from zfit_egmm.inference.goodness.goodness_of_fit import GoodnessOfFit, goodness_of_fit
from zfit_egmm.inference.hypotheses.feldman_cousins import ConfidenceSet, feldman_cousins
from zfit_egmm.inference.hypotheses.limits import Limits, upper_limit
from zfit_egmm.inference.hypotheses.significance import Significance, discovery
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import Minimum, fit
from zfit_egmm.inference.members import EnsembleSpread, ensemble_spread, member_fractions
from zfit_egmm.inference.scans.contours import Contour, contour, trace_contour
from zfit_egmm.inference.scans.intervals import Interval, interval
from zfit_egmm.inference.scans.profile import Profile, profile
from zfit_egmm.inference.toys.campaign import CampaignError, ToyResults
from zfit_egmm.inference.toys.coverage import Coverage, coverage
from zfit_egmm.inference.toys.run import run_toys
from zfit_egmm.inference.toys.sources import FromEvents, FromModel
from zfit_egmm.inference.toys.toy_fit import ToyFit
from zfit_egmm.inference.with_hepstats.asymptotic import AsymptoticCalculator
from zfit_egmm.inference.with_hepstats.frequentist import FrequentistCalculator
from zfit_egmm.inference.with_hepstats.limits import UpperLimit

__all__ = [
    "AsymptoticCalculator",
    "CampaignError",
    "ConfidenceSet",
    "Contour",
    "Coverage",
    "EnsembleSpread",
    "FrequentistCalculator",
    "FromEvents",
    "FromModel",
    "GoodnessOfFit",
    "Interval",
    "Likelihood",
    "Limits",
    "Minimum",
    "Profile",
    "Significance",
    "ToyFit",
    "ToyResults",
    "UpperLimit",
    "contour",
    "coverage",
    "discovery",
    "ensemble_spread",
    "feldman_cousins",
    "fit",
    "goodness_of_fit",
    "interval",
    "member_fractions",
    "profile",
    "run_toys",
    "trace_contour",
    "upper_limit",
]
