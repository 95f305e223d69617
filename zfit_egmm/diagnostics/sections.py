"""Sections of the report: figures, tables and how to read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zfit_egmm.diagnostics.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PAIRS = 15


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: Its title.
        header: Names of the columns.
        rows: Cells as texts.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Content:
    """What a section shows.

    Args:
        panels: Small figures, side by side where there is room.
        figures: Large figures.
        tables: Tables.
        items: Sentences, as a list.
    """

    panels: Sequence[Figure] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Args:
        name: The diagnostic, a field of :class:`~zfit_egmm.diagnostics.results.Results`.
        title: Its title.
        reading: How to read it.
        good: What good looks like.
        make: Draws figures and fills tables.
    """

    name: str
    title: str
    reading: str
    good: str
    make: Callable[[Evaluation], Content]


def with_error(value: float, error: float, *, sign: str = "") -> str:
    """A value and its error with two digits of the error, such as ``0.0123 +- 0.0045``."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:{sign}.3g} +- {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:{sign}.{digits}f} +- {error:.{digits}f}"


def _spectra(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.plots import draw_spectra

    return Content(panels=[draw_spectra([one]) for one in evaluation.results.spectra or ()])


def _pair_pulls(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.plots import draw_pair_pulls

    return Content(figures=[draw_pair_pulls(evaluation.results.pair_pulls or ())])


def _pull_frequencies(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.plots import draw_pull_frequencies

    found: Any = evaluation.results.pull_frequencies
    numbers = zip(found.edges[:-1], found.edges[1:], found.observed, found.expected, found.error, strict=True)
    rows = tuple(
        (f"{low:g} to {high:g}", f"{100 * seen:.2f} %", f"{100 * expected:.2f} +- {100 * error:.2f} %")
        for low, high, seen, expected, error in numbers
    )
    table = Table(f"{found.n_bins} bins", ("pull", "observed", "expected"), rows)
    return Content(figures=[draw_pull_frequencies(found)], tables=[table])


def _divergences(evaluation: Evaluation) -> Content:
    names = ("chi_square", "kullback_leibler", "jensen_shannon", "hellinger", "wasserstein")
    titles = ("chi square / ndf", "Kullback-Leibler", "Jensen-Shannon", "Hellinger", "Wasserstein")
    tables = []
    for title, name in zip(titles, names, strict=True):
        rows = []
        for entry in evaluation.results.divergences or ():
            one = getattr(entry, name)
            values = with_error(one.value, one.error), with_error(one.baseline, one.baseline_error)
            rows.append((entry.observable.name, *values, f"{one.p_value:.2g}"))
        tables.append(Table(title, ("observable", "model", "baseline", "p-value"), tuple(rows)))
    return Content(tables=tables)


def _classifier(name: str) -> Callable[[Evaluation], Content]:
    def make(evaluation: Evaluation) -> Content:
        from zfit_egmm.diagnostics.plots import draw_classifier

        test = getattr(evaluation.results, name)
        folds = ", ".join(f"{auc:.4f}" for auc in test.fold_aucs)
        text = f"{test.simulation.n_events} simulated events were scored; AUC of the folds: {folds}."
        return Content(figures=[draw_classifier(test)], items=[text])

    return make


def _regions(evaluation: Evaluation) -> Content:
    regions = evaluation.results.worst_regions or ()
    return Content(items=[f"{one.description} ({100 * one.share:.1f} % of the events)" for one in regions])


def _energy(evaluation: Evaluation) -> Content:
    test: Any = evaluation.results.energy
    text = f"Squared distance {test.distance:.3g} with {test.n_events} events; {test.expected:.3g} expected if right."
    return Content(items=[text])


def _calibration(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.plots import draw_transforms

    found: Any = evaluation.results.calibration
    rows = tuple(
        (
            f.observable.name,
            with_error(f.shift, f.shift_error, sign="+"),
            with_error(f.width, f.width_error),
            *(f"{with_error(100 * t, 100 * e)} %" for t, e in zip(f.tails, f.tail_errors, strict=True)),
            f"{f.smooth.p_value:.2g}",
            f"{f.binned.p_value:.2g}",
        )
        for f in found.factors
    )
    header = ("observable", "shift / width", "width", "lowest 1 %", "highest 1 %", "p, smooth", "p, binned")
    tables = [Table("Factors", header, rows)]
    worst = sorted(found.pairs, key=lambda pair: pair.test.p_value)[:MOST_PAIRS]
    rows = tuple(
        (
            " and ".join(o.name for o in pair.observables),
            with_error(pair.correlation, pair.error, sign="+"),
            f"{pair.test.p_value:.2g}",
        )
        for pair in worst
    )
    if rows:
        tables.append(Table("Pairs of factors, smallest p-values", ("observables", "correlation", "p-value"), rows))
    rows = tuple((t.observable.name, t.theta_name, f"{t.test.p_value:.2g}") for t in found.thetas)
    if rows:
        tables.append(Table("Dependence on theta that the model lacks", ("observable", "theta", "p-value"), rows))
    return Content(panels=[draw_transforms(replace(found, factors=(f,))) for f in found.factors], tables=tables)


def _coverage(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.plots import draw_coverage

    return Content(figures=[draw_coverage(evaluation.results.coverage or ())])


def _score(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.theta.plots import draw_scores

    return Content(figures=[draw_scores(evaluation.results.score)])  # type: ignore[arg-type]


def _closure(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.theta.plots import draw_closure

    return Content(figures=[draw_closure(evaluation.results.closure)])  # type: ignore[arg-type]


def _bias(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.theta.plots import draw_bias

    bias: Any = evaluation.results.bias
    rows = []
    for number, theta in enumerate(bias.theta):
        point = tuple(f"{value:.4g}" for value in theta)
        for column, name in enumerate(bias.theta_names):
            own = (bias.shift, bias.shift_error, bias.sigma, bias.over_sigma, bias.over_sigma_error)
            shift, shift_error, sigma, over, over_error = (values[number, column] for values in own)
            ratio = with_error(over, over_error, sign="+")
            rows.append((*point, name, with_error(shift, shift_error, sign="+"), f"{sigma:.3g}", ratio))
    header = (*bias.theta_names, "bias on", "bias", "statistical error", "bias / error")
    return Content(figures=[draw_bias(bias)], tables=[Table("At each theta", header, tuple(rows))])


def _information(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.theta.plots import draw_information

    return Content(figures=[draw_information(evaluation.results.information)])  # type: ignore[arg-type]


def _reweighting(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.theta.plots import draw_reweighting

    found = evaluation.results.reweighting or ()
    rows = tuple(
        (
            _point(one.theta_from),
            _point(one.theta_to),
            with_error(one.normalisation, one.normalisation_error),
            f"{one.effective_events:.0f}",
            f"{one.p_value:.2g}",
        )
        for one in found
    )
    header = ("from", "to", "mean weight", "effective events", "p-value")
    return Content(figures=[draw_reweighting(one) for one in found], tables=[Table("Pairs", header, rows)])


def _comparison(evaluation: Evaluation) -> Content:
    rows = tuple(
        (
            _point(one.theta_from),
            _point(one.theta_to),
            f"{one.log_loss:.4f}",
            f"{one.classifier_log_loss:.4f}",
            with_error(one.difference, one.difference_error, sign="+"),
            f"{one.auc:.4f}",
            f"{one.classifier_auc:.4f}",
        )
        for one in evaluation.results.comparison or ()
    )
    header = ("from", "to", "log-loss", "of classifier", "classifier - density", "AUC", "of classifier")
    return Content(tables=[Table("Pairs of theta", header, rows)])


def _ratios(evaluation: Evaluation) -> Content:
    from zfit_egmm.diagnostics.plots import draw_theta_ratios

    ratios, names = evaluation.results.ratios or (), evaluation.density.theta_names
    axes = dict.fromkeys(ratio.observable.name for ratio in ratios)
    return Content(figures=[draw_theta_ratios(ratios, axis, names) for axis in axes])


def _point(theta: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in theta)


SECTIONS = (
    Section(
        "bias",
        "Bias on theta",
        "How far a fit to the expected number of events would be off on average, in units of its statistical error, at "
        "each theta. The bars come from the limited number of held-out events; the band is one statistical error.",
        "points that scatter about zero as their bars say, and well inside of the band.",
        _bias,
    ),
    Section(
        "classifier",
        "Two-sample test with boosted trees",
        "A classifier tries to tell events of the model from simulated ones. Left its scores, in the middle the ROC "
        "curve, right its distance from the diagonal. With AUC 0.5 nothing can be told apart.",
        "equal scores, and a curve on the diagonal.",
        _classifier("classifier"),
    ),
    Section(
        "worst_regions",
        "Where the model is worst",
        "Regions that stand out in the scores of the boosted trees, counted with events that did not choose them.",
        "differences of a few percent, not much larger than their errors. Even a right model has worst regions.",
        _regions,
    ),
    Section(
        "network",
        "Two-sample test with a network",
        "The same with a neural network, which sees smooth differences better.",
        "equal scores, and a curve on the diagonal.",
        _classifier("network"),
    ),
    Section(
        "energy",
        "Energy test",
        "A distance between model and simulation in all observables and theta at once, with few events.",
        "a p-value that is not tiny.",
        _energy,
    ),
    Section(
        "spectra",
        "Spectra",
        "Simulated events (line) and events of the model (points); below, model over simulation. The band is the "
        "statistical error of the simulation, bars are those of the model events.",
        "points that scatter about one within band and bars, without a trend.",
        _spectra,
    ),
    Section(
        "divergences",
        "Divergences of the spectra",
        "Distances between half of the simulation and as many events of the model, next to the same between the two "
        "halves of the simulation (baseline). The latter is what a right model reaches.",
        "values that agree with the baseline.",
        _divergences,
    ),
    Section(
        "pair_pulls",
        "Pulls in two dimensions",
        "Model minus simulation over the statistical error in bins of two observables, which hold about equally many "
        "events along each axis. Black: events in the model only.",
        "a salt-and-pepper pattern of light colours. Patches and stripes of one colour are faults.",
        _pair_pulls,
    ),
    Section(
        "pull_frequencies",
        "Frequencies of pulls",
        "How often pulls of each size occur in all maps together, next to a standard normal distribution.",
        "points on the grey bars.",
        _pull_frequencies,
    ),
    Section(
        "calibration",
        "Calibration of the factors",
        "Which fraction of the model lies below each simulated event, one observable given those before and theta. "
        "The bands hold 68 and 95 % of the bins of a right model. A slope is a shift; a hump in the middle means "
        "that the model is too wide, a dip that it is too narrow.",
        "flat histograms, shifts that agree with 0 and widths that agree with 1.",
        _calibration,
    ),
    Section(
        "coverage",
        "Coverage of highest-density regions",
        "How many simulated events lie in the smallest region that holds a given fraction of the model.",
        "lines near zero. Above zero the model is too wide, below too narrow.",
        _coverage,
    ),
    Section(
        "score",
        "Mean scores",
        "Mean derivative of the log density in theta at the theta of the events, which vanishes for a right model.",
        "about two thirds of the bars reach zero.",
        _score,
    ),
    Section(
        "closure",
        "Closure fits",
        "Fits of theta to all held-out events of each theta, minus the theta of the simulation.",
        "about two thirds of the bars reach zero, and all fits are valid.",
        _closure,
    ),
    Section(
        "information",
        "Fisher information",
        "Information on theta that the likelihood states, from its curvature, over the one that the events give it. "
        "With 1.2, stated errors are too small by about 10 %. It means nothing where the truth has a kink in theta.",
        "ratios that agree with one.",
        _information,
    ),
    Section(
        "reweighting",
        "Reweighting",
        "Events of one theta, weighted by the likelihood ratio of the density, over those simulated at another theta.",
        "black points at one, also where the line before reweighting is not.",
        _reweighting,
    ),
    Section(
        "comparison",
        "Likelihood ratios against a classifier",
        "Log-loss, in nats, of telling two theta apart: with the likelihood ratio of the density, and with boosted "
        "trees that were trained for these two theta alone. The smaller the better.",
        "differences (classifier minus density) that are not below zero.",
        _comparison,
    ),
    Section(
        "ratios",
        "How the spectra change with theta",
        "Spectra at other theta over those at a reference in the middle; below, model over simulation.",
        "points that follow the lines within the bands.",
        _ratios,
    ),
)
"""All sections in the order of the report."""
