"""Identities that the score of a right density obeys: its mean is zero, its variance is the curvature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import (
    check_sample,
    joint_p_values,
    stacked,
    theta_groups,
    weighted_mean,
)
from zfit_egmm.events.sample import EventSample


@dataclass(frozen=True, eq=False)
class ScoreTest:
    """Mean score of held-out events at each theta; zero for the right density.

    Args:
        theta_names: Names of the parameters.
        theta: Values of theta, shape ``(n_groups, n_theta)``; means of cells where theta is continuous.
        mean: Mean of ``d log p / d theta``, same shape, in inverse units of theta.
        covariance: Statistical covariance of the mean, shape ``(n_groups, n_theta, n_theta)``.
        p_values: Probability of a mean at least as far from zero, shape ``(n_groups,)``.
        p_value: The same for all groups together.
    """

    theta_names: tuple[str, ...]
    theta: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    p_values: np.ndarray
    p_value: float

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean, shape ``(n_groups, n_theta)``."""
        return _errors(self.covariance)


@dataclass(frozen=True, eq=False)
class InformationTest:
    """Fisher information per event from the scores and from the curvature; equal for the right density.

    Their ratio tells whether a likelihood states the right errors: the variance of a best fit is the one it states,
    divided by the ratio. With 0.81, errors from the likelihood are 10 % too small.

    Args:
        theta_names: Names of the parameters.
        theta: Values of theta, shape ``(n_groups, n_theta)``.
        from_scores: Mean of ``score score^T``, shape ``(n_groups, n_theta, n_theta)``.
        from_curvature: Mean of ``- d^2 log p / d theta^2``, same shape.
        ratio: Diagonal of the second over that of the first, shape ``(n_groups, n_theta)``.
        ratio_error: Its standard error, same shape.
        p_values: Probability of diagonals at least as different, shape ``(n_groups,)``.
        p_value: The same for all groups together.
    """

    theta_names: tuple[str, ...]
    theta: np.ndarray
    from_scores: np.ndarray
    from_curvature: np.ndarray
    ratio: np.ndarray
    ratio_error: np.ndarray
    p_values: np.ndarray
    p_value: float


def score_test(density: Density, sample: EventSample) -> ScoreTest:
    """Test that the mean score of held-out events is zero at every theta.

    It sees any wrong dependence of the density on theta, to first order.

    Args:
        density: The density.
        sample: Events that the density was not trained on, with their theta; weights may be negative.

    Returns:
        Mean scores with errors and p-values. The p-values assume normal means, as a few hundred events per theta have.

    Raises:
        ValueError: If the sample does not match the density, or a theta has fewer than 50 events.
    """
    check_sample(density, sample)
    groups = theta_groups(sample)
    scores = Derivatives(density).scores(sample.x, sample.theta)
    found = [weighted_mean(scores[group.rows], sample.weights[group.rows]) for group in groups]
    p_values, p_value = joint_p_values(found)
    means, covariances = zip(*found, strict=True)
    theta = stacked([group.theta for group in groups])
    return ScoreTest(density.theta_names, theta, stacked(means), stacked(covariances), p_values, p_value)


def information_test(density: Density, sample: EventSample) -> InformationTest:
    """Compare the two forms of the Fisher information on held-out events at every theta.

    It sees a density whose spread is wrong even where its score is zero on average. It needs a density that is smooth
    in theta: with LeakyReLU the curvature is meaningless, as it is where the truth itself has a kink in theta.

    Args:
        density: The density.
        sample: Events that the density was not trained on, with their theta; weights may be negative.

    Returns:
        Both matrices, and the ratios of their diagonals with errors and p-values.

    Raises:
        ValueError: If the sample does not match the density, or a theta has fewer than 50 events.

    Source:
        H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50 (1982): information
        matrix test.
    """
    check_sample(density, sample)
    groups = theta_groups(sample)
    derivatives = Derivatives(density)
    scores = derivatives.scores(sample.x, sample.theta)
    curvatures = derivatives.curvatures(sample.x, sample.theta)
    found = [_informations(scores[g.rows], curvatures[g.rows], sample.weights[g.rows]) for g in groups]
    from_scores, from_curvature, ratio, ratio_error, differences = zip(*found, strict=True)
    p_values, p_value = joint_p_values(differences)
    return InformationTest(
        density.theta_names,
        stacked([group.theta for group in groups]),
        stacked(from_scores),
        stacked(from_curvature),
        stacked(ratio),
        stacked(ratio_error),
        p_values,
        p_value,
    )


def _informations(
    scores: np.ndarray, curvatures: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Both matrices, ratio of the diagonals with its error, and their difference with its covariance."""
    share = weights / weights.sum()
    from_scores = np.einsum("n,ni,nj->ij", share, scores, scores)
    from_curvature = np.einsum("n,nij->ij", share, curvatures)
    diagonal = np.diagonal(curvatures, axis1=1, axis2=2)
    ratio = np.diag(from_curvature) / np.diag(from_scores)
    _, covariance = weighted_mean(diagonal - ratio * scores**2, weights)
    error = np.sqrt(np.diag(covariance)) / np.diag(from_scores)
    return from_scores, from_curvature, ratio, error, weighted_mean(diagonal - scores**2, weights)


def _errors(covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
