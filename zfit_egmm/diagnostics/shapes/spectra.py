"""Spectra of single observables: held-out simulation against the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Entry, Task, figures
from zfit_egmm.diagnostics.samples import Progress, model_events
from zfit_egmm.diagnostics.statistics.binning import bin_numbers, equal_edges, fractions, ratio_of
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

MOST_BINS, EVENTS_PER_BIN = 40, 50  # bins of a spectrum, and effective events in each of fewer bins
LOG_SCALE_FROM = 200.0  # largest over smallest fraction of a spectrum that is drawn on a logarithmic scale


@dataclass(frozen=True)
class Spectrum:
    """Distribution of one observable.

    Args:
        observable: The axis.
        edges: Edges of the bins, in its unit, shape ``(n_bins + 1,)``.
        simulation: Fraction of the simulated weight per bin, shape ``(n_bins,)``.
        simulation_error: Its standard error, from the sum of squared weights.
        model: The same of the events drawn from the density.
        model_error: Its standard error.
    """

    observable: Observable
    edges: np.ndarray
    simulation: np.ndarray
    simulation_error: np.ndarray
    model: np.ndarray
    model_error: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Model over simulation, NaN where there is no simulation."""
        return ratio_of(self.model, self.simulation)

    @property
    def ratio_error(self) -> np.ndarray:
        """Part of the ratio's error that comes from the events drawn from the model."""
        return ratio_of(self.model_error, self.simulation)

    @property
    def band(self) -> np.ndarray:
        """Relative error of the simulation: half-height of a band around one."""
        return ratio_of(self.simulation_error, self.simulation)

    @property
    def pull(self) -> np.ndarray:
        """Difference, model minus simulation, over its error; NaN in empty bins."""
        error = np.hypot(self.simulation_error, self.model_error)
        return ratio_of(self.model - self.simulation, error)


def spectra(
    density: Density,
    sample: EventSample,
    *,
    n_bins: int = 40,
    copies: int = 1,
    seed: int = 0,
    progress: Progress = None,
) -> tuple[Spectrum, ...]:
    """Spectra of all observables, of simulated events and of the model at their thetas.

    Args:
        density: The density.
        sample: Simulated events that it was not trained with.
        n_bins: Bins of equal width of each continuous observable.
        copies: Model events per simulated event; more make the model's error smaller.
        seed: Seed of the model events.
        progress: Called with the fraction that is done.

    Returns:
        One spectrum per observable.

    Raises:
        ValueError: If the density and the sample do not match.
    """
    model = model_events(density, sample, copies=copies, seed=seed, progress=progress)
    result = []
    for axis, observable in enumerate(density.observables):
        edges = equal_edges(observable, n_bins)
        result.append(
            Spectrum(
                observable,
                edges,
                *fractions(bin_numbers(sample.x[:, axis], edges), sample.weights, len(edges) - 1),
                *fractions(bin_numbers(model.x[:, axis], edges), model.weights, len(edges) - 1),
            )
        )
    return tuple(result)


class SpectraEntry(Entry):
    name = "spectra"
    title = "Spectra"
    reading = (
        "Simulated events (line) and events of the model (points); below, model over simulation. The band is the "
        "statistical error of the simulation, bars are those of the model events."
    )
    good = "points that scatter about one within band and bars, without a trend."
    cost = 2.0

    def run(self, task: Task) -> tuple[Spectrum, ...]:
        """With fewer bins than usual if there are few events."""
        n_bins = int(np.clip(task.sample.effective_events / EVENTS_PER_BIN, 4, MOST_BINS))
        return spectra(task.density, task.sample, n_bins=n_bins, seed=task.seed, progress=task.progress)

    def content(self, result: tuple[Spectrum, ...]) -> Content:
        return Content(panels=[plot_spectra([one]) for one in result])


def plot_spectra(spectra: Sequence[Spectrum]) -> figures.Figure:
    """Spectra of simulation and model, one panel per observable, with the ratio below each.

    Bands are the statistical errors of the simulation, bars those of the model events.
    """
    figure, cells = figures.grid_of_panels(len(spectra), panel=(3.6, 3.3))
    for cell, spectrum in zip(cells, spectra, strict=True):
        main, lower = figures.panel_with_ratio(figure, cell)
        edges, centres = spectrum.edges, 0.5 * (spectrum.edges[1:] + spectrum.edges[:-1])
        _plot_contents(main, spectrum, centres)
        lower.stairs(
            1 + spectrum.band, edges, baseline=1 - spectrum.band, fill=True, color=figures.SIMULATION, alpha=0.3
        )
        figures.plot_points(lower, centres, spectrum.ratio, spectrum.ratio_error, **figures.SMALL_POINTS)
        figures.set_ratio_range(lower, spectrum.ratio, spectrum.band)
        lower.set_xlim(edges[0], edges[-1])
        lower.set_xlabel(spectrum.observable.label)
        lower.set_ylabel("model / sim.")
        if cell is cells[0]:
            figure.legend(*main.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    return figure


def _plot_contents(axes: figures.Axes, spectrum: Spectrum, centres: np.ndarray) -> None:
    width, unit = np.diff(spectrum.edges), spectrum.observable.unit
    axes.stairs(spectrum.simulation / width, spectrum.edges, color=figures.SIMULATION, label="simulation")
    figures.plot_points(
        axes, centres, spectrum.model / width, spectrum.model_error / width, label="model", **figures.SMALL_POINTS
    )
    positive = spectrum.simulation[spectrum.simulation > 0]
    if len(positive) and positive.max() > LOG_SCALE_FROM * positive.min():
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, None)
    axes.set_ylabel(f"density [1/{unit}]" if unit else "density")
