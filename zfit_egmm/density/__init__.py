"""Densities p(x | theta) of any kind: what all of them have, how they are composed, and their files."""
