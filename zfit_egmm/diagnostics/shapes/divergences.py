"""Distances between simulation and model, one observable at a time, and the divergence from a known truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Entry, Finding, Judge, Table, Task, Threshold, with_error, without
from zfit_egmm.diagnostics.samples import Progress, advance, check_match, log_densities, model_events, within
from zfit_egmm.diagnostics.statistics.binning import bin_numbers, quantile_edges
from zfit_egmm.diagnostics.statistics.means import weighted_mean
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

TITLES = {
    "chi_square": "chi square / ndf",
    "kullback_leibler": "Kullback-Leibler",
    "jensen_shannon": "Jensen-Shannon",
    "hellinger": "Hellinger",
    "wasserstein": "Wasserstein",
}

N_GROUPS = 100  # random groups of events that are left out, for errors, or swapped, for p-values
FINE = 20  # fine bins, for the Wasserstein distance, per bin of the other measures
ENTRIES_PER_BIN = 50  # least effective number of events per bin, on average


@dataclass(frozen=True)
class Divergence:
    """A measure of the distance between simulation and model, and between two halves of the simulation.

    Args:
        value: Between half of the simulation and equally many model events.
        error: Its standard error, from a jackknife over groups of events.
        p_value: Probability of a larger value if the model is right, by swapping groups of simulated events with
            their partners from the model.
        baseline: Between the two halves of the simulation: what a right model is to be compared with. Even for
            a right model the values are above zero, by an amount that falls with the number of events.
        baseline_error: Its standard error.
    """

    value: float
    error: float
    p_value: float
    baseline: float
    baseline_error: float


@dataclass(frozen=True)
class ObservableDivergences:
    """All measures for one observable.

    Args:
        observable: The axis.
        chi_square: Chi square per degree of freedom, in bins with about equally many events.
        kullback_leibler: KL(simulation || model) of the binned spectra, nats.
        jensen_shannon: Jensen-Shannon divergence, nats, at most ln 2.
        hellinger: Hellinger distance, 0 to 1.
        wasserstein: Mean distance that probability has to be moved by, in the observable's unit.
    """

    observable: Observable
    chi_square: Divergence
    kullback_leibler: Divergence
    jensen_shannon: Divergence
    hellinger: Divergence
    wasserstein: Divergence


@dataclass(frozen=True)
class TrueDivergence:
    """Kullback-Leibler divergence from a known truth.

    Args:
        value: KL(truth || model), nats per event; infinite if the model has no density at an event.
        error: Its standard error.
    """

    value: float
    error: float


def observable_divergences(
    density: Density,
    sample: EventSample,
    *,
    n_bins: int = 50,
    n_permutations: int = 999,
    seed: int = 0,
    progress: Progress = None,
) -> tuple[ObservableDivergences, ...]:
    """Distances between simulation and model in every observable, with the baseline of a split sample.

    Args:
        density: The density.
        sample: Simulated events that it was not trained with.
        n_bins: Most bins per observable; fewer if they would hold less than 50 effective events.
        n_permutations: Swaps for the p-values.
        seed: Seed of the split, the model events, the groups and the swaps.
        progress: Called with the fraction that is done.

    Returns:
        The measures of every observable.

    Raises:
        ValueError: If the density and the sample do not match.

    Source:
        Section 4.2 of Gavranovic and Kersevan, "Systematic Evaluation of Generative Machine Learning Capability to
        Simulate Distributions of Observables at the Large Hadron Collider".
    """
    check_match(density, sample)
    first, second = sample.split(0.5, 0.5, seed=seed)
    model = model_events(density, first, seed=seed, progress=within(progress, 0.0, 0.6))
    rng = np.random.default_rng([seed, 1])
    group, other_group = (rng.permutation(np.arange(len(half)) % N_GROUPS) for half in (first, second))
    signs = rng.integers(0, 2, (n_permutations, N_GROUPS)).astype(bool)
    n_bins = int(np.clip(first.effective_events / ENTRIES_PER_BIN, 4, n_bins))
    result = []
    for axis, observable in enumerate(density.observables):
        columns = [events.x[:, axis] for events in (first, model, second)]
        edges = quantile_edges(observable, np.concatenate(columns), FINE * n_bins)
        contents = [
            _Grouped.of(bin_numbers(column, edges), events.weights, groups, len(edges) - 1)
            for column, events, groups in zip(columns, (first, model, second), (group, group, other_group), strict=True)
        ]
        result.append(ObservableDivergences(observable, **_all_measures(contents, _measures(observable, edges), signs)))
        advance(progress, 0.6 + 0.4 * (axis + 1) / len(density.observables))
    return tuple(result)


@dataclass(frozen=True)
class _Grouped:
    """Weights, and their squares, per group and fine bin, shapes ``(N_GROUPS, n_bins)``."""

    content: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray, weights: np.ndarray, groups: np.ndarray, n_bins: int) -> _Grouped:
        cell = groups * n_bins + numbers
        content, squares = (np.bincount(cell, w, N_GROUPS * n_bins) for w in (weights, np.square(weights)))
        return cls(content.reshape(N_GROUPS, n_bins), squares.reshape(N_GROUPS, n_bins))

    @property
    def total(self) -> np.ndarray:
        """Content and squares of all groups, shape ``(2, n_bins)``."""
        return np.stack([self.content.sum(axis=0), self.squares.sum(axis=0)])

    @property
    def left_out(self) -> np.ndarray:
        """Content and squares without each group, shape ``(2, N_GROUPS, n_bins)``."""
        return self.total[:, np.newaxis] - np.stack([self.content, self.squares])

    def swapped(self, other: _Grouped, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Content and squares of both after swaps of groups, shapes ``(2, n_permutations, n_bins)``."""
        own, their = (np.stack([g.content, g.squares]) for g in (self, other))
        moved = signs.astype(float) @ (their - own)
        return self.total[:, np.newaxis] + moved, other.total[:, np.newaxis] - moved


Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From two arrays (content and squares, ..., fine bins) to a distance, shape (...)."""


def _all_measures(
    contents: list[_Grouped], measures: Mapping[str, Measure], signs: np.ndarray
) -> dict[str, Divergence]:
    """Every measure between the first and the second (model), and between the first and the third (baseline)."""
    simulation, model, baseline = contents
    swapped = simulation.swapped(model, signs)
    result = {}
    for name, measure in measures.items():
        value = float(measure(simulation.total, model.total))
        n_larger = int(np.sum(measure(*swapped) >= value * (1 - 1e-12)))
        result[name] = Divergence(
            value,
            _jackknife(measure(simulation.left_out, model.left_out)),
            (1 + n_larger) / (1 + len(signs)),
            float(measure(simulation.total, baseline.total)),
            _jackknife(measure(simulation.left_out, baseline.left_out)),
        )
    return result


def _jackknife(values: np.ndarray) -> float:
    """Standard error from the values without each group."""
    return float(np.sqrt((len(values) - 1) * np.mean(np.square(values - values.mean()))))


def _measures(observable: Observable, edges: np.ndarray) -> dict[str, Measure]:
    """The measures as functions of fine bins."""
    n_fine = len(edges) - 1
    merge = np.arange(0, n_fine, 1 if observable.is_discrete else FINE)
    widths = np.diff(edges)

    def coarse(content: np.ndarray) -> np.ndarray:
        return np.add.reduceat(content, merge, axis=-1)

    def of_fractions(measure: Measure) -> Measure:
        return lambda a, b: measure(_positive_fractions(coarse(a)), _positive_fractions(coarse(b)))

    def chi_square(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = coarse(a), coarse(b)
        (total_a, total_b) = (side[0].sum(axis=-1, keepdims=True) for side in (a, b))
        variance = a[1] / total_a**2 + b[1] / total_b**2
        difference = np.square(a[0] / total_a - b[0] / total_b)
        pulls = np.divide(difference, variance, out=np.zeros_like(difference), where=variance > 0)
        return pulls.sum(axis=-1) / max(len(merge) - 1, 1)

    def wasserstein(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        p, q = (side[0] / side[0].sum(axis=-1, keepdims=True) for side in (a, b))
        gap = np.abs(np.cumsum(p - q, axis=-1))
        # The gap between the distributions is known at the edges and straight in between.
        return np.sum(0.5 * (gap + np.concatenate([np.zeros_like(gap[..., :1]), gap[..., :-1]], -1)) * widths, axis=-1)

    return {
        "chi_square": chi_square,
        "kullback_leibler": of_fractions(_kullback_leibler),
        "jensen_shannon": of_fractions(_jensen_shannon),
        "hellinger": of_fractions(lambda p, q: np.sqrt(0.5 * np.sum(np.square(np.sqrt(p) - np.sqrt(q)), axis=-1))),
        "wasserstein": wasserstein,
    }


def _kullback_leibler(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.sum(p * np.log(p / q), axis=-1)


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    middle = 0.5 * (p + q)
    return 0.5 * (_kullback_leibler(p, middle) + _kullback_leibler(q, middle))


def _positive_fractions(content: np.ndarray) -> np.ndarray:
    """Fractions from content and squares; what is empty or negative counts as half an event of equal weight."""
    total, squares = content[0].sum(axis=-1, keepdims=True), content[1].sum(axis=-1, keepdims=True)
    fraction = np.maximum(content[0] / total, 0.5 * squares / total**2)
    return fraction / fraction.sum(axis=-1, keepdims=True)


def true_divergence(
    density: Density,
    sample: EventSample,
    true_log_prob: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    progress: Progress = None,
) -> TrueDivergence:
    """Kullback-Leibler divergence from the truth that the events come from, where its density is known.

    Args:
        density: The density.
        sample: Events of the truth.
        true_log_prob: Log density of the truth, nats, shape ``(n_events,)``, from ``x`` of shape
            ``(n_events, n_observables)`` and ``theta`` of shape ``(n_events, n_theta)``.
        progress: Called with the fraction that is done.

    Raises:
        ValueError: If the truth has no density at one of its own events, or the density does not match the sample.
    """
    check_match(density, sample)
    truth = np.asarray(true_log_prob(sample.x, sample.theta), dtype=float)
    if truth.shape != (len(sample),) or not np.isfinite(truth).all():
        raise ValueError(
            f"true_log_prob must give {len(sample)} finite values, got shape {truth.shape} with "
            f"{np.sum(~np.isfinite(truth))} that are not finite"
        )
    difference = truth - log_densities(density, sample.x, sample.theta, progress=progress)
    if np.isposinf(difference).any():
        return TrueDivergence(np.inf, np.inf)
    return TrueDivergence(*weighted_mean(difference, sample.weights))


class DivergencesEntry(Entry):
    name = "divergences"
    title = "Divergences of the spectra"
    reading = (
        "Distances between half of the simulation and as many events of the model, next to the same between the two "
        "halves of the simulation (baseline). The latter is what a right model reaches."
    )
    good = "values that agree with the baseline."
    cost = 2.0
    thresholds = (Threshold("divergence", 0.005, "Kullback-Leibler divergence of a spectrum above its baseline, nats"),)
    keys = ("divergences",)

    def run(self, task: Task) -> tuple[ObservableDivergences, ...]:
        """With all events."""
        return observable_divergences(task.density, task.sample, seed=task.seed, progress=task.progress)

    def findings(self, result: tuple[ObservableDivergences, ...], judge: Judge) -> list[Finding]:
        pairs = [(one.observable.name, one.kullback_leibler) for one in result]
        name, worst = max(pairs, key=lambda pair: pair[1].value - pair[1].baseline)
        value, error = worst.value - worst.baseline, math.hypot(worst.error, worst.baseline_error)
        text = (
            f"The spectrum of {name} differs most: {value:.4f} +- {error:.4f} nats above the baseline, as if it were "
            f"off by {100 * math.sqrt(2 * max(value, 0.0)):.0f} % (root mean square)."
        )
        return [judge.effect("divergence", value, error, text, of_many=True)]

    def numbers(self, result: tuple[ObservableDivergences, ...]) -> tuple[dict]:
        return ({one.observable.name: without(one, "observable") for one in result},)

    def content(self, result: tuple[ObservableDivergences, ...]) -> Content:
        tables = []
        for name, title in TITLES.items():
            rows = []
            for entry in result:
                one = getattr(entry, name)
                values = with_error(one.value, one.error), with_error(one.baseline, one.baseline_error)
                rows.append((entry.observable.name, *values, f"{one.p_value:.2g}"))
            tables.append(Table(title, ("observable", "model", "baseline", "p-value"), rows))
        return Content(tables=tables)
