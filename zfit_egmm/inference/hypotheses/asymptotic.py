"""Asymptotic distributions of likelihood ratios, for limits.

The best fit is taken to be Gaussian around the true value, with a width that the Asimov sample of the alternative
hypothesis tells, and cannot leave the limits of the parameter.

Source:
    Cowan, Cranmer, Gross and Vitells, arXiv:1007.1727, sections 2.4, 2.5, 3.6 and 3.7. With the lower limit of the
    parameter at the alternative value, zero, these are the formulae of their q-tilde, and without a limit those of
    their q. In between the same calculation holds.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr

N_SIGMA = (-2, -1, 0, 1, 2)
"""Bands of expected results: standard deviations by which the data fluctuate upwards."""


def observed_cls(
    q: np.ndarray, q_asimov: np.ndarray, values: np.ndarray, *, alternative: float = 0.0, low: float = -np.inf
) -> np.ndarray:
    """CLs of tested values.

    Args:
        q: Test statistic of the data, shape ``(n,)``: ``-2 ln [L(value) / L(best)]``, zero if the best fit is larger.
        q_asimov: The same for the Asimov sample of the alternative.
        values: Tested values, not below the alternative.
        alternative: Value of the parameter without a signal.
        low: Lower limit of the parameter.

    Returns:
        Ratio of the probabilities of a larger test statistic with a signal of the tested size and without, same shape.
    """
    values, shift = np.asarray(values, dtype=float), np.sqrt(np.maximum(q_asimov, 0))
    gap = values - alternative
    with np.errstate(divide="ignore", invalid="ignore"):
        # Distance of the tested value from the lower limit, in standard deviations.
        depth = np.where(gap > 0, shift * (values - low) / gap, np.inf)
    q = np.maximum(q, 0)
    return np.exp(_log_tail(q, depth, 0.0) - _log_tail(q, depth, shift))


def expected_cls(q_asimov: np.ndarray) -> np.ndarray:
    """Median and bands of CLs without a signal.

    Args:
        q_asimov: Test statistic of the Asimov sample of the alternative, shape ``(n,)``.

    Returns:
        Shape ``(5, n)``, in the order of ``N_SIGMA``.
    """
    n_sigma = np.array(N_SIGMA, dtype=float)[:, np.newaxis]
    return ndtr(n_sigma - np.sqrt(np.maximum(q_asimov, 0))) / ndtr(n_sigma)


def _log_tail(q: np.ndarray, depth: np.ndarray, shift: np.ndarray | float) -> np.ndarray:
    """Log of the probability of a larger q if the true value lies ``shift`` standard deviations below the tested one.

    Where q exceeds the square of the depth, the best fit is at the lower limit, and q is linear in what the best fit
    would be without it.
    """
    is_at_limit = q > np.square(depth)
    known = np.where(is_at_limit & (depth > 0), depth, 1.0)
    at_limit = (q + np.square(known) - 2 * known * shift) / (2 * known)
    return log_ndtr(-np.where(is_at_limit, at_limit, np.sqrt(q) - shift))
