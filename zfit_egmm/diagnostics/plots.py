"""Figures of the diagnostics of spectra, classifiers and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zfit_egmm.diagnostics.calibration import Calibration
from zfit_egmm.diagnostics.coverage import Coverage
from zfit_egmm.diagnostics.marginals import PairPulls, PullFrequencies, Spectrum
from zfit_egmm.diagnostics.spectrum_ratios import ThetaRatio
from zfit_egmm.diagnostics.two_sample import ClassifierTest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIMULATION, MODEL, GREY = "#c23b22", "#1b1b1b", "0.6"
RATIO_RANGE = (0.02, 0.5)
MOST_COLUMNS = 4
LOG_SCALE_FROM = 200.0


def draw_spectra(spectra: Sequence[Spectrum]) -> Figure:
    """Spectra of simulation and model, one panel per observable, with the ratio below each.

    Bands are the statistical errors of the simulation, bars those of the model events.
    """
    figure, cells = _grid(len(spectra), panel=(3.6, 3.3))
    for cell, spectrum in zip(cells, spectra, strict=True):
        main, lower = _panel_with_ratio(figure, cell)
        edges, centres = spectrum.edges, 0.5 * (spectrum.edges[1:] + spectrum.edges[:-1])
        width = np.diff(edges)
        main.stairs(spectrum.simulation / width, edges, color=SIMULATION, label="simulation")
        main.errorbar(
            centres,
            spectrum.model / width,
            spectrum.model_error / width,
            fmt=".",
            color=MODEL,
            ms=3,
            lw=1,
            label="model",
        )
        positive = spectrum.simulation[spectrum.simulation > 0]
        if len(positive) and positive.max() > LOG_SCALE_FROM * positive.min():
            main.set_yscale("log")
        else:
            main.set_ylim(0, None)
        lower.stairs(1 + spectrum.band, edges, baseline=1 - spectrum.band, fill=True, color=SIMULATION, alpha=0.3)
        lower.errorbar(centres, spectrum.ratio, spectrum.ratio_error, fmt=".", color=MODEL, ms=3, lw=1)
        _ratio_axis(lower, spectrum.ratio, spectrum.band)
        lower.set_xlim(edges[0], edges[-1])
        lower.set_xlabel(spectrum.observable.label)
        unit = spectrum.observable.unit
        main.set_ylabel(f"density [1/{unit}]" if unit else "density")
        lower.set_ylabel("model / sim.")
        if cell is cells[0]:
            figure.legend(*main.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    return figure


def draw_pair_pulls(pairs: Sequence[PairPulls]) -> Figure:
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

    colours = ["#08306b", "#2171b5", "#9ecae1", "#d9efd3", "#d9efd3", "#fcbba1", "#cb181d", "#67000d"]
    levels = [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    colour_map = ListedColormap(colours, under="#041a38", over="#35000a", bad="white")
    scale = ScalarMappable(BoundaryNorm(levels, len(colours)), colour_map)
    names = list(dict.fromkeys(observable.name for pair in pairs for observable in pair.observables))
    n = len(names) - 1
    # A layout found by itself would take most of the time, with so many panels.
    width, height = 2.0 * n + 2.2, 1.9 * n + 1.0
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(
        n,
        n,
        left=0.9 / width,
        right=1 - 1.3 / width,
        bottom=0.7 / height,
        top=1 - 0.2 / height,
        wspace=0.18,
        hspace=0.12,
    )
    for pair in pairs:
        first, second = (names.index(observable.name) for observable in pair.observables)
        axes = figure.add_subplot(grid[second - 1, first])
        colour = scale.to_rgba(np.ma.masked_invalid(pair.pull))
        colour[pair.is_model_only] = (0, 0, 0, 1)
        # Rows of an image are the vertical axis.
        shape = pair.pull.shape
        axes.imshow(colour.transpose(1, 0, 2), origin="lower", aspect="auto", extent=(0, shape[0], 0, shape[1]))
        _edge_labels(axes.set_xticks, pair.edges[0], pair.observables[0].label, axes.set_xlabel, second == n)
        _edge_labels(axes.set_yticks, pair.edges[1], pair.observables[1].label, axes.set_ylabel, first == 0)
    bar = figure.add_axes((1 - 1.0 / width, 0.15, 0.2 / width, 0.7))
    figure.colorbar(scale, cax=bar, label="pull (model - simulation)", extend="both", ticks=levels)
    return figure


def draw_pull_frequencies(frequencies: PullFrequencies) -> Figure:
    """How often pulls of each size occur, next to a standard normal distribution."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    place = np.arange(len(frequencies.expected))
    shown = np.where(frequencies.observed > 0, frequencies.observed, np.nan)
    axes.bar(place, frequencies.expected, width=0.9, color="0.85", label="standard normal")
    axes.errorbar(place, frequencies.expected, frequencies.error, fmt="none", color=GREY)
    axes.plot(place, shown, "o", color=MODEL, label=f"observed ({frequencies.n_bins} bins)")
    axes.set_yscale("log")
    axes.set_ylim(0.3 / frequencies.n_bins, 5)
    axes.set_xticks(np.arange(1, len(place)) - 0.5, [f"{edge:g}" for edge in frequencies.edges[1:-1]])
    axes.set_xlabel("pull")
    axes.set_ylabel("fraction of bins")
    axes.legend(frameon=False, loc="upper center", ncols=2)
    return figure


def draw_theta_ratios(ratios: Sequence[ThetaRatio], name: str, theta_names: Sequence[str]) -> Figure:
    """Spectrum of one observable over that at the reference, one panel per theta, with double ratios below.

    Bins are drawn equally wide, so that a narrow peak with most of the events has most of the room.

    Args:
        ratios: Result of :func:`zfit_egmm.diagnostics.spectrum_ratios.theta_ratios`.
        name: Name of the observable.
        theta_names: Names of the parameters.

    Raises:
        ValueError: If there are no ratios of this observable.
    """
    chosen = [ratio for ratio in ratios if ratio.observable.name == name]
    if not chosen:
        raise ValueError(f"there are no ratios of {name!r}, only of {sorted({r.observable.name for r in ratios})}")
    figure, cells = _grid(len(chosen), panel=(3.2, 2.9), most_columns=6 if len(theta_names) > 1 else MOST_COLUMNS)
    for cell, ratio in zip(cells, chosen, strict=True):
        main, lower = _panel_with_ratio(figure, cell)
        edges, centres = ratio.edges, 0.5 * (ratio.edges[1:] + ratio.edges[:-1])
        low, high = ratio.simulation - ratio.simulation_error, ratio.simulation + ratio.simulation_error
        main.stairs(high, edges, baseline=low, fill=True, color=SIMULATION, alpha=0.3)
        main.stairs(ratio.simulation, edges, color=SIMULATION, baseline=None, label="simulation")
        main.errorbar(centres, ratio.model, ratio.model_error, fmt=".", color=MODEL, ms=3, lw=1, label="model")
        main.axhline(1, color=GREY, lw=0.8)
        point = ", ".join(f"{one} = {value:g}" for one, value in zip(theta_names, ratio.theta, strict=True))
        main.set_title(point, fontsize=9)
        lower.errorbar(centres, ratio.double_ratio, ratio.double_ratio_error, fmt=".", color=MODEL, ms=3, lw=1)
        _ratio_axis(lower, ratio.double_ratio, ratio.double_ratio_error)
        _bins_of_equal_width(lower, edges)
        lower.set_xlabel(ratio.observable.label)
        main.set_ylabel("ratio to reference", fontsize=8)
        lower.set_ylabel("model / sim.", fontsize=8)
        if cell is cells[0]:
            figure.legend(*main.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    return figure


def draw_classifier(test: ClassifierTest) -> Figure:
    """Scores of a classifier as density ratios, for simulation and model, and the ROC curve of all folds together."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    weights = test.simulation.weights
    logs = [np.log(ratio) for ratio in test.density_ratios]
    low, high = np.quantile(np.concatenate(logs), [0.0005, 0.9995])
    edges = np.linspace(low, max(high, low + 1e-3), 50)
    for values, name, colour in zip(logs, ("simulation", "model"), (SIMULATION, MODEL), strict=True):
        content = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=weights / weights.sum())[0]
        left.stairs(content, edges, color=colour, label=name)
    left.axvline(0, color=GREY, lw=0.8)
    left.set_yscale("log")
    left.set_xlabel("estimated ln(model / simulation)")
    left.set_ylabel("fraction of events")
    left.legend(frameon=False)
    simulated, modelled = test.scored_pairs.roc()
    middle.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    middle.plot(simulated, modelled, color=MODEL)
    middle.set_aspect("equal")
    middle.set_title(f"AUC {test.auc:.4f} +- {test.auc_error:.4f}, p = {test.p_value:.2g}", fontsize=10)
    middle.set_ylabel("fraction of model above the cut")
    right.axhline(0, color=GREY, lw=0.8)
    right.plot(simulated, modelled - simulated, color=MODEL)
    right.set_ylabel("fraction of model - of simulation")
    for axes in (middle, right):
        axes.set_xlabel("fraction of simulation above the cut")
    return figure


def draw_transforms(result: Calibration) -> Figure:
    """Probability integral transforms of the factors, one panel each, with the band of a right model."""
    figure, cells = _grid(len(result.factors), panel=(3.2, 2.6))
    for cell, factor in zip(cells, result.factors, strict=True):
        axes = figure.add_subplot(cell)
        n_bins = len(factor.histogram)
        edges = np.linspace(0, 1, n_bins + 1)
        for number in (2, 1):
            reach = number * factor.histogram_error * n_bins
            axes.stairs(1 + reach, edges, baseline=1 - reach, fill=True, color="0.9" if number == 2 else "0.75")
        axes.stairs(factor.histogram * n_bins, edges, color=MODEL, baseline=None)
        largest = np.max(np.abs(factor.histogram * n_bins - 1))
        reach = 1.2 * max(largest, 3 * factor.histogram_error.max() * n_bins)
        axes.set_ylim(1 - reach, 1 + 2 * reach)
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"CDF of {factor.observable.name} given those before")
        axes.set_ylabel("simulation / model")
        text = f"p = {factor.smooth.p_value:.2g}\nshift {factor.shift:+.3f} +- {factor.shift_error:.3f}\n"
        text += f"width {factor.width:.3f} +- {factor.width_error:.3f}"
        axes.text(0.03, 0.96, text, transform=axes.transAxes, va="top", fontsize=8)
    return figure


def draw_coverage(coverages: Sequence[Coverage]) -> Figure:
    """Observed minus nominal coverage of highest-density regions, of all events and of slices of theta."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=GREY, lw=0.8)
    shades = colormaps["viridis"](np.linspace(0, 0.9, max(len(coverages) - 1, 1)))
    for number, coverage in enumerate(coverages):
        gap = coverage.observed - coverage.levels
        if coverage.slice is None:
            axes.fill_between(coverage.levels, -coverage.error, coverage.error, color="0.85", label="68 % if right")
            axes.plot(coverage.levels, gap, "o-", color=MODEL, ms=3, label=f"all, p = {coverage.test.p_value:.2g}")
        else:
            axes.plot(coverage.levels, gap, color=shades[number - 1], lw=0.9, label=coverage.slice.label)
    axes.set_xlim(0, 1)
    axes.set_xlabel("nominal coverage")
    axes.set_ylabel("observed - nominal coverage")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _grid(n: int, *, panel: tuple[float, float], most_columns: int = MOST_COLUMNS) -> tuple[Figure, list[Any]]:
    """A figure, and cells for so many panels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    n_columns = min(n, most_columns)
    n_rows = -(-n // n_columns)
    layout = ConstrainedLayoutEngine(h_pad=0.02, hspace=0.02)
    figure = Figure(figsize=(panel[0] * n_columns + 0.3, panel[1] * n_rows + 0.5), layout=layout)
    grid = figure.add_gridspec(n_rows, n_columns)
    return figure, [grid[number // n_columns, number % n_columns] for number in range(n)]


def _panel_with_ratio(figure: Figure, cell: Any) -> tuple[Any, Any]:
    inner = cell.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.05)
    main = figure.add_subplot(inner[0])
    lower = figure.add_subplot(inner[1], sharex=main)
    main.tick_params(labelbottom=False)
    return main, lower


def _ratio_axis(axes: Any, ratio: np.ndarray, error: np.ndarray) -> None:
    """A range around one that shows most points, but is not ruled by those with the largest errors."""
    is_precise = np.isfinite(ratio) & np.isfinite(error)
    is_precise &= error <= np.quantile(error[is_precise], 0.9) if is_precise.any() else False
    reach = np.max(np.abs(ratio - 1)[is_precise] + error[is_precise], initial=RATIO_RANGE[0])
    reach = min(1.2 * reach, RATIO_RANGE[1])
    axes.axhline(1, color=GREY, lw=0.8)
    axes.set_ylim(1 - reach, 1 + reach)


def _bins_of_equal_width(axes: Any, edges: np.ndarray) -> None:
    """A scale, linear within each bin, that gives the same room to all of them; some of the edges are ticks."""
    number = np.arange(len(edges))
    axes.set_xscale(
        "function", functions=(lambda x: np.interp(x, edges, number), lambda n: np.interp(n, number, edges))
    )
    axes.set_xlim(edges[0], edges[-1])
    at = np.unique(np.linspace(0, len(edges) - 1, 5).astype(int))
    axes.set_xticks(edges[at], [f"{edge:.4g}" for edge in edges[at]], fontsize=7)


def _edge_labels(set_ticks: Any, edges: np.ndarray, label: str, set_label: Any, is_shown: bool) -> None:
    """Some of the edges as labels of equally spaced bins."""
    at = np.unique(np.linspace(0, len(edges) - 1, 4).astype(int))
    set_ticks(at, [f"{edge:.4g}" for edge in edges[at]] if is_shown else [], fontsize=7)
    if is_shown:
        set_label(label, fontsize=8)
