"""The density that a projection gives the data on the latent axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from zfit_egmm.observables import LATENT_LIMIT

ALPHA, BETA, GAMMA = 4.0, 3.0, 1.0
"""Constants of the published target, eq. 4 of Menary and Price, "Learning to discover"."""


@dataclass(frozen=True)
class LatentTarget:
    """Density on ``[-5, 5]``, flat in the middle, that ends abruptly or falls off smoothly on each side.

    Args:
        is_soft_low: Whether it falls off toward -5.
        is_soft_high: Whether it falls off toward 5. With both, it is the published target.

    Source:
        Eq. 4 of Menary and Price, "Learning to discover", with its integral in closed form; the
        abrupt ends are not in the paper.
    """

    is_soft_low: bool = True
    is_soft_high: bool = True

    def cdf(self, u: np.ndarray) -> np.ndarray:
        """Cumulative distribution, zero at -5 and one at 5."""
        low, high = self._ends()
        return (self._integral(np.asarray(u, dtype=float)) - low) / (high - low)

    def density(self, u: np.ndarray) -> np.ndarray:
        """Derivative of :meth:`cdf`."""
        low, high = self._ends()
        rise = expit(ALPHA * (u + BETA) + GAMMA) if self.is_soft_low else np.ones_like(u)
        fall = expit(-ALPHA * (u - BETA) + GAMMA) if self.is_soft_high else np.ones_like(u)
        both = -np.expm1(-2 * (ALPHA * BETA + GAMMA)) if self.is_soft_low and self.is_soft_high else 1.0
        return ALPHA * rise * fall * both / (high - low)

    def quantile(self, fraction: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`cdf`, for fractions in ``[0, 1]``."""
        fraction = np.asarray(fraction, dtype=float)
        if self.is_soft_high and not self.is_soft_low:
            return -LatentTarget(is_soft_low=True, is_soft_high=False).quantile(1 - fraction)
        low, high = self._ends()
        integral = low + fraction * (high - low)
        if not self.is_soft_low:
            return integral / ALPHA
        rise = np.log(np.expm1(integral))
        if self.is_soft_high:
            rise -= np.log1p(-np.exp(integral - 2 * (ALPHA * BETA + GAMMA)))
        return np.clip((rise - GAMMA) / ALPHA - BETA, -LATENT_LIMIT, LATENT_LIMIT)

    def _ends(self) -> tuple[float, float]:
        low, high = self._integral(np.array([-LATENT_LIMIT, LATENT_LIMIT]))
        return float(low), float(high)

    def _integral(self, u: np.ndarray) -> np.ndarray:
        rise = np.logaddexp(0, ALPHA * (u + BETA) + GAMMA) if self.is_soft_low else ALPHA * u
        return rise - np.logaddexp(0, ALPHA * (u - BETA) - GAMMA) if self.is_soft_high else rise
