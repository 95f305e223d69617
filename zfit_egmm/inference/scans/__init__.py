"""Scans of a likelihood: profiles, intervals and contours."""
