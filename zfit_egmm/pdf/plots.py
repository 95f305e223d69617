"""Figure of a fit: data and fitted components in every observable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from zfit_egmm.observables import Observable

COLOURS = ("#6d9dc5", "#c23b22", "#e0a030", "#5a8f5a", "#8a6fae", "#a0785a")
N_BINS = 25
MOST_COLUMNS = 3


def plot_fit(
    observables: Sequence[Observable],
    data: np.ndarray,
    components: Mapping[str, tuple[np.ndarray, float]],
    *,
    data_label: str = "data",
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Data with the fitted components stacked, one panel per observable, with pulls below.

    Args:
        observables: The axes.
        data: Events, shape ``(n_events, n_observables)``.
        components: By name, events drawn from a component, and its fitted number of events; the first is at the bottom.
        data_label: Name of the data in the legend.
        labels: Labels of axes by the name of the observable, instead of name and unit.
    """
    n_columns = min(MOST_COLUMNS, len(observables) + 1)
    # One more cell for the legend.
    n_rows = -(-(len(observables) + 1) // n_columns)
    figure = Figure(figsize=(4.5 * n_columns, 4.1 * n_rows), layout="constrained")
    grid = figure.add_gridspec(2 * n_rows, n_columns, height_ratios=[3, 1] * n_rows)
    for number, observable in enumerate(observables):
        row, column = divmod(number, n_columns)
        main = figure.add_subplot(grid[2 * row, column])
        pulls = figure.add_subplot(grid[2 * row + 1, column], sharex=main)
        drawn = {name: (events[:, number], expected) for name, (events, expected) in components.items()}
        _draw_panel(main, pulls, observable, data[:, number], drawn, data_label)
        pulls.set_xlabel((labels or {}).get(observable.name, observable.label))
        if number == 0:
            handles, names = main.get_legend_handles_labels()
    row, column = divmod(len(observables), n_columns)
    legend = figure.add_subplot(grid[2 * row : 2 * row + 2, column])
    legend.axis("off")
    legend.legend(handles[::-1], names[::-1], loc="center", frameon=False, fontsize=13)
    return figure


def _draw_panel(
    main: Any, pulls: Any, observable: Observable, data: np.ndarray, components: Mapping[str, tuple], data_label: str
) -> None:
    low, high = observable.limits
    n_bins = round(high - low) if observable.is_discrete else N_BINS
    edges = np.linspace(low, high, n_bins + 1)
    centres, counts = 0.5 * (edges[1:] + edges[:-1]), np.histogram(data, edges)[0]
    base = np.zeros(len(centres))
    for number, (name, (events, expected)) in enumerate(components.items()):
        shape = np.histogram(events, edges)[0] * expected / len(events)
        colour = COLOURS[number % len(COLOURS)]
        main.stairs(base + shape, edges, baseline=base, fill=True, color=colour, alpha=0.75, label=name)
        base = base + shape
    main.stairs(base, edges, color="#1b1b1b", linewidth=1.2)
    main.errorbar(centres, counts, np.sqrt(np.maximum(counts, 1)), fmt="k.", capsize=0, label=data_label)
    main.set_ylabel(f"events / {edges[1] - edges[0]:.2g} {observable.unit}".strip())
    main.set_ylim(0, None)
    main.tick_params(labelbottom=False)
    pulls.axhspan(-1, 1, color="0.9")
    pulls.axhline(0, color="0.5", linewidth=0.8)
    pulls.plot(centres, (counts - base) / np.sqrt(np.maximum(base, 0.5)), "k.")
    pulls.set_ylim(-4, 4)
    pulls.set_ylabel("pull")
    pulls.set_xlim(low, high)


__all__ = ["plot_fit"]
