"""Fits, scans, limits, toys and coverage of unbinned models; hypothesis tests with hepstats."""

from zfit_egmm.inference.campaign import CampaignError, ToyResults
from zfit_egmm.inference.contours import Contour, contour, trace_contour
from zfit_egmm.inference.coverage import Coverage, coverage
from zfit_egmm.inference.discovery import Significance, discovery
from zfit_egmm.inference.ensemble_spread import EnsembleSpread, ensemble_spread, member_fractions
from zfit_egmm.inference.feldman_cousins import ConfidenceSet, feldman_cousins
from zfit_egmm.inference.goodness_of_fit import GoodnessOfFit, goodness_of_fit
from zfit_egmm.inference.hepstats_asimov import AsymptoticCalculator
from zfit_egmm.inference.hepstats_limits import UpperLimit
from zfit_egmm.inference.hepstats_toys import FrequentistCalculator
from zfit_egmm.inference.intervals import Interval, interval
from zfit_egmm.inference.likelihood import Likelihood
from zfit_egmm.inference.limits import Limits, upper_limit
from zfit_egmm.inference.minimum import Minimum, fit
from zfit_egmm.inference.profile import Profile, profile
from zfit_egmm.inference.sources import FromEvents, FromModel
from zfit_egmm.inference.toy_fit import ToyFit
from zfit_egmm.inference.toys import run_toys

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
