"""One- and two-dimensional spectra of held-out simulation against the model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.binning import (
    bin_numbers,
    effective_entries,
    equal_edges,
    fractions,
    quantile_edges,
    ratio_of,
)
from zfit_egmm.diagnostics.chi_square import ChiSquare
from zfit_egmm.diagnostics.comparison import Progress, model_events, part, report
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

FEWEST_ENTRIES = 20
"""Least effective number of events in a bin, simulation and model together, for its pull to be about normal."""

PULL_EDGES = (-np.inf, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, np.inf)


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
        progress: Called with the part that is done.

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
        progress: Called with the part that is done.

    Returns:
        One map per pair, in the order (0, 1), (0, 2), ... (1, 2), ...; nothing for a single observable.

    Raises:
        ValueError: If the density and the sample do not match.

    Source:
        Eq. 13 and Figure 8 of Menary and Price, "Learning to discover".
    """
    model = model_events(density, sample, copies=copies, seed=seed, progress=part(progress, 0.0, 0.7))
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
        report(progress, 0.7 + 0.3 * (done + 1) / len(pairs))
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
