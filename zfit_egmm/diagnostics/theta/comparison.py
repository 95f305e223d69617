"""Likelihood ratios of a density between two simulated theta, against those of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Finding, GridEntry, Judge, Table, Task, theta_text, with_error
from zfit_egmm.diagnostics.statistics.auc import share_below
from zfit_egmm.diagnostics.statistics.means import weighted_means
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import Pairs, ThetaGroup, check_sample, chosen_pairs, log_ratio
from zfit_egmm.events.sample import EventSample

MOST_EVENTS = 100_000  # events that the classifiers are trained with

N_FOLDS = 4  # parts of the events, each judged by a classifier that was trained with the others


@dataclass(frozen=True, eq=False)
class ClassifierComparison:
    """Likelihood ratio of a density and of a classifier, judged on the same held-out events of two theta.

    The log-loss is the mean of ``-log P(true theta | x)`` with both theta equally frequent, in nats per event. The true
    ratio has the lowest one.

    Args:
        theta_from: The first theta, shape ``(n_theta,)``.
        theta_to: The second.
        log_loss: Of the density's ratio.
        classifier_log_loss: Of the classifier's ratio.
        difference: Classifier minus density: negative where the classifier knows the ratio better.
        difference_error: Its standard error.
        auc: Area under the curve of the density's ratio: probability that it orders two events rightly.
        classifier_auc: The same for the classifier.
    """

    theta_from: np.ndarray
    theta_to: np.ndarray
    log_loss: float
    classifier_log_loss: float
    difference: float
    difference_error: float
    auc: float
    classifier_auc: float

    @property
    def p_value(self) -> float:
        """Probability that a classifier no better than the density looks at least as much better by chance."""
        return float(stats.norm.cdf(self.difference / self.difference_error))


def classifier_comparison(
    density: Density, sample: EventSample, *, pairs: Pairs | None = None, seed: int = 0
) -> tuple[ClassifierComparison, ...]:
    """Compare the density's likelihood ratios with those of boosted trees trained on the very events.

    Every event is judged by a classifier that was trained without it. The comparison asks whether a
    tool made for a single pair of theta would do better; small errors of the density are better seen in its scores.

    Args:
        density: The density.
        sample: Events that the density was not trained on, at a few theta.
        pairs: Pairs of simulated theta. Default: the one nearest to the middle, with its nearest neighbours.
        seed: Seed of the folds and of the classifier.

    Returns:
        One comparison per pair. The classifier is trained without events of negative weight; they count when it
        is judged.

    Raises:
        ValueError: If the sample does not match the density, or holds no events at a theta of ``pairs``.
    """
    check_sample(density, sample)
    derivatives = Derivatives(density)
    return tuple(_comparison(derivatives, sample, *pair, seed) for pair in chosen_pairs(sample, pairs))


def _comparison(
    derivatives: Derivatives, sample: EventSample, first: ThetaGroup, second: ThetaGroup, seed: int
) -> ClassifierComparison:
    rows = np.concatenate([first.rows, second.rows])
    is_second = np.repeat([False, True], [len(first.rows), len(second.rows)])
    weights = _balanced(sample.weights[rows], is_second)
    ours = log_ratio(derivatives, sample.x[rows], first.theta, second.theta)
    theirs = _classifier_log_ratio(sample.x[rows], is_second, weights, seed)
    our_loss, their_loss = (np.logaddexp(0, np.where(is_second, -ratio, ratio)) for ratio in (ours, theirs))
    values = np.stack([our_loss, their_loss, their_loss - our_loss], axis=1)
    halves = [weighted_means(values[half], weights[half]) for half in (~is_second, is_second)]
    log_loss, classifier_log_loss, difference = np.mean([mean for mean, _ in halves], axis=0)
    return ClassifierComparison(
        first.theta,
        second.theta,
        float(log_loss),
        float(classifier_log_loss),
        float(difference),
        0.5 * float(np.sqrt(sum(covariance[2, 2] for _, covariance in halves))),
        *(_auc(ratio, is_second, weights) for ratio in (ours, theirs)),
    )


def _balanced(weights: np.ndarray, is_second: np.ndarray) -> np.ndarray:
    """Weights with the same sum for both theta, one on average."""
    sums = np.where(is_second, weights[is_second].sum(), weights[~is_second].sum())
    return weights / sums * len(weights) / 2


def _classifier_log_ratio(x: np.ndarray, is_second: np.ndarray, weights: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold
    from threadpoolctl import threadpool_limits

    result = np.empty(len(x))
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    for training, held in folds.split(x, is_second):
        used = training[weights[training] > 0]
        classifier = HistGradientBoostingClassifier(
            learning_rate=0.1, max_leaf_nodes=8, max_iter=300, early_stopping=True, random_state=seed
        )
        # So few events gain nothing from threads, which wait for each other where the cores are busy.
        with threadpool_limits(1, user_api="openmp"):
            classifier.fit(x[used], is_second[used], sample_weight=_balanced(weights[used], is_second[used]))
            result[held] = classifier.decision_function(x[held])
    return result


def _auc(values: np.ndarray, is_second: np.ndarray, weights: np.ndarray) -> float:
    """Probability that an event of the second theta has the larger value, ties counting half."""
    below = share_below(values[~is_second], weights[~is_second], values[is_second])
    return float(np.average(below, weights=weights[is_second]))


class ComparisonEntry(GridEntry):
    name = "comparison"
    title = "Likelihood ratios against a classifier"
    reading = (
        "Log-loss, in nats, of telling two theta apart: with the likelihood ratio of the density, and with boosted "
        "trees that were trained for these two theta alone. The smaller the better."
    )
    good = "differences (classifier minus density) that are not below zero."
    cost = 2.0
    keys = ("classifier_comparison",)

    def run(self, task: Task) -> tuple[ClassifierComparison, ...]:
        """With part of the events if there are many."""
        return classifier_comparison(task.density, task.events(MOST_EVENTS), seed=task.seed)

    def findings(self, result: tuple[ClassifierComparison, ...], judge: Judge) -> list[Finding]:
        worst = min(result, key=lambda one: one.difference / one.difference_error)
        text = (
            "The log-loss of a classifier of two theta, minus that of the density's likelihood ratio, is "
            f"{worst.difference:+.4f} +- {worst.difference_error:.4f} nats where the classifier does best."
        )
        return [judge.information(worst.difference, worst.difference_error, text)]

    def numbers(self, result: tuple[ClassifierComparison, ...]) -> tuple[tuple[ClassifierComparison, ...]]:
        return (result,)

    def content(self, result: tuple[ClassifierComparison, ...]) -> Content:
        rows = [
            (
                theta_text(one.theta_from),
                theta_text(one.theta_to),
                f"{one.log_loss:.4f}",
                f"{one.classifier_log_loss:.4f}",
                with_error(one.difference, one.difference_error, sign="+"),
                f"{one.auc:.4f}",
                f"{one.classifier_auc:.4f}",
            )
            for one in result
        ]
        header = ("from", "to", "log-loss", "of classifier", "classifier - density", "AUC", "of classifier")
        return Content(tables=[Table("Pairs of theta", header, rows)])
