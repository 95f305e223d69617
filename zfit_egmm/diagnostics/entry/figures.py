"""What figures of diagnostics have in common: colours, panels and axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zfit_egmm.diagnostics.entry.content import theta_text

if TYPE_CHECKING:
    import matplotlib as mpl

    Axes: TypeAlias = mpl.axes.Axes
    Figure: TypeAlias = mpl.figure.Figure

SIMULATION, MODEL, BAND, GREY = "#c23b22", "#1b1b1b", "#6d9dc5", "0.6"

RATIO_RANGE = (0.02, 0.5)  # least and largest half-height of an axis of ratios around one
SMALL_POINTS: dict[str, Any] = {"fmt": ".", "ms": 3, "lw": 1}  # options of points of spectra
MOST_COLUMNS = 4
MOST_LABELS = 60  # most labels of theta along an axis


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches, which arranges what is drawn."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def grid_of_panels(n: int, *, panel: tuple[float, float], most_columns: int = MOST_COLUMNS) -> tuple[Figure, list[Any]]:
    """A figure, and cells for so many panels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    n_columns = min(n, most_columns)
    n_rows = -(-n // n_columns)
    layout = ConstrainedLayoutEngine(h_pad=0.02, hspace=0.02)
    figure = Figure(figsize=(panel[0] * n_columns + 0.3, panel[1] * n_rows + 0.5), layout=layout)
    grid = figure.add_gridspec(n_rows, n_columns)
    return figure, [grid[number // n_columns, number % n_columns] for number in range(n)]


def panel_with_ratio(figure: Figure, cell: Any) -> tuple[Axes, Axes]:
    """A panel, and a lower one for ratios with the same horizontal axis."""
    inner = cell.subgridspec(2, 1, height_ratios=(3, 1), hspace=0.05)
    main = figure.add_subplot(inner[0])
    lower = figure.add_subplot(inner[1], sharex=main)
    main.tick_params(labelbottom=False)
    return main, lower


def set_ratio_range(axes: Axes, ratio: np.ndarray, error: np.ndarray) -> None:
    """A range around one that shows most points, but is not ruled by those with the largest errors."""
    is_precise = np.isfinite(ratio) & np.isfinite(error)
    is_precise &= error <= np.quantile(error[is_precise], 0.9) if is_precise.any() else False
    reach = np.max(np.abs(ratio - 1)[is_precise] + error[is_precise], initial=RATIO_RANGE[0])
    reach = min(1.2 * reach, RATIO_RANGE[1])
    reference_line(axes, 1)
    axes.set_ylim(1 - reach, 1 + reach)


def show_bins_equally_wide(axes: Axes, edges: np.ndarray) -> None:
    """A scale, linear within each bin, that gives the same room to all of them; some of the edges are ticks."""
    number = np.arange(len(edges))
    axes.set_xscale(
        "function", functions=(lambda x: np.interp(x, edges, number), lambda n: np.interp(n, number, edges))
    )
    axes.set_xlim(edges[0], edges[-1])
    at = np.unique(np.linspace(0, len(edges) - 1, 5).astype(int))
    axes.set_xticks(edges[at], [f"{edge:.4g}" for edge in edges[at]], fontsize=7)


def reference_line(axes: Axes, height: float, band: float = 0.0, label: str | None = None) -> None:
    """A thin line at the height of a right model, perhaps with a band around it."""
    if band:
        axes.axhspan(height - band, height + band, color=BAND, alpha=0.3, linewidth=0, label=label)
    axes.axhline(height, color=GREY, lw=0.8)


def plot_band(axes: Axes, edges: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """The range of the simulation in each bin."""
    axes.stairs(high, edges, baseline=low, fill=True, color=SIMULATION, alpha=0.3)


def panels_of_theta(result: Any) -> tuple[Figure, list[Axes], np.ndarray]:
    """A figure with a panel per parameter, along an axis that they share with a place for each theta.

    Args:
        result: It has ``theta``, shape ``(n_groups, n_theta)``, and ``theta_names``.

    Returns:
        The figure, its panels, and where the points go along the axis, shape ``(n_groups,)``.
    """
    n_groups, n_theta = result.theta.shape
    figure = new_figure(max(6.5, min(13.0, 0.24 * n_groups)), 1.2 + 2.6 * n_theta)
    panels = list(np.atleast_1d(figure.subplots(n_theta, 1, sharex=True)))
    panels[-1].set_xlabel(", ".join(result.theta_names))
    if n_theta == 1:
        return figure, panels, result.theta[:, 0]
    place = np.arange(n_groups, dtype=float)
    step = -(-n_groups // MOST_LABELS)
    panels[-1].set_xticks(place[::step], [theta_text(theta) for theta in result.theta[::step]], rotation=90, fontsize=7)
    return figure, panels, place


def plot_against_theta(
    result: Any, values: np.ndarray, errors: np.ndarray, label: str, *, height: float = 0.0, band: float = 0.0
) -> Figure:
    """Values with errors, shapes ``(n_groups, n_theta)``; the label may hold the name of a parameter, ``{}``."""
    figure, panels, place = panels_of_theta(result)
    for axes, name, own, error in zip(panels, result.theta_names, values.T, errors.T, strict=True):
        reference_line(axes, height, band)
        plot_points(axes, place, own, error)
        axes.set_ylabel(label.format(name))
    panels[0].set_title(f"held-out events: joint p-value {result.p_value:.2g}", fontsize=10)
    return figure


def plot_points(axes: Axes, place: np.ndarray, values: np.ndarray, errors: Any, **options: Any) -> None:
    """Points with bars."""
    axes.errorbar(place, values, errors, **{"fmt": "o", "color": MODEL, "ms": 4, "lw": 1.5, **options})
