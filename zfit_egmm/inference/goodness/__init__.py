"""Goodness of fit, from toys."""
