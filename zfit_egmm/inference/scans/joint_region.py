"""Region: a part of the plane of two parameters, bounded by polygons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Region:
    """Joint confidence region of two parameters.

    Args:
        level: Confidence level.
        threshold: Of ``-2 Delta ln L``: the quantile of a chi-square distribution with two degrees of freedom.
        rings: Closed polygons, shape ``(n, 2)``; counterclockwise around what is inside, clockwise around holes.
    """

    level: float
    threshold: float
    rings: tuple[np.ndarray, ...]

    @property
    def area(self) -> float:
        """Area, in units of the product of the parameters."""
        return float(sum(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) for x, y in (ring.T for ring in self.rings)))

    def contains(self, points: ArrayLike) -> Any:
        """Whether points lie inside.

        Args:
            points: Shape ``(2,)`` or ``(n, 2)``.

        Returns:
            A bool, or an array of shape ``(n,)``.

        Raises:
            ValueError: If points have not two coordinates.
        """
        at = np.asarray(points, dtype=float)
        if at.ndim not in (1, 2) or at.shape[-1] != 2:
            raise ValueError(f"a point has two coordinates: expected the shape (2,) or (n, 2), got {at.shape}")
        x, y = np.atleast_2d(at).T[:, :, np.newaxis]
        n_crossed = np.zeros(len(x), dtype=int)
        for ring in self.rings:
            (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
            rises = (y0 <= y) != (y1 <= y)
            height = np.where(y1 == y0, 1.0, y1 - y0)
            n_crossed += np.sum(rises & (x < x0 + (y - y0) * (x1 - x0) / height), axis=1)
        is_inside = n_crossed % 2 == 1
        return bool(is_inside[0]) if at.ndim == 1 else is_inside
