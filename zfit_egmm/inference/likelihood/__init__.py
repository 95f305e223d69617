"""Likelihoods: the loss compiled once, its data and constraints, fits, profiles, and what is expected of a model."""
