"""Where a curve that is known at some values crosses zero."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

PRECISION = 1e-9
"""Of a crossing, in units of the distance between two values."""


def crossings(values: np.ndarray, curve: np.ndarray) -> list[float]:
    """All places where a curve changes sign, by shape-preserving cubic interpolation.

    Args:
        values: Increasing, shape ``(n,)``.
        curve: The curve there, same shape. Zero counts as positive.
    """
    is_negative = np.asarray(curve) < 0
    values = np.asarray(values, dtype=float)
    segments = np.flatnonzero(is_negative[1:] != is_negative[:-1])
    if not len(segments):
        return []
    interpolated = PchipInterpolator(values, curve)
    # The default of an absolute tolerance would be a number in units of the values.
    return [
        float(brentq(interpolated, low, high, xtol=PRECISION * (high - low)))
        for low, high in zip(values[segments], values[segments + 1], strict=True)
    ]
