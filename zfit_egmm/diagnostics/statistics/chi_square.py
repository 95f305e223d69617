"""Chi-square tests of means that vanish if the model is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

SMALLEST_EIGENVALUE = 1e-9  # of a correlation matrix; a direction with less is certain but for rounding


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
            mean: Shape ``(n_means,)``, in any units.
            covariance: Covariance of the means, shape ``(n_means, n_means)``; what is certain is left out.

        Returns:
            The test, with one degree of freedom per linearly independent mean.
        """
        scale = np.sqrt(np.diag(covariance))
        used = scale > 0
        mean, scale = mean[used], scale[used]
        size, axes = np.linalg.eigh(covariance[np.ix_(used, used)] / np.outer(scale, scale))
        is_free = size > SMALLEST_EIGENVALUE
        return cls.of(np.sum(np.square((mean / scale) @ axes[:, is_free]) / size[is_free]), is_free.sum())

    @classmethod
    def of_all(cls, tests: Sequence[ChiSquare]) -> ChiSquare:
        """The test of several independent ones together."""
        return cls.of(sum(test.value for test in tests), sum(test.ndf for test in tests))


def smallest_of(p_values: Sequence[float]) -> float:
    """P-value of the smallest of several independent p-values, by Sidak; one if there is none."""
    smallest = min([*p_values, 1.0])
    return float(-np.expm1(len(p_values) * np.log1p(-smallest))) if smallest < 1 else 1.0
