"""How spectra change with theta: ratios to a reference, in the model and in the simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, GridEntry, Task, figures
from zfit_egmm.diagnostics.samples import Progress, advance, check_match, log_densities, within
from zfit_egmm.diagnostics.statistics.binning import bin_numbers, fractions, quantile_edges, ratio_of
from zfit_egmm.diagnostics.statistics.means import effective_size
from zfit_egmm.diagnostics.statistics.slices import scaled_to_spread
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

MOST_RATIOS = 8  # theta that are compared with the one in the middle

MOST_POINTS = 500  # more than that is no grid, but a theta for every event


@dataclass(frozen=True)
class ThetaRatio:
    """Spectrum of one observable at one theta over that at a reference theta.

    Args:
        observable: The axis.
        theta_names: Names of the parameters.
        theta: Their values, shape ``(n_theta,)``.
        edges: Edges of the bins, in the observable's unit, shape ``(n_bins + 1,)``.
        model: Ratio in the model, from importance weights, shape ``(n_bins,)``; NaN without events.
        model_error: Its standard error.
        simulation: Ratio of the simulated spectra, NaN without events at the reference.
        simulation_error: Its standard error. All thetas share the fluctuations of the reference.
        effective_events: Number of events of equal weight that tell as much as the weighted model events do.
    """

    observable: Observable
    theta_names: tuple[str, ...]
    theta: np.ndarray
    edges: np.ndarray
    model: np.ndarray
    model_error: np.ndarray
    simulation: np.ndarray
    simulation_error: np.ndarray
    effective_events: float

    @property
    def double_ratio(self) -> np.ndarray:
        """Ratio of the model over ratio of the simulation, one if the dependence on theta is right."""
        return ratio_of(self.model, self.simulation)

    @property
    def double_ratio_error(self) -> np.ndarray:
        """Its standard error, by linear propagation."""
        relative = np.hypot(ratio_of(self.model_error, self.model), ratio_of(self.simulation_error, self.simulation))
        return self.double_ratio * relative


def theta_ratios(
    density: Density,
    sample: EventSample,
    reference: Sequence[float],
    *,
    n_bins: int = 20,
    n_events: int = 100_000,
    seed: int = 0,
    progress: Progress = None,
) -> tuple[ThetaRatio, ...]:
    """Ratios of the spectra of all observables at every simulated theta to those at a reference.

    The model's ratio comes from events at the reference with importance weights p(x|theta)/p(x|reference): the same
    events appear above and below, so that their fluctuations cancel. Few effective events mean that the events at the
    reference do not reach where theta leads to.

    Args:
        density: The density.
        sample: Simulated events at a grid of thetas that holds the reference.
        reference: The parameters to compare with, shape ``(n_theta,)``.
        n_bins: Bins per observable, with about equally many events.
        n_events: Model events.
        seed: Seed of the model events.
        progress: Called with the fraction that is done.

    Returns:
        For every theta of the grid but the reference, in increasing order, one ratio per observable.

    Raises:
        ValueError: If the sample has no grid of thetas, or none of its events is at the reference.

    Source:
        Section 5, Figures 11 to 14 and Appendix A of Menary and Price, "Learning to discover".
    """
    check_match(density, sample)
    points, index, start = _grid(sample, np.atleast_1d(np.asarray(reference, dtype=float)))
    x = density.sample(n_events, points[start], seed=seed)
    at_reference = log_densities(density, x, points[start])
    edges = [quantile_edges(o, x[:, axis], n_bins) for axis, o in enumerate(density.observables)]
    result = []
    for number in (number for number in range(len(points)) if number != start):
        shares = number / len(points), (number + 1) / len(points)
        weights = np.exp(log_densities(density, x, points[number], progress=within(progress, *shares)) - at_reference)
        for axis, observable in enumerate(density.observables):
            result.append(
                ThetaRatio(
                    observable,
                    sample.theta_names,
                    points[number],
                    edges[axis],
                    *_model_ratio(bin_numbers(x[:, axis], edges[axis]), weights, len(edges[axis]) - 1),
                    *_simulated_ratio(sample, axis, edges[axis], (index == number, index == start)),
                    effective_size(weights),
                )
            )
    advance(progress, 1.0)
    return tuple(result)


def _grid(sample: EventSample, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Thetas of the sample, the number of each event's theta, and that of the reference."""
    points, index = np.unique(sample.theta, axis=0, return_inverse=True)
    if not sample.theta_names or len(points) > MOST_POINTS:
        raise ValueError(
            f"the sample has {len(points) if sample.theta_names else 'no'} thetas; ratios of simulated spectra need a "
            f"grid of at most {MOST_POINTS} with many events at each"
        )
    found = np.flatnonzero(np.all(points == reference, axis=1)) if len(reference) == points.shape[1] else np.empty(0)
    if not len(found):
        raise ValueError(
            f"no event was simulated at the reference theta {reference.tolist()}; choose one of the grid, "
            f"for example {points[len(points) // 2].tolist()}"
        )
    return points, index.reshape(-1), int(found[0])


def _model_ratio(numbers: np.ndarray, weights: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean weight per bin over the mean weight of all, and the error of the former."""
    entries = np.bincount(numbers, minlength=n_bins)
    mean = ratio_of(np.bincount(numbers, weights, n_bins), entries)
    variance = np.maximum(ratio_of(np.bincount(numbers, np.square(weights), n_bins), entries) - mean**2, 0.0)
    return mean / weights.mean(), np.sqrt(ratio_of(variance, entries)) / weights.mean()


def _simulated_ratio(
    sample: EventSample, axis: int, edges: np.ndarray, masks: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Ratio of the spectra of two parts of the sample, with its error."""
    n_bins = len(edges) - 1
    (above, above_error), (below, below_error) = (
        fractions(bin_numbers(sample.x[mask, axis], edges), sample.weights[mask], n_bins) for mask in masks
    )
    ratio = ratio_of(above, below)
    return ratio, np.hypot(ratio_of(above_error, below), ratio * ratio_of(below_error, below))


class RatiosEntry(GridEntry):
    name = "ratios"
    title = "How the spectra change with theta"
    reading = "Spectra at other theta over those at a reference in the middle; below, model over simulation."
    good = "points that follow the lines within the bands."
    cost = 2.0

    def run(self, task: Task) -> tuple[ThetaRatio, ...]:
        """From the theta nearest to the middle to a few that are far from it and from each other."""
        points = task.theta_points
        scaled, middle = scaled_to_spread(points)
        chosen = [middle]
        while len(chosen) < min(len(points), MOST_RATIOS + 1):
            gaps = np.sum((scaled[:, np.newaxis] - scaled[chosen]) ** 2, axis=2).min(axis=1)
            chosen.append(int(np.argmax(gaps)))
        is_chosen = np.any(np.all(task.sample.theta[:, np.newaxis] == points[chosen], axis=2), axis=1)
        sample, reference = task.sample.select(is_chosen), points[middle].tolist()
        return theta_ratios(task.density, sample, reference, seed=task.seed, progress=task.progress)

    def content(self, result: tuple[ThetaRatio, ...]) -> Content:
        return Content(
            figures=[plot_theta_ratios(result, name) for name in dict.fromkeys(one.observable.name for one in result)]
        )


def plot_theta_ratios(ratios: Sequence[ThetaRatio], name: str) -> figures.Figure:
    """Spectrum of one observable over that at the reference, one panel per theta, with double ratios below.

    Bins are drawn equally wide, so that a narrow peak with most of the events has most of the room.

    Args:
        ratios: Result of :func:`zfit_egmm.diagnostics.theta_ratios`.
        name: Name of the observable.

    Raises:
        ValueError: If there are no ratios of this observable.
    """
    chosen = [ratio for ratio in ratios if ratio.observable.name == name]
    if not chosen:
        raise ValueError(f"there are no ratios of {name!r}, only of {sorted({r.observable.name for r in ratios})}")
    most_columns = 6 if len(chosen[0].theta_names) > 1 else figures.MOST_COLUMNS
    figure, cells = figures.grid_of_panels(len(chosen), panel=(3.2, 2.9), most_columns=most_columns)
    for cell, ratio in zip(cells, chosen, strict=True):
        main, lower = figures.panel_with_ratio(figure, cell)
        _plot_ratio(main, lower, ratio)
        if cell is cells[0]:
            figure.legend(*main.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    return figure


def _plot_ratio(main: figures.Axes, lower: figures.Axes, ratio: ThetaRatio) -> None:
    edges, centres = ratio.edges, 0.5 * (ratio.edges[1:] + ratio.edges[:-1])
    error = ratio.simulation_error
    figures.plot_band(main, edges, ratio.simulation - error, ratio.simulation + error)
    main.stairs(ratio.simulation, edges, color=figures.SIMULATION, baseline=None, label="simulation")
    figures.plot_points(main, centres, ratio.model, ratio.model_error, label="model", **figures.SMALL_POINTS)
    figures.reference_line(main, 1)
    main.set_title(", ".join(f"{n} = {v:g}" for n, v in zip(ratio.theta_names, ratio.theta, strict=True)), fontsize=9)
    figures.plot_points(lower, centres, ratio.double_ratio, ratio.double_ratio_error, **figures.SMALL_POINTS)
    figures.set_ratio_range(lower, ratio.double_ratio, ratio.double_ratio_error)
    figures.show_bins_equally_wide(lower, edges)
    lower.set_xlabel(ratio.observable.label)
    main.set_ylabel("ratio to reference", fontsize=8)
    lower.set_ylabel("model / sim.", fontsize=8)
