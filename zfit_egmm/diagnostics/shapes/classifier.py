"""Classifier two-sample test: can a classifier tell the model from the simulation?

The folds are used in their order: the classifier that scores a fold has been trained with the folds before it. In
ordinary cross-validation each fold also trains the classifiers of the others, so that the areas of all folds
fluctuate together and their mean spreads more than scores with permuted labels say. In order, every fold's scores
are made before its labels are looked at, and fold after fold gives an independent p-value that is exactly uniform for
a right model.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri
from threadpoolctl import threadpool_limits

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Entry, Finding, Judge, Task, Threshold, figures
from zfit_egmm.diagnostics.samples import Progress, advance, check_match, model_events, subsample, within
from zfit_egmm.diagnostics.statistics.auc import ScoredPairs
from zfit_egmm.events.sample import EventSample

Classifier = Literal["trees", "network"]

N_PERMUTATIONS = 400

CERTAIN = 1e-9  # scores stay so far from zero and one, so that density ratios are finite


@dataclass(frozen=True)
class ClassifierTest:
    """Result of a classifier two-sample test.

    Args:
        classifier: Which kind.
        auc: Area under the ROC curve, mean of the folds; one half for a right model.
        auc_error: Its standard error.
        fold_aucs: Area of each scored fold, of increasing numbers of training events.
        p_value: Probability of larger areas if the model is right.
        simulation: Simulated events that have been scored.
        model: Their partners from the model, row by row.
        simulation_score: Estimated probability that an event is of the model, shape ``(n_events,)``.
        model_score: The same for the partners.
    """

    classifier: Classifier
    auc: float
    auc_error: float
    fold_aucs: tuple[float, ...]
    p_value: float
    simulation: EventSample
    model: EventSample
    simulation_score: np.ndarray
    model_score: np.ndarray

    @property
    def density_ratios(self) -> tuple[np.ndarray, np.ndarray]:
        """Estimated density of the model over that of the simulation, s/(1 - s), at simulated and at model events."""
        simulated, modelled = self.simulation_score, self.model_score
        return simulated / (1 - simulated), modelled / (1 - modelled)

    @property
    def scored_pairs(self) -> ScoredPairs:
        """Scores and weights, for example for a ROC curve."""
        return ScoredPairs(self.simulation_score, self.model_score, self.simulation.weights)


def classifier_test(
    density: Density,
    sample: EventSample,
    *,
    classifier: Classifier = "trees",
    n_folds: int = 5,
    max_events: int = 200_000,
    seed: int = 0,
    progress: Progress = None,
) -> ClassifierTest:
    """Train a classifier to tell events of the model from simulated events, given theta.

    Weights count in training and in the area. An event of negative weight trains as one of the other class, with the
    weight's absolute value: the best score then still lies above one half exactly where the model has more density
    than the simulation. The area takes the weights with their signs.

    Args:
        density: The density.
        sample: Simulated events that it was not trained with.
        classifier: ``"trees"`` (gradient boosting) or ``"network"`` (two hidden layers).
        n_folds: Parts of the events; all but the first are scored.
        max_events: Most simulated events to use.
        seed: Seed of everything random.
        progress: Called with the fraction that is done.

    Returns:
        Area, p-value and all scores.

    Raises:
        ValueError: If the density and the sample do not match, or an argument makes no sense.

    Source:
        Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", with folds in order.
    """
    check_match(density, sample)
    if classifier not in ("trees", "network") or n_folds < 2:
        raise ValueError(
            f"classifier must be 'trees' or 'network' and n_folds at least 2, got {classifier!r} and {n_folds}"
        )
    chosen = subsample(sample, max_events, seed=seed)
    model = model_events(density, chosen, seed=seed, progress=within(progress, 0.0, 0.2))
    rng = np.random.default_rng([seed, 4])
    folds = np.array_split(rng.permutation(len(chosen)), n_folds)
    inputs = [np.concatenate([events.x, events.theta], axis=1) for events in (chosen, model)]
    scored, p_values = [], []
    for number in range(1, n_folds):
        known, rows = np.concatenate(folds[:number]), folds[number]
        predict = _trained(classifier, [side[known] for side in inputs], chosen.weights[known], seed)
        scored.append(ScoredPairs(predict(inputs[0][rows]), predict(inputs[1][rows]), chosen.weights[rows]))
        p_values.append(scored[-1].p_value(N_PERMUTATIONS, rng))
        advance(progress, 0.2 + 0.8 * number / (n_folds - 1))
    rows = np.concatenate(folds[1:])
    values, errors = np.transpose([pairs.auc() for pairs in scored])
    return ClassifierTest(
        classifier,
        float(values.mean()),
        float(np.sqrt(np.mean(np.square(errors)) / len(errors))),
        tuple(float(value) for value in values),
        float(ndtr(ndtri(p_values).sum() / np.sqrt(len(p_values)))),
        chosen.select(rows),
        model.select(rows),
        *(np.concatenate([getattr(pairs, side) for pairs in scored]) for side in ("simulation", "model")),
    )


def _trained(classifier: Classifier, inputs: list[np.ndarray], weights: np.ndarray, seed: int) -> Any:
    """A function from inputs to the probability of the model."""
    is_model = np.repeat([False, True], len(weights))
    signed = np.concatenate([weights, weights])
    rows, label, size = np.concatenate(inputs), is_model ^ (signed < 0), np.abs(signed)
    machine = untrained(classifier, len(rows), seed)
    with warnings.catch_warnings():
        # The network stops after its last pass in any case.
        warnings.filterwarnings("ignore", message=".*optimization hasn't converged.*")
        name = "mlpclassifier__" if classifier == "network" else ""
        machine.fit(rows, label, **{f"{name}sample_weight": size / size.mean()})
    return lambda x: np.clip(machine.predict_proba(x)[:, 1], CERTAIN, 1 - CERTAIN)


def untrained(classifier: Classifier, n_rows: int, seed: int) -> Any:
    """An untrained classifier."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if classifier == "trees":
        return HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=100,
            max_leaf_nodes=8,
            min_samples_leaf=max(20, n_rows // 200),
            early_stopping=False,
            random_state=seed,
        )
    network = MLPClassifier(
        (16, 16),
        activation="tanh",
        alpha=1e-3,
        batch_size=min(1000, max(32, n_rows // 50)),
        learning_rate_init=3e-3,
        max_iter=20,
        random_state=seed,
    )
    return make_pipeline(StandardScaler(), network)


class ClassifierEntry(Entry):
    classifier: Classifier
    words: str
    most_events: int

    good = "equal scores, and a curve on the diagonal."
    cost = 3.0
    thresholds = (
        Threshold("auc", 0.02, "area under the ROC curve of a classifier, minus 0.5", True),
        Threshold(
            "visible",
            2.0,
            "standard deviations at which the expected events would show the difference (without theta only)",
            True,
        ),
        Threshold("auc_p_value", None, "smallest p-value of the classifier tests"),
    )

    def run(self, task: Task) -> ClassifierTest:
        """With one thread: so few events gain nothing from threads, which wait for each other on busy cores."""
        sample = task.events(self.most_events)
        with threadpool_limits(1, user_api="openmp"):
            return classifier_test(
                task.density, sample, classifier=self.classifier, seed=task.seed, progress=task.progress
            )

    def findings(self, result: ClassifierTest, judge: Judge) -> list[Finding]:
        text = (
            f"{self.words} tell model and simulation apart with AUC {result.auc:.4f} +- {result.auc_error:.4f} "
            "(0.5: not at all)."
        )
        found = [judge.effect("auc", result.auc - 0.5, result.auc_error, text)]
        if judge.results.bias is None:
            found.append(_visible(result, judge))
        what = f"the classifier test with {self.words.lower()}"
        return [*found, judge.p_value("auc_p_value", result.p_value, what)]

    def numbers(self, result: ClassifierTest) -> tuple[list[float], float]:
        return [result.auc, result.auc_error], result.p_value

    def content(self, result: ClassifierTest) -> Content:
        folds = ", ".join(f"{auc:.4f}" for auc in result.fold_aucs)
        text = f"{result.simulation.n_events} simulated events were scored; AUC of the folds: {folds}."
        return Content(figures=[plot_classifier(result)], items=[text])


class TreesEntry(ClassifierEntry):
    name = "classifier"
    title = "Two-sample test with boosted trees"
    reading = (
        "A classifier tries to tell events of the model from simulated ones. Left its scores, in the middle the ROC "
        "curve, right its distance from the diagonal. With AUC 0.5 nothing can be told apart."
    )
    classifier, words, most_events = "trees", "Boosted trees", 100_000
    is_essential = True
    keys = ("auc", "auc_p_value")


class NetworkEntry(ClassifierEntry):
    name = "network"
    title = "Two-sample test with a network"
    reading = "The same with a neural network, which sees smooth differences better."
    classifier, words, most_events = "network", "Networks", 40_000
    keys = ("auc_network", "auc_network_p_value")


def _visible(test: ClassifierTest, judge: Judge) -> Finding:
    """Rank test of the expected events against many model events: the AUC of a right model has variance 1/(12 n)."""
    scale = math.sqrt(12 * judge.n_expected)
    value, error = scale * (test.auc - 0.5), scale * test.auc_error
    text = (
        f"A rank test with these scores and {judge.n_expected:g} events would see the difference at "
        f"{max(value, 0.0):.1f} +- {error:.1f} standard deviations."
    )
    return judge.effect("visible", value, error, text)


def plot_classifier(test: ClassifierTest) -> figures.Figure:
    """Scores of a classifier as density ratios, for simulation and model, and the ROC curve of all folds together."""
    figure = figures.new_figure(12.0, 3.6)
    left, middle, right = figure.subplots(1, 3)
    _plot_scores(left, test)
    simulated, modelled = test.scored_pairs.roc()
    middle.plot([0, 1], [0, 1], color=figures.GREY, lw=0.8)
    middle.plot(simulated, modelled, color=figures.MODEL)
    middle.set_aspect("equal")
    middle.set_title(f"AUC {test.auc:.4f} +- {test.auc_error:.4f}, p = {test.p_value:.2g}", fontsize=10)
    middle.set_ylabel("fraction of model above the cut")
    figures.reference_line(right, 0)
    right.plot(simulated, modelled - simulated, color=figures.MODEL)
    right.set_ylabel("fraction of model - of simulation")
    for axes in (middle, right):
        axes.set_xlabel("fraction of simulation above the cut")
    return figure


def _plot_scores(axes: figures.Axes, test: ClassifierTest) -> None:
    weights = test.simulation.weights
    logs = [np.log(ratio) for ratio in test.density_ratios]
    low, high = np.quantile(np.concatenate(logs), [0.0005, 0.9995])
    edges = np.linspace(low, max(high, low + 1e-3), 50)
    for values, name, colour in zip(logs, ("simulation", "model"), (figures.SIMULATION, figures.MODEL), strict=True):
        content = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=weights / weights.sum())[0]
        axes.stairs(content, edges, color=colour, label=name)
    axes.axvline(0, color=figures.GREY, lw=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("estimated ln(model / simulation)")
    axes.set_ylabel("fraction of events")
    axes.legend(frameon=False)
