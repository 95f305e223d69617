"""Weighted means of events with their errors."""

from __future__ import annotations

import numpy as np


def weighted_means(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of values of events, with the covariance matrix of the means.

    Args:
        values: Shape ``(n_events, k)``.
        weights: Shape ``(n_events,)``, of any sign, with a positive sum.

    Returns:
        Means, shape ``(k,)``, and their covariance, shape ``(k, k)``.
    """
    share = weights / weights.sum()
    mean = share @ values
    residuals = share[:, np.newaxis] * (values - mean)
    n = len(values)
    return mean, residuals.T @ residuals * n / max(n - 1, 1)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Mean of values of shape ``(n_events,)``, with its standard error; see :func:`weighted_means`."""
    mean, covariance = weighted_means(values[:, np.newaxis], weights)
    return float(mean[0]), float(np.sqrt(covariance[0, 0]))


def errors_of(covariances: np.ndarray) -> np.ndarray:
    """Standard errors, shape ``(..., k)``, of covariance matrices, shape ``(..., k, k)``."""
    return np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1))


def effective_size(weights: np.ndarray) -> float:
    """Events of equal weight that would tell as much, ``(sum w)^2 / sum w^2``."""
    return float(weights.sum() ** 2 / np.square(weights).sum())
