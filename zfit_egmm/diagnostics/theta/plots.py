"""Figures of the dependence on theta: one panel per parameter, one point per theta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zfit_egmm.diagnostics.theta.bias import ThetaBias
from zfit_egmm.diagnostics.theta.closure import ClosureFits
from zfit_egmm.diagnostics.theta.reweighting import Reweighting
from zfit_egmm.diagnostics.theta.score import InformationTest, ScoreTest

POINT, SECOND, BAND = "#1b1b1b", "#c23b22", "#6d9dc5"
MOST_LABELS = 60


def draw_scores(test: ScoreTest) -> Figure:
    """Mean scores in units of their errors, with the band in which 68.3 % should lie."""
    figure, panels, place = _panels(test)
    for number, (axes, name) in enumerate(zip(panels, test.theta_names, strict=True)):
        _line_with_band(axes, 0.0, 1.0)
        axes.errorbar(place, test.mean[:, number] / test.error[:, number], 1.0, fmt="o", color=POINT, markersize=4)
        axes.set_ylabel(f"mean score of {name} / its error")
    panels[0].set_title(f"held-out events: joint p-value {test.p_value:.2g}", fontsize=10)
    return figure


def draw_information(test: InformationTest) -> Figure:
    """Ratios of the Fisher information from the curvature to that from the scores."""
    figure, panels, place = _panels(test)
    for number, (axes, name) in enumerate(zip(panels, test.theta_names, strict=True)):
        axes.axhline(1, color="0.5", linewidth=0.8)
        axes.errorbar(place, test.ratio[:, number], test.ratio_error[:, number], fmt="o", color=POINT, markersize=4)
        axes.set_ylabel(f"information on {name}:\ncurvature / scores")
    panels[0].set_title(f"held-out events: joint p-value {test.p_value:.2g}", fontsize=10)
    return figure


def draw_bias(bias: ThetaBias) -> Figure:
    """Biases in units of the statistical error of a measurement, with the error from the held-out events."""
    figure, panels, place = _panels(bias)
    for number, (axes, name) in enumerate(zip(panels, bias.theta_names, strict=True)):
        _line_with_band(axes, 0.0, 1.0, label="statistical error of the measurement")
        centre, error = bias.over_sigma[:, number], bias.over_sigma_error[:, number]
        axes.errorbar(place, centre, error, fmt="o", color=POINT, markersize=4, label="bias, from held-out events")
        axes.set_ylabel(rf"bias on {name} / $\sigma$")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=2, fontsize=9
    )
    summary = ", ".join(f"{name} {value:.2f}" for name, value in zip(bias.theta_names, bias.typical, strict=True))
    panels[0].set_title(f"{bias.n_expected:g} events: typical bias / $\\sigma$: {summary}", fontsize=10)
    return figure


def draw_closure(fits: ClosureFits) -> Figure:
    """Best fits minus simulated theta; fits that are not valid are marked."""
    figure, panels, place = _panels(fits)
    for number, (axes, name) in enumerate(zip(panels, fits.theta_names, strict=True)):
        axes.axhline(0, color="0.5", linewidth=0.8)
        good = fits.is_valid
        shift, error = fits.shift[:, number], fits.error[:, number]
        axes.errorbar(place[good], shift[good], error[good], fmt="o", color=POINT, markersize=4)
        axes.plot(place[~good], shift[~good], "x", color=SECOND, label="not valid")
        axes.set_ylabel(f"best fit - simulated {name}")
        if not good.all():
            axes.legend(frameon=False, fontsize=9)
    panels[0].set_title(f"fits to all held-out events: joint p-value {fits.p_value:.2g}", fontsize=10)
    return figure


def draw_reweighting(result: Reweighting) -> Figure:
    """Spectra before and after reweighting over those simulated at the second theta."""
    n_columns = min(3, len(result.spectra))
    n_rows = -(-len(result.spectra) // n_columns)
    figure = Figure(figsize=(4.2 * n_columns, 3.1 * n_rows), layout="constrained")
    for number, spectrum in enumerate(result.spectra):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        target = np.where(spectrum.target > 0, spectrum.target, np.nan)
        axes.axhline(1, color="0.5", linewidth=0.8)
        axes.stairs(spectrum.before / target, spectrum.edges, color=BAND, linewidth=1.5, baseline=None, label="before")
        centres = 0.5 * (spectrum.edges[1:] + spectrum.edges[:-1])
        axes.errorbar(
            centres,
            spectrum.reweighted / target,
            spectrum.error / target,
            fmt="o",
            color=POINT,
            markersize=4,
            label="reweighted",
        )
        axes.set_xlabel(spectrum.name)
        axes.set_title(f"p = {spectrum.p_value:.2g}", fontsize=10)
        if number % n_columns == 0:
            axes.set_ylabel("ratio to simulation")
        if number == 0:
            axes.legend(frameon=False, fontsize=9)
    start, stop = (_text(theta) for theta in (result.theta_from, result.theta_to))
    figure.suptitle(f"from {start} to {stop}, {result.effective_events:.0f} effective events", fontsize=11)
    return figure


def _panels(result: Any) -> tuple[Figure, list[Axes], np.ndarray]:
    """A figure with a panel per parameter, and where the points go along the axis they share."""
    n_groups, n_theta = result.theta.shape
    figure = Figure(figsize=(max(6.5, min(13.0, 0.24 * n_groups)), 1.2 + 2.6 * n_theta), layout="constrained")
    first = figure.add_subplot(n_theta, 1, 1)
    panels = [first, *(figure.add_subplot(n_theta, 1, number + 1, sharex=first) for number in range(1, n_theta))]
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    panels[-1].set_xlabel(", ".join(result.theta_names))
    if n_theta == 1:
        return figure, panels, result.theta[:, 0]
    place = np.arange(n_groups, dtype=float)
    step = -(-n_groups // MOST_LABELS)
    panels[-1].set_xticks(place[::step], [_text(theta) for theta in result.theta[::step]], rotation=90, fontsize=7)
    return figure, panels, place


def _line_with_band(axes: Axes, centre: float, width: float, label: str | None = None) -> None:
    axes.axhspan(centre - width, centre + width, color=BAND, alpha=0.3, linewidth=0, label=label)
    axes.axhline(centre, color="0.5", linewidth=0.8)


def _text(theta: Sequence[float] | np.ndarray) -> str:
    numbers = ", ".join(f"{value:.3g}" for value in theta)
    return f"({numbers})" if len(theta) > 1 else numbers
