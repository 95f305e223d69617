"""Densities made of other densities."""
