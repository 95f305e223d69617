"""Chi-square tests of means that vanish if the model is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

SMALLEST_EIGENVALUE = 1e-9


@dataclass(frozen=True)
class ChiSquare:
    """Result of a chi-square test.

    Args:
        value: The chi square.
        ndf: Degrees of freedom.
        p_value: Probability of a larger value if the model is right.
    """

    value: float
    ndf: int
    p_value: float

    @classmethod
    def of(cls, value: float, ndf: int) -> ChiSquare:
        """The test of a value; without degrees of freedom nothing is tested, and the p-value is one."""
        return cls(float(value), int(ndf), float(chdtrc(ndf, value)) if ndf else 1.0)

    @classmethod
    def of_means(cls, mean: np.ndarray, covariance: np.ndarray) -> ChiSquare:
        """The test that means vanish.

        Args:
            mean: Shape ``(n_means,)``.
            covariance: Covariance of the means, shape ``(n_means, n_means)``; what is certain is left out.

        Returns:
            The test, with one degree of freedom per linearly independent mean.
        """
        size, axes = np.linalg.eigh(covariance)
        is_free = size > SMALLEST_EIGENVALUE * max(size[-1], 0.0)
        return cls.of(np.sum(np.square(mean @ axes[:, is_free]) / size[is_free]), is_free.sum())


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error, from the sum of squared weights."""
    share = weights / weights.sum()
    mean = float(share @ values)
    return mean, float(np.sqrt(np.sum(np.square(share * (values - mean)))))


def smallest_of(p_values: Sequence[float]) -> float:
    """P-value of the smallest of several independent p-values, by Sidak; one if there is none."""
    smallest = min([*p_values, 1.0])
    return float(-np.expm1(len(p_values) * np.log1p(-smallest))) if smallest < 1 else 1.0
