"""Events of one theta, weighted by a density's likelihood ratio, against events simulated at another theta."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import ThetaGroup, check_sample, chi2_of, weighted_mean
from zfit_egmm.diagnostics.theta.pairs import Pairs, chosen_pairs, log_ratio
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

MOST_BINS, EVENTS_PER_BIN = 10, 50
LOG_RATIO = "log ratio"


@dataclass(frozen=True, eq=False)
class ReweightedSpectrum:
    """One spectrum of a reweighting, as shares per bin.

    Args:
        name: Name of the observable, or ``"log ratio"``.
        edges: Bin edges, in its unit, shape ``(n_bins + 1,)``.
        before: Shares of the events of the first theta, shape ``(n_bins,)``.
        reweighted: The same after reweighting.
        target: Shares of the events of the second theta.
        error: Standard error of ``reweighted - target``.
        chi2: Of that difference, with all correlations.
        n_dof: Its degrees of freedom.
    """

    name: str
    edges: np.ndarray
    before: np.ndarray
    reweighted: np.ndarray
    target: np.ndarray
    error: np.ndarray
    chi2: float
    n_dof: int

    @property
    def p_value(self) -> float:
        """Probability of at least this chi2 for the right density."""
        return float(stats.chi2.sf(self.chi2, max(self.n_dof, 1)))


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Events of one theta, weighted by the density's likelihood ratio, against those of another theta.

    Args:
        theta_from: The first theta, shape ``(n_theta,)``.
        theta_to: The second.
        spectra: One per observable, and one of the log likelihood ratio.
        normalisation: Mean weight; one for the right density.
        normalisation_error: Its standard error.
        effective_events: Number of unweighted events with the power of the reweighted ones.
    """

    theta_from: np.ndarray
    theta_to: np.ndarray
    spectra: tuple[ReweightedSpectrum, ...]
    normalisation: float
    normalisation_error: float
    effective_events: float

    @property
    def p_value(self) -> float:
        """Smallest p-value of the spectra times their number, at most one (Bonferroni)."""
        return min(1.0, len(self.spectra) * min(spectrum.p_value for spectrum in self.spectra))


def reweighting_closure(
    density: Density, sample: EventSample, *, pairs: Pairs | None = None
) -> tuple[Reweighting, ...]:
    """Reweight events from one theta to another with the density, and compare the spectra with simulated ones.

    Args:
        density: The density.
        sample: Events that the density was not trained on, at a few theta; weights may be negative.
        pairs: Pairs of simulated theta, from and to. Default: from the one nearest to the middle to its nearest
            neighbours. Choose theta whose spectra overlap: few effective events make the test blind.

    Returns:
        One result per pair. Spectra have up to 10 bins of equal content, fewer if there are few events.

    Raises:
        ValueError: If the sample does not match the density, or holds no events at a theta of ``pairs``.
    """
    check_sample(density, sample)
    derivatives = Derivatives(density)
    return tuple(_reweighting(derivatives, sample, *pair) for pair in chosen_pairs(sample, pairs))


def _reweighting(derivatives: Derivatives, sample: EventSample, first: ThetaGroup, second: ThetaGroup) -> Reweighting:
    weights, target_weights = sample.weights[first.rows], sample.weights[second.rows]
    ratios, target_ratios = (
        log_ratio(derivatives, sample.x[group.rows], first.theta, second.theta) for group in (first, second)
    )
    factors = np.exp(ratios)
    mean, covariance = weighted_mean(factors[:, np.newaxis], weights)
    reweighted = weights * factors
    effective = reweighted.sum() ** 2 / np.square(reweighted).sum()
    power = min(effective, target_weights.sum() ** 2 / np.square(target_weights).sum())
    columns = [(o, sample.x[first.rows, n], sample.x[second.rows, n]) for n, o in enumerate(sample.observables)]
    spectra = []
    for observable, values, target in [*columns, (None, ratios, target_ratios)]:
        edges = _edges(observable, np.concatenate([values, target]), power)
        name = LOG_RATIO if observable is None else observable.name
        spectra.append(_spectrum(name, edges, (values, weights, reweighted), (target, target_weights)))
    error = float(np.sqrt(covariance[0, 0]))
    return Reweighting(first.theta, second.theta, tuple(spectra), float(mean[0]), error, float(effective))


def _edges(observable: Observable | None, values: np.ndarray, power: float) -> np.ndarray:
    """Edges of bins with equal numbers of events; discrete observables have a bin per value."""
    if observable is not None and observable.is_discrete:
        return np.arange(observable.n_categories + 1) + observable.limits[0]
    n_bins = int(np.clip(power / EVENTS_PER_BIN, 2, MOST_BINS))
    return np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)))


def _spectrum(
    name: str,
    edges: np.ndarray,
    source: tuple[np.ndarray, np.ndarray, np.ndarray],
    target: tuple[np.ndarray, np.ndarray],
) -> ReweightedSpectrum:
    values, weights, reweighted = source
    before, _ = _shares(values, weights, edges)
    after, after_covariance = _shares(values, reweighted, edges)
    wanted, wanted_covariance = _shares(target[0], target[1], edges)
    covariance = after_covariance + wanted_covariance
    chi2, n_dof = chi2_of(after - wanted, covariance)
    return ReweightedSpectrum(name, edges, before, after, wanted, np.sqrt(np.diag(covariance)), chi2, n_dof)


def _shares(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the weight in each bin, with covariance."""
    number = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return weighted_mean((number[:, np.newaxis] == np.arange(len(edges) - 1)).astype(float), weights)
