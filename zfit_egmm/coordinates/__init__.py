"""Coordinates in which densities are learned: latent axes of observables, and inputs made of theta."""
