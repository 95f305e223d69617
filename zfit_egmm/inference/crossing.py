"""Where a curve that is known at some values crosses zero."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq


def crossings(values: np.ndarray, curve: np.ndarray) -> list[float]:
    """All places where a curve changes sign, by shape-preserving cubic interpolation.

    Args:
        values: Increasing, shape ``(n,)``.
        curve: The curve there, same shape. Zero counts as positive.
    """
    is_negative = np.asarray(curve) < 0
    segments = np.flatnonzero(is_negative[1:] != is_negative[:-1])
    if not len(segments):
        return []
    interpolated = PchipInterpolator(values, curve)
    return [float(brentq(interpolated, values[segment], values[segment + 1])) for segment in segments]
