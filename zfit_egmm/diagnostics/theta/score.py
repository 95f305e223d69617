"""The mean score of held-out events, which vanishes for a right density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Finding, Judge, Task, ThetaEntry, Threshold, by_theta, figures
from zfit_egmm.diagnostics.statistics.means import errors_of, weighted_means
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import check_sample, tests_of, theta_groups
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
        return errors_of(self.covariance)


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
    found = [weighted_means(scores[group.rows], sample.weights[group.rows]) for group in groups]
    p_values, p_value = tests_of(found)
    means, covariances = zip(*found, strict=True)
    theta = np.array([group.theta for group in groups])
    return ScoreTest(density.theta_names, theta, np.array(means), np.array(covariances), p_values, p_value)


class ScoreEntry(ThetaEntry):
    name = "score"
    title = "Mean scores"
    reading = (
        "Mean derivative of the log density in theta at the theta of the events, which vanishes for a right model."
    )
    good = "about two thirds of the bars reach zero."
    cost = 2.0
    thresholds = (Threshold("score_p_value", None, "smallest p-value of the mean scores"),)
    keys = ("score_p_value", "score_mean")

    def run(self, task: Task) -> ScoreTest:
        """With all events."""
        return score_test(task.density, task.sample)

    def findings(self, result: ScoreTest, judge: Judge) -> list[Finding]:
        return [judge.p_value("score_p_value", result.p_value, "the mean scores")]

    def numbers(self, result: ScoreTest) -> tuple[float, list[dict]]:
        means = by_theta(result, {"mean": result.mean, "error": result.error}, p_value=result.p_values)
        return result.p_value, means

    def content(self, result: ScoreTest) -> Content:
        return Content(figures=[plot_scores(result)])


def plot_scores(test: ScoreTest) -> figures.Figure:
    """Mean scores in units of their errors, with the band in which 68.3 % should lie."""
    pull = test.mean / test.error
    return figures.plot_against_theta(test, pull, np.ones_like(pull), "mean score of {} / its error", band=1.0)
