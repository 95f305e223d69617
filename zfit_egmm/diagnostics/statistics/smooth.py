"""Smooth tests: whether means of orthogonal polynomials of values that should be uniform vanish."""

from __future__ import annotations

import numpy as np
from scipy.special import eval_legendre

from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare
from zfit_egmm.diagnostics.statistics.means import effective_size
from zfit_egmm.events.sample import EventSample

N_POLYNOMIALS = 6  # polynomials in the test of uniformity: shift, width, skewness and so on
N_PRODUCT = 2  # polynomials of each side in tests of independence
TAIL = 0.01  # probability of the tail on each side
FEWEST_IN_TAIL = 25  # least expected effective number of events in a tail for a test of it


def polynomials(u: np.ndarray, number: int = N_PRODUCT) -> np.ndarray:
    """Legendre polynomials of degree 1, 2, ... on [0, 1], with mean zero and variance one if ``u`` is uniform.

    Args:
        u: In [0, 1], shape ``(n_events,)``.
        number: How many.

    Returns:
        Shape ``(n_events, number)``.
    """
    degree = np.arange(1, number + 1)
    return np.sqrt(2 * degree + 1) * eval_legendre(degree, 2 * u[:, np.newaxis] - 1)


def uniformity_test(u: np.ndarray, weights: np.ndarray, *, is_weighted: bool) -> ChiSquare:
    """Test that values are uniform in [0, 1], by polynomials and by the outermost 1 % on each side.

    The tails take part from 2500 effective events on.

    Args:
        u: Shape ``(n_events,)``.
        weights: Shape ``(n_events,)``, negative ones allowed.
        is_weighted: Whether the weights differ. The covariance is then estimated from the events, which also holds
            if weights depend on ``u``; otherwise it is known.

    Source:
        Neyman, "Smooth test for goodness of fit".
    """
    has_tails = TAIL * effective_size(weights) >= FEWEST_IN_TAIL
    used = slice(None) if has_tails else slice(N_POLYNOMIALS)
    covariance = None if is_weighted else _covariance_of_features()[used, used]
    return _mean_test(_features(u)[:, used], weights, covariance)


def product_test(first: np.ndarray, second: np.ndarray, sample: EventSample) -> ChiSquare:
    """Test that all products of two sets of polynomials have mean zero.

    Args:
        first: Polynomials of values that are uniform whatever the second is, shape ``(n_events, n)``.
        second: Shape ``(n_events, m)``.
        sample: The events, for their weights.
    """
    values = (first[:, :, np.newaxis] * second[:, np.newaxis]).reshape(len(first), -1)
    covariance = np.kron(np.eye(first.shape[1]), second.T @ second / len(second))
    return _mean_test(values, sample.weights, None if sample.is_weighted else covariance)


def _mean_test(values: np.ndarray, weights: np.ndarray, covariance: np.ndarray | None) -> ChiSquare:
    """Test that weighted means vanish; the covariance is that of the values of one event, if it is known."""
    share = weights / weights.sum()
    if covariance is None:
        weighted = values * share[:, np.newaxis]
        return ChiSquare.of_means(share @ values, weighted.T @ weighted)
    return ChiSquare.of_means(share @ values, covariance * np.square(share).sum())


def _features(u: np.ndarray) -> np.ndarray:
    """Polynomials, and what the tails have more than they should, all with mean zero if ``u`` is uniform."""
    tails = np.stack([u < TAIL, u > 1 - TAIL], axis=1) - TAIL
    return np.concatenate([polynomials(u, N_POLYNOMIALS), tails / np.sqrt(TAIL)], axis=1)


def _covariance_of_features() -> np.ndarray:
    """Covariance of the features if ``u`` is uniform, by a quadrature that is exact in each tail and between."""
    nodes, weights = np.polynomial.legendre.leggauss(N_POLYNOMIALS + 1)
    edges = np.array([0.0, TAIL, 1 - TAIL, 1.0])
    half = 0.5 * np.diff(edges)[:, np.newaxis]
    features = _features((edges[:-1, np.newaxis] + half * (nodes + 1)).ravel())
    return (features * (half * weights).ravel()[:, np.newaxis]).T @ features
