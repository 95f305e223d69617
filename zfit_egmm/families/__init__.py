"""Families of densities that are learned from events, one folder each; :mod:`zfit_egmm.registry` finds them."""
