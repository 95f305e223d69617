"""Pulls in bins of two observables, and how often pulls of each size occur."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Entry, Finding, Judge, Table, Task, figures
from zfit_egmm.diagnostics.samples import Progress, advance, model_events, within
from zfit_egmm.diagnostics.statistics.binning import bin_numbers, effective_entries, fractions, quantile_edges, ratio_of
from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

MOST_BINS, EVENTS_PER_BIN = 20, 25  # bins along each axis of a map, and effective events in each of fewer bins
LEVELS = (-4, -3, -2, -1, 0, 1, 2, 3, 4)
COLOURS = ("#08306b", "#2171b5", "#9ecae1", "#d9efd3", "#d9efd3", "#fcbba1", "#cb181d", "#67000d")
"""Pulls between two levels; pulls below one standard deviation look alike."""

FEWEST_ENTRIES = 20
"""Least effective number of events in a bin, simulation and model together, for its pull to be about normal."""

PULL_EDGES = (-np.inf, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, np.inf)


@dataclass(frozen=True)
class PairPulls:
    """Pulls in bins of two observables.

    Args:
        observables: Those of the two axes.
        edges: Edges along each axis, in its unit.
        pull: Model minus simulation over the error, shape ``(n_first, n_second)``; NaN where there are too few events.
        is_model_only: Bins in which the model has events and the simulation none, same shape.
    """

    observables: tuple[Observable, Observable]
    edges: tuple[np.ndarray, np.ndarray]
    pull: np.ndarray
    is_model_only: np.ndarray

    @property
    def chi_square(self) -> ChiSquare:
        """Sum of the squared pulls, with one degree of freedom less than bins, since both samples sum to one."""
        pull = self.pull[np.isfinite(self.pull)]
        return ChiSquare.of(np.square(pull).sum(), max(len(pull) - 1, 0))


@dataclass(frozen=True)
class PullFrequencies:
    """How often pulls of each size occur, next to a standard normal distribution.

    Args:
        edges: Ends of the ranges of pulls, from minus to plus infinity, shape ``(n + 1,)``.
        observed: Fraction of the bins per range, shape ``(n,)``.
        error: Binomial standard error of ``expected``, bins taken as independent.
        expected: Fraction of a standard normal distribution per range.
        n_bins: Number of bins, all pairs together.
    """

    edges: np.ndarray
    observed: np.ndarray
    error: np.ndarray
    expected: np.ndarray
    n_bins: int

    def beyond(self, level: float) -> tuple[float, float]:
        """Fraction of the bins with a larger absolute pull: observed and expected.

        Raises:
            ValueError: If ``level`` is no edge.
        """
        if level not in self.edges:
            raise ValueError(f"level must be one of the edges {self.edges[np.isfinite(self.edges)]}, got {level}")
        is_beyond = (self.edges[:-1] >= level) | (self.edges[1:] <= -level)
        return float(self.observed[is_beyond].sum()), float(self.expected[is_beyond].sum())


def pair_pulls(
    density: Density,
    sample: EventSample,
    *,
    n_bins: int = 20,
    copies: int = 1,
    seed: int = 0,
    progress: Progress = None,
) -> tuple[PairPulls, ...]:
    """Pulls in two-dimensional bins, for all pairs of observables.

    Bins hold about equally many events along each axis. The error of the ratio is taken where the ratio is one: taken
    where it fluctuated to, it would favour one sign of the pulls.

    Args:
        density: The density.
        sample: Simulated events that it was not trained with.
        n_bins: Bins along each axis.
        copies: Model events per simulated event.
        seed: Seed of the model events.
        progress: Called with the fraction that is done.

    Returns:
        One map per pair, in the order (0, 1), (0, 2), ... (1, 2), ...; nothing for a single observable.

    Raises:
        ValueError: If the density and the sample do not match.

    Source:
        Eq. 13 and Figure 8 of Menary and Price, "Learning to discover".
    """
    model = model_events(density, sample, copies=copies, seed=seed, progress=within(progress, 0.0, 0.7))
    edges, numbers = [], []
    for axis, observable in enumerate(density.observables):
        edges.append(quantile_edges(observable, np.concatenate([sample.x[:, axis], model.x[:, axis]]), n_bins))
        numbers.append([bin_numbers(events.x[:, axis], edges[axis]) for events in (sample, model)])
    pairs = list(itertools.combinations(range(len(edges)), 2))
    result = []
    for done, (first, second) in enumerate(pairs):
        shape = (len(edges[first]) - 1, len(edges[second]) - 1)
        cells = [numbers[first][which] * shape[1] + numbers[second][which] for which in (0, 1)]
        pull, is_model_only = _pulls(cells, (sample.weights, model.weights), shape[0] * shape[1])
        result.append(
            PairPulls(
                (density.observables[first], density.observables[second]),
                (edges[first], edges[second]),
                pull.reshape(shape),
                is_model_only.reshape(shape),
            )
        )
        advance(progress, 0.7 + 0.3 * (done + 1) / len(pairs))
    return tuple(result)


def _pulls(
    cells: Sequence[np.ndarray], weights: tuple[np.ndarray, np.ndarray], n_cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pull of each cell, and whether only the model is there; the first of each pair is the simulation."""
    (simulated, simulated_error), (modelled, modelled_error) = (
        fractions(*pair, n_cells) for pair in zip(cells, weights, strict=True)
    )
    entries = [effective_entries(*pair, n_cells) for pair in zip(cells, weights, strict=True)]
    error = np.hypot(simulated_error, modelled_error)
    error[entries[0] + entries[1] < FEWEST_ENTRIES] = 0.0
    return ratio_of(modelled - simulated, error), (entries[0] == 0) & (entries[1] > 0)


def pull_frequencies(pairs: Sequence[PairPulls]) -> PullFrequencies:
    """Frequencies of pulls in all maps together.

    Args:
        pairs: Result of :func:`pair_pulls`.

    Raises:
        ValueError: If no bin has a pull.

    Source:
        Table 4 of Menary and Price, "Learning to discover".
    """
    pull = np.concatenate([pair.pull.ravel() for pair in pairs]) if pairs else np.empty(0)
    pull = pull[np.isfinite(pull)]
    if not len(pull):
        raise ValueError(f"no bin holds {FEWEST_ENTRIES} events; use more events or fewer bins")
    edges = np.array(PULL_EDGES)
    expected = np.diff(ndtr(edges))
    observed = np.bincount(bin_numbers(pull, edges), minlength=len(expected)) / len(pull)
    return PullFrequencies(edges, observed, np.sqrt(expected * (1 - expected) / len(pull)), expected, len(pull))


class PairPullsEntry(Entry):
    name = "pair_pulls"
    title = "Pulls in two dimensions"
    reading = (
        "Model minus simulation over the statistical error in bins of two observables, which hold about equally many "
        "events along each axis. Black: events in the model only."
    )
    good = "a salt-and-pepper pattern of light colours. Patches and stripes of one colour are faults."
    cost = 2.0

    def why_not(self, task: Task) -> str | None:
        """Skipped for a single observable."""
        return "there is only one observable" if len(task.sample.observables) < 2 else super().why_not(task)

    def run(self, task: Task) -> tuple[PairPulls, ...]:
        """With fewer bins than usual if there are few events."""
        n_bins = int(np.clip(np.sqrt(task.sample.effective_events / EVENTS_PER_BIN), 2, MOST_BINS))
        return pair_pulls(task.density, task.sample, n_bins=n_bins, seed=task.seed, progress=task.progress)

    def content(self, result: tuple[PairPulls, ...]) -> Content:
        return Content(figures=[plot_pair_pulls(result)])


class PullFrequenciesEntry(Entry):
    name = "pull_frequencies"
    title = "Frequencies of pulls"
    reading = "How often pulls of each size occur in all maps together, next to a standard normal distribution."
    good = "points on the grey bars."
    cost = 0.1
    needs = ("pair_pulls",)
    keys = ("pull_table",)

    def run(self, task: Task) -> PullFrequencies:
        """From the maps of the pulls."""
        return pull_frequencies(task.found["pair_pulls"])

    def findings(self, result: PullFrequencies, judge: Judge) -> list[Finding]:
        observed, expected = (100 * value for value in result.beyond(3.0))
        text = f"{observed:.2g} % of the two-dimensional bins have pulls beyond 3, {expected:.2g} % are expected."
        return [judge.information(observed / 100, 0.0, text)]

    def numbers(self, result: PullFrequencies) -> tuple[dict]:
        names = ("low", "high", "observed", "expected", "expected_error")
        return ({"n_bins": result.n_bins, "rows": [dict(zip(names, row, strict=True)) for row in _rows(result)]},)

    def content(self, result: PullFrequencies) -> Content:
        rows = [
            (f"{low:g} to {high:g}", f"{100 * seen:.2f} %", f"{100 * expected:.2f} +- {100 * error:.2f} %")
            for low, high, seen, expected, error in _rows(result)
        ]
        table = Table(f"{result.n_bins} bins", ("pull", "observed", "expected"), rows)
        return Content(figures=[plot_pull_frequencies(result)], tables=[table])


def _rows(result: PullFrequencies) -> Any:
    return zip(result.edges[:-1], result.edges[1:], result.observed, result.expected, result.error, strict=True)


def plot_pair_pulls(pairs: Sequence[PairPulls]) -> figures.Figure:
    """Pulls in two dimensions, one panel per pair, in a triangle. Black: events in the model only.

    Bins are drawn with equal sizes, with some of their edges as labels: bins of equal numbers of events would be
    invisible where the events are.

    Raises:
        ValueError: If there is no pair, as for a single observable.
    """
    if not pairs:
        raise ValueError("there are no pairs of observables to draw")
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure

    colour_map = ListedColormap(COLOURS, under="#041a38", over="#35000a", bad="white")
    scale = ScalarMappable(BoundaryNorm(LEVELS, len(COLOURS)), colour_map)
    names = list(dict.fromkeys(observable.name for pair in pairs for observable in pair.observables))
    n = len(names) - 1
    # A layout found by itself would take most of the time, with so many panels.
    width, height = 2.0 * n + 2.2, 1.9 * n + 1.0
    margins = {"left": 0.9 / width, "right": 1 - 1.3 / width, "bottom": 0.7 / height, "top": 1 - 0.2 / height}
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(n, n, **margins, wspace=0.18, hspace=0.12)
    for pair in pairs:
        first, second = (names.index(observable.name) for observable in pair.observables)
        axes = figure.add_subplot(grid[second - 1, first])
        _plot_map(axes, pair, scale)
        _label_edges(axes.set_xticks, pair.edges[0], pair.observables[0].label, axes.set_xlabel, second == n)
        _label_edges(axes.set_yticks, pair.edges[1], pair.observables[1].label, axes.set_ylabel, first == 0)
    bar = figure.add_axes((1 - 1.0 / width, 0.15, 0.2 / width, 0.7))
    figure.colorbar(scale, cax=bar, label="pull (model - simulation)", extend="both", ticks=LEVELS)
    return figure


def _plot_map(axes: figures.Axes, pair: PairPulls, scale: Any) -> None:
    colour = scale.to_rgba(np.ma.masked_invalid(pair.pull))
    colour[pair.is_model_only] = (0, 0, 0, 1)
    # Rows of an image are the vertical axis.
    shape = pair.pull.shape
    axes.imshow(colour.transpose(1, 0, 2), origin="lower", aspect="auto", extent=(0, shape[0], 0, shape[1]))


def _label_edges(set_ticks: Callable, edges: np.ndarray, label: str, set_label: Callable, is_shown: bool) -> None:
    """Some of the edges as labels of equally spaced bins."""
    at = np.unique(np.linspace(0, len(edges) - 1, 4).astype(int))
    set_ticks(at, [f"{edge:.4g}" for edge in edges[at]] if is_shown else [], fontsize=7)
    if is_shown:
        set_label(label, fontsize=8)


def plot_pull_frequencies(frequencies: PullFrequencies) -> figures.Figure:
    """How often pulls of each size occur, next to a standard normal distribution."""
    figure = figures.new_figure(5.5, 3.6)
    axes = figure.add_subplot()
    place = np.arange(len(frequencies.expected))
    shown = np.where(frequencies.observed > 0, frequencies.observed, np.nan)
    axes.bar(place, frequencies.expected, width=0.9, color="0.85", label="standard normal")
    axes.errorbar(place, frequencies.expected, frequencies.error, fmt="none", color=figures.GREY)
    axes.plot(place, shown, "o", color=figures.MODEL, label=f"observed ({frequencies.n_bins} bins)")
    axes.set_yscale("log")
    axes.set_ylim(0.3 / frequencies.n_bins, 5)
    axes.set_xticks(np.arange(1, len(place)) - 0.5, [f"{edge:g}" for edge in frequencies.edges[1:-1]])
    axes.set_xlabel("pull")
    axes.set_ylabel("fraction of bins")
    axes.legend(frameon=False, loc="upper center", ncols=2)
    return figure
