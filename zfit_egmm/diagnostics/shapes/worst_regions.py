"""Regions of observables and theta in which a model is worst, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfit_egmm.diagnostics.entry import Content, Entry, Task
from zfit_egmm.diagnostics.shapes.classifier import ClassifierTest
from zfit_egmm.events.sample import EventSample

SMALLEST_SHARE = 0.005  # least share of the events in a region: smaller ones say little of a model
FEWEST_EVENTS = 100  # least number of events in a region, of both samples together, so that its error is known


@dataclass(frozen=True)
class WorstRegion:
    """Part of the space of observables and theta.

    Args:
        limits: Name, lower and upper limit of each column that is cut; minus or plus infinity if there is none.
        difference: Events of the model over events of the simulation, minus one.
        error: Its standard error.
        share: Part of the simulated weight inside.
        description: All of this in words.
    """

    limits: tuple[tuple[str, float, float], ...]
    difference: float
    error: float
    share: float
    description: str


def worst_regions(
    result: ClassifierTest, *, n_regions: int = 3, max_depth: int = 3, seed: int = 0
) -> tuple[WorstRegion, ...]:
    """Where the model has too few or too many events, as found by a classifier.

    A shallow decision tree of the classifier's log density ratio cuts one half of the scored events into regions. The
    events of the other half are counted there, so that the numbers are not larger for having been looked for.

    Args:
        result: Of :func:`zfit_egmm.diagnostics.shapes.classifier.classifier_test`.
        n_regions: Most regions to return.
        max_depth: Most cuts per region.
        seed: Seed of the halves.

    Returns:
        Regions, the most suspicious first. Even a right model has most suspicious regions: compare the differences
        with their errors.
    """
    from sklearn.tree import DecisionTreeRegressor

    columns = [np.concatenate([side.x, side.theta], axis=1) for side in (result.simulation, result.model)]
    weights, n = result.simulation.weights, len(result.simulation)
    is_found = np.random.default_rng([seed, 5]).permutation(n) < n // 2
    log_ratios = [np.log(ratio) for ratio in result.density_ratios]
    tree = DecisionTreeRegressor(
        max_depth=max_depth, min_samples_leaf=max(FEWEST_EVENTS, int(SMALLEST_SHARE * n)), random_state=seed
    )
    tree.fit(
        np.concatenate([side[is_found] for side in columns]),
        np.concatenate([ratio[is_found] for ratio in log_ratios]),
        sample_weight=np.abs(np.tile(weights[is_found], 2)),
    )
    leaves = _leaves(tree.tree_)
    leaves.sort(key=lambda leaf: -leaf[2])
    regions = [
        _region(
            limits, [tree.apply(side[~is_found]) == node for side in columns], weights[~is_found], result.simulation
        )
        for node, limits, _ in leaves[:n_regions]
    ]
    return tuple(regions)


def _leaves(tree: Any) -> list[tuple[int, dict[int, tuple[float, float]], float]]:
    """Number, limits by column, and suspicion of each leaf: its log ratio times the root of its weight."""
    found = []
    waiting: list[tuple[int, dict[int, tuple[float, float]]]] = [(0, {})]
    while waiting:
        node, limits = waiting.pop()
        if tree.children_left[node] < 0:
            suspicion = abs(tree.value[node].item()) * np.sqrt(tree.weighted_n_node_samples[node])
            found.append((node, limits, float(suspicion)))
            continue
        column, cut = int(tree.feature[node]), float(tree.threshold[node])
        low, high = limits.get(column, (-np.inf, np.inf))
        waiting.append((tree.children_left[node], {**limits, column: (low, min(high, cut))}))
        waiting.append((tree.children_right[node], {**limits, column: (max(low, cut), high)}))
    return found


def _region(
    limits: dict[int, tuple[float, float]], inside: Sequence[np.ndarray], weights: np.ndarray, sample: EventSample
) -> WorstRegion:
    """Count the events of simulation and model inside, and say the result in words."""
    is_simulated, is_modelled = inside
    simulated, modelled = (float(weights[side].sum()) for side in inside)
    names = [observable.name for observable in sample.observables] + list(sample.theta_names)
    ordered = sorted(limits)
    cuts = tuple((names[column], *limits[column]) for column in ordered)
    where = " and ".join(_cut_in_words(column, *limits[column], sample) for column in ordered) or "everywhere"
    share = simulated / weights.sum()
    if simulated <= 0:
        return WorstRegion(cuts, np.inf, np.inf, share, f"{where}: events in the model, but none in the simulation")
    ratio = modelled / simulated
    # The two of a pair have the same weight, so that what a pair adds is known to be a difference.
    error = float(np.sqrt(np.sum(np.square(weights * (1.0 * is_modelled - ratio * is_simulated))))) / simulated
    sign = "more" if ratio > 1 else "fewer"
    text = f"{where}: {_percent(abs(ratio - 1), error)} {sign} events in the model than in the simulation"
    return WorstRegion(cuts, ratio - 1, error, share, text)


def _cut_in_words(column: int, low: float, high: float, sample: EventSample) -> str:
    n = len(sample.observables)
    if column < n and sample.observables[column].is_discrete:
        return _integers_in_words(sample.observables[column].name, low, high)
    name = sample.observables[column].name if column < n else sample.theta_names[column - n]
    unit = f" {sample.observables[column].unit}" if column < n and sample.observables[column].unit else ""
    if np.isinf(low):
        return f"{name} below {high:.4g}{unit}"
    if np.isinf(high):
        return f"{name} above {low:.4g}{unit}"
    return f"{name} between {low:.4g} and {high:.4g}{unit}"


def _integers_in_words(name: str, low: float, high: float) -> str:
    if np.isinf(low):
        return f"{name} at most {np.floor(high):.0f}"
    if np.isinf(high):
        return f"{name} at least {np.ceil(low):.0f}"
    first, last = np.ceil(low), np.floor(high)
    return f"{name} = {first:.0f}" if first == last else f"{name} from {first:.0f} to {last:.0f}"


def _percent(value: float, error: float) -> str:
    """Both in percent, with one significant digit of the error below ten."""
    digits = max(0, -int(np.floor(np.log10(100 * error)))) if error > 0 else 1
    return f"{100 * value:.{digits}f} +- {100 * error:.{digits}f} %"


class WorstRegionsEntry(Entry):
    name = "worst_regions"
    title = "Where the model is worst"
    reading = "Regions that stand out in the scores of the boosted trees, counted with events that did not choose them."
    good = "differences of a few percent, not much larger than their errors. Even a right model has worst regions."
    cost = 0.2
    needs = ("classifier",)
    keys = ("worst_regions",)

    def run(self, task: Task) -> tuple[WorstRegion, ...]:
        """From the scores of the boosted trees."""
        return worst_regions(task.found["classifier"], seed=task.seed)

    def numbers(self, result: tuple[WorstRegion, ...]) -> tuple[tuple[WorstRegion, ...]]:
        return (result,)

    def content(self, result: tuple[WorstRegion, ...]) -> Content:
        return Content(items=[f"{one.description} ({100 * one.share:.1f} % of the events)" for one in result])
