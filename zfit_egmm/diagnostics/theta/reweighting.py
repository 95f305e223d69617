"""Events of one theta, weighted by a density's likelihood ratio, against events simulated at another theta."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Finding, GridEntry, Judge, Table, Task, figures, theta_text, with_error
from zfit_egmm.diagnostics.statistics.binning import bin_numbers, equal_edges
from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare
from zfit_egmm.diagnostics.statistics.means import effective_size, errors_of, weighted_mean, weighted_means
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import Pairs, ThetaGroup, check_sample, chosen_pairs, log_ratio
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable
from zfit_egmm.plain import without

MOST_BINS, EVENTS_PER_BIN = 10, 50  # most bins of a spectrum, and effective events in each of fewer bins
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
        test: Test that the difference vanishes, with all correlations.
    """

    name: str
    edges: np.ndarray
    before: np.ndarray
    reweighted: np.ndarray
    target: np.ndarray
    error: np.ndarray
    test: ChiSquare


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
        return min(1.0, len(self.spectra) * min(spectrum.test.p_value for spectrum in self.spectra))


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
    reweighted = weights * factors
    effective = effective_size(reweighted)
    power = min(effective, effective_size(target_weights))
    columns = [(o, sample.x[first.rows, n], sample.x[second.rows, n]) for n, o in enumerate(sample.observables)]
    spectra = []
    for observable, values, target in [*columns, (None, ratios, target_ratios)]:
        edges = _edges(observable, np.concatenate([values, target]), power)
        name = LOG_RATIO if observable is None else observable.name
        spectra.append(_spectrum(name, edges, (values, weights, reweighted), (target, target_weights)))
    return Reweighting(first.theta, second.theta, tuple(spectra), *weighted_mean(factors, weights), effective)


def _edges(observable: Observable | None, values: np.ndarray, power: float) -> np.ndarray:
    """Edges of bins with equal numbers of events; discrete observables have a bin per value."""
    if observable is not None and observable.is_discrete:
        return equal_edges(observable, observable.n_categories)
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
    test = ChiSquare.of_means(after - wanted, covariance)
    return ReweightedSpectrum(name, edges, before, after, wanted, errors_of(covariance), test)


def _shares(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the weight in each bin, with covariance."""
    is_inside = bin_numbers(values, edges)[:, np.newaxis] == np.arange(len(edges) - 1)
    return weighted_means(is_inside.astype(float), weights)


class ReweightingEntry(GridEntry):
    name = "reweighting"
    title = "Reweighting"
    reading = (
        "Events of one theta, weighted by the likelihood ratio of the density, over those simulated at another theta."
    )
    good = "black points at one, also where the line before reweighting is not."
    keys = ("reweighting",)

    def run(self, task: Task) -> tuple[Reweighting, ...]:
        """From the theta in the middle to its neighbours."""
        return reweighting_closure(task.density, task.sample)

    def findings(self, result: tuple[Reweighting, ...], judge: Judge) -> list[Finding]:
        p_value = min(1.0, len(result) * min(one.p_value for one in result))
        return [judge.information(p_value, 0.0, f"The p-value of the reweighted spectra is {p_value:.2g}.")]

    def numbers(self, result: tuple[Reweighting, ...]) -> tuple[list[dict]]:
        return ([{**without(one, "spectra"), "p_value": one.p_value} for one in result],)

    def content(self, result: tuple[Reweighting, ...]) -> Content:
        rows = [
            (
                theta_text(one.theta_from),
                theta_text(one.theta_to),
                with_error(one.normalisation, one.normalisation_error),
                f"{one.effective_events:.0f}",
                f"{one.p_value:.2g}",
            )
            for one in result
        ]
        header = ("from", "to", "mean weight", "effective events", "p-value")
        return Content(figures=[plot_reweighting(one) for one in result], tables=[Table("Pairs", header, rows)])


def plot_reweighting(result: Reweighting) -> figures.Figure:
    """Spectra before and after reweighting over those simulated at the second theta."""
    n_columns = min(3, len(result.spectra))
    n_rows = -(-len(result.spectra) // n_columns)
    figure = figures.new_figure(4.2 * n_columns, 3.1 * n_rows)
    for number, spectrum in enumerate(result.spectra):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        _plot_ratios(axes, spectrum)
        if number % n_columns == 0:
            axes.set_ylabel("ratio to simulation")
        if number == 0:
            axes.legend(frameon=False, fontsize=9)
    start, stop = theta_text(result.theta_from), theta_text(result.theta_to)
    figure.suptitle(f"from {start} to {stop}, {result.effective_events:.0f} effective events", fontsize=11)
    return figure


def _plot_ratios(axes: figures.Axes, spectrum: ReweightedSpectrum) -> None:
    target = np.where(spectrum.target > 0, spectrum.target, np.nan)
    figures.reference_line(axes, 1)
    axes.stairs(spectrum.before / target, spectrum.edges, color=figures.BAND, lw=1.5, baseline=None, label="before")
    centres = 0.5 * (spectrum.edges[1:] + spectrum.edges[:-1])
    figures.plot_points(axes, centres, spectrum.reweighted / target, spectrum.error / target, label="reweighted")
    axes.set_xlabel(spectrum.name)
    axes.set_title(f"p = {spectrum.test.p_value:.2g}", fontsize=10)
