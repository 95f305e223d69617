"""Calculators and limits for hepstats."""
