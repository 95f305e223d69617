"""warm_fit: the minimum near a start, where the second derivatives are roughly known already."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from zfit_egmm.inference.likelihood.loss import Likelihood

GOAL = 1e-6
"""Expected distance to the minimum, in the negative log-likelihood, at which a fit has converged."""

MOST_STEPS = 12
SUFFICIENT = 1e-4
SCALES = (1.0, 0.5, 0.2)


def warm_fit(
    likelihood: Likelihood, start: np.ndarray, floating: Sequence[str], covariance: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Minimise some parameters by quasi-Newton steps (BFGS): a few evaluations, where Minuit needs a dozen.

    The parameters of the likelihood are left at the last values tried.

    Args:
        likelihood: The likelihood.
        start: All parameters, near the minimum, in the order of ``likelihood.names``.
        floating: Parameters to minimise.
        covariance: Rough inverse of their second derivatives, positive definite.

    Returns:
        All parameters at the minimum, and its negative log-likelihood; ``None`` if that was not reached, lies at a
        limit, or has events without a positive density: leave those to Minuit.

    Source:
        J. Nocedal and S. Wright, "Numerical optimization", algorithm 6.1.
    """
    at, inverse = np.array(start, dtype=float), np.array(covariance)
    rows = [likelihood.names.index(name) for name in floating]
    low, high = np.array([likelihood.limits[name] for name in floating]).T
    nll, gradient = likelihood.value_and_gradient(at, floating)
    for _ in range(MOST_STEPS):
        slope = gradient[rows]
        step = -inverse @ slope
        gain = -0.5 * slope @ step
        if not (math.isfinite(nll) and gain >= 0):
            return None
        if gain < GOAL * likelihood.data.unit:
            return None if likelihood.n_clipped else (at, nll)
        for scale in SCALES:
            trial = at.copy()
            trial[rows] += scale * step
            if np.all((trial[rows] > low) & (trial[rows] < high)):
                new_nll, new_gradient = likelihood.value_and_gradient(trial, floating)
                if new_nll < nll - SUFFICIENT * scale * gain:
                    break
        else:
            return None
        inverse = _updated(inverse, scale * step, new_gradient[rows] - slope)
        at, nll, gradient = trial, new_nll, new_gradient
    return None


def _updated(inverse: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The inverse of the second derivatives, after a change of the gradient along a step."""
    curvature = step @ change
    if curvature <= 0:
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / curvature
    return left @ inverse @ left.T + np.outer(step, step) / curvature
