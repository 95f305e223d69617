"""How spectra change with theta: ratios to a reference, in the model and in the simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.binning import bin_numbers, fractions, quantile_edges, ratio_of
from zfit_egmm.diagnostics.comparison import Progress, check_match, log_densities, part, report
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

MOST_POINTS = 500


@dataclass(frozen=True)
class ThetaRatio:
    """Spectrum of one observable at one theta over that at a reference theta.

    Args:
        observable: The axis.
        theta: The parameters, shape ``(n_theta,)``.
        edges: Edges of the bins, in the observable's unit, shape ``(n_bins + 1,)``.
        model: Ratio in the model, from importance weights, shape ``(n_bins,)``; NaN without events.
        model_error: Its standard error.
        simulation: Ratio of the simulated spectra, NaN without events at the reference.
        simulation_error: Its standard error. All thetas share the fluctuations of the reference.
        effective_events: Number of events of equal weight that tell as much as the weighted model events do.
    """

    observable: Observable
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
        progress: Called with the part that is done.

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
        weights = np.exp(log_densities(density, x, points[number], progress=part(progress, *shares)) - at_reference)
        for axis, observable in enumerate(density.observables):
            result.append(
                ThetaRatio(
                    observable,
                    points[number],
                    edges[axis],
                    *_model_ratio(bin_numbers(x[:, axis], edges[axis]), weights, len(edges[axis]) - 1),
                    *_simulated_ratio(sample, axis, edges[axis], (index == number, index == start)),
                    float(weights.sum() ** 2 / np.square(weights).sum()),
                )
            )
    report(progress, 1.0)
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
