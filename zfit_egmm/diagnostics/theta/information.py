"""Fisher information from scores and from the curvature, which agree for a right density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Finding, Judge, Task, ThetaEntry, by_theta, figures
from zfit_egmm.diagnostics.statistics.means import errors_of, weighted_means
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import check_sample, tests_of, theta_groups
from zfit_egmm.events.sample import EventSample

MOST_EVENTS = 100_000  # events whose second derivatives are taken


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
    theta = np.array([group.theta for group in groups])
    matrices, ratios = (np.array(from_scores), np.array(from_curvature)), (np.array(ratio), np.array(ratio_error))
    return InformationTest(density.theta_names, theta, *matrices, *ratios, *tests_of(differences))


def _informations(
    scores: np.ndarray, curvatures: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Both matrices, ratio of the diagonals with its error, and their difference with its covariance."""
    share = weights / weights.sum()
    from_scores = np.einsum("n,ni,nj->ij", share, scores, scores)
    from_curvature = np.einsum("n,nij->ij", share, curvatures)
    diagonal = np.diagonal(curvatures, axis1=1, axis2=2)
    ratio = np.diag(from_curvature) / np.diag(from_scores)
    _, covariance = weighted_means(diagonal - ratio * scores**2, weights)
    error = errors_of(covariance) / np.diag(from_scores)
    return from_scores, from_curvature, ratio, error, weighted_means(diagonal - scores**2, weights)


class InformationEntry(ThetaEntry):
    name = "information"
    title = "Fisher information"
    reading = (
        "Information on theta that the likelihood states, from its curvature, over the one that the events give it. "
        "With 1.2, stated errors are too small by about 10 %. It means nothing where the truth has a kink in theta."
    )
    good = "ratios that agree with one."
    cost = 3.0
    keys = ("information",)

    def run(self, task: Task) -> InformationTest:
        """With part of the events if there are many."""
        return information_test(task.density, task.events(MOST_EVENTS))

    def findings(self, result: InformationTest, judge: Judge) -> list[Finding]:
        found = []
        for name, ratio, error in zip(result.theta_names, result.ratio.T, result.ratio_error.T, strict=True):
            weights = 1 / np.square(error)
            mean, mean_error = np.average(ratio, weights=weights), 1 / np.sqrt(weights.sum())
            text = f"The likelihood states {mean:.3f} +- {mean_error:.3f} times the information on {name} that it has."
            found.append(judge.information(mean, mean_error, text))
        return found

    def numbers(self, result: InformationTest) -> tuple[list[dict]]:
        return (by_theta(result, {"ratio": result.ratio, "error": result.ratio_error}),)

    def content(self, result: InformationTest) -> Content:
        return Content(figures=[plot_information(result)])


def plot_information(test: InformationTest) -> figures.Figure:
    """Ratios of the Fisher information from the curvature to that from the scores."""
    label = "information on {}:\ncurvature / scores"
    return figures.plot_against_theta(test, test.ratio, test.ratio_error, label, height=1.0)
