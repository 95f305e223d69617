"""Hypothesis tests of unbinned models of several observables with hepstats."""

from zfit_egmm.inference.asimov import AsymptoticCalculator
from zfit_egmm.inference.limits import UpperLimit
from zfit_egmm.inference.toys import FrequentistCalculator

__all__ = ["AsymptoticCalculator", "FrequentistCalculator", "UpperLimit"]
