"""Integral: a probability with its numerical error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Integral:
    """A probability with its numerical error.

    Args:
        value: Probability, shape ``()`` or ``(n_events,)`` for a marginal density.
        error: Standard error of the numerical integration, same shape; zero where it is exact.
        n_points: Number of points used.
    """

    value: np.ndarray
    error: np.ndarray
    n_points: int


def mean_integral(integrals: Sequence[Integral]) -> Integral:
    """Mean of integrals. Their errors add linearly: all use the same sequence of points."""
    value, error = (np.mean([getattr(one, name) for one in integrals], axis=0) for name in ("value", "error"))
    return Integral(value, error, sum(one.n_points for one in integrals))
