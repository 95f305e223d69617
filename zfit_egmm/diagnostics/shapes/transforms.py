"""Probability integral transforms of the conditional factors: uniform and independent if the density is right.

The transform of an event in one observable, given those before it and theta, says which fraction of the model lies
below the event. The tests are smooth: they ask whether means of Legendre polynomials of the transforms vanish, which
finds small shifts, wrong widths and missing correlations with few events, and finds no features finer than the
polynomials; a binned test stands beside them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Entry, Finding, Judge, Table, Task, Threshold, figures, with_error
from zfit_egmm.diagnostics.samples import Progress, advance, check_match, uniform_numbers, within
from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare, smallest_of
from zfit_egmm.diagnostics.statistics.means import weighted_mean
from zfit_egmm.diagnostics.statistics.slices import ThetaSlice, theta_slices
from zfit_egmm.diagnostics.statistics.smooth import TAIL, polynomials, product_test, uniformity_test
from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable
from zfit_egmm.plain import without

N_BINS = 20  # bins of a transform
MOST_PAIRS = 15  # pairs of factors in the table
SMALLEST = 1e-9  # transforms stay so far from zero and one, so that normal scores are finite


@dataclass(frozen=True)
class FactorCalibration:
    """One conditional factor, all events.

    Args:
        observable: The observable of the factor.
        smooth: Test of uniformity by polynomials and both tails.
        binned: Test of uniformity in bins of equal expectation.
        histogram: Fraction of the weight per bin of the transform, shape ``(20,)``; 1/20 each if right.
        histogram_error: Standard error if right, same shape.
        tails: Fraction of the weight in the lowest and in the highest 1 % of the model.
        tail_errors: Their standard errors.
        shift: By how much the simulation lies above the model, in widths of the model.
        shift_error: Standard error of the shift.
        width: Width of the simulation over that of the model.
        width_error: Standard error of the width.
    """

    observable: Observable
    smooth: ChiSquare
    binned: ChiSquare
    histogram: np.ndarray
    histogram_error: np.ndarray
    tails: tuple[float, float]
    tail_errors: tuple[float, float]
    shift: float
    shift_error: float
    width: float
    width_error: float


@dataclass(frozen=True)
class PairCalibration:
    """Dependence between two factors that the model lacks, or has too much of.

    Args:
        observables: Those of the two factors.
        correlation: Correlation of the transforms, zero if right.
        error: Its standard error.
        test: Test that the means of products of polynomials vanish.
    """

    observables: tuple[Observable, Observable]
    correlation: float
    error: float
    test: ChiSquare


@dataclass(frozen=True)
class ThetaCalibration:
    """Dependence of one factor on theta that the model lacks: shift and width against polynomials of theta.

    Args:
        observable: The observable of the factor.
        theta_name: The parameter.
        test: Test that the means of products of polynomials vanish.
    """

    observable: Observable
    theta_name: str
    test: ChiSquare


@dataclass(frozen=True)
class SliceCalibration:
    """Uniformity of one factor in a slice of theta.

    Args:
        observable: The observable of the factor.
        slice: Which part of theta.
        test: Test of uniformity by polynomials.
        shift: By how much the simulation lies above the model in the slice, in widths of the model.
        shift_error: Standard error of the shift.
    """

    observable: Observable
    slice: ThetaSlice
    test: ChiSquare
    shift: float
    shift_error: float


@dataclass(frozen=True)
class Calibration:
    """All tests of the probability integral transforms.

    Args:
        factors: Uniformity of each factor.
        pairs: Independence of each pair of factors.
        thetas: Independence of each factor of each parameter.
        slices: Uniformity in slices of theta.
        p_value: Of the smallest p-value of the smooth tests of ``factors``, ``pairs`` and ``thetas``. These are
            independent of each other for a right model if weights depend on theta alone, and the p-value is then
            uniform; it is close to that otherwise.
        n_events: Number of events.
    """

    factors: tuple[FactorCalibration, ...]
    pairs: tuple[PairCalibration, ...]
    thetas: tuple[ThetaCalibration, ...]
    slices: tuple[SliceCalibration, ...]
    p_value: float
    n_events: int


def calibration(density: Density, sample: EventSample, *, seed: int = 0, progress: Progress = None) -> Calibration:
    """Test whether simulated events follow the conditional factors of a density.

    Weights are honoured, negative ones too: with weights the covariance of all means is estimated from the events.
    There are no slices of weights, since the events of one weight alone do not follow the density if weights depend
    on the observables.

    Args:
        density: The density, with a map to uniform numbers, see :meth:`zfit_egmm.Density.to_uniform`.
        sample: Simulated events that it was not trained with.
        seed: Seed of the random places of discrete values.
        progress: Called with the fraction that is done.

    Returns:
        Tests of every factor, pair of factors, parameter and slice, and a p-value of all together.

    Raises:
        ValueError: If the density and the sample do not match.
        TypeError: If the density has no map to uniform numbers.
    """
    check_match(density, sample)
    transforms = uniform_numbers(density, sample, seed=seed, progress=within(progress, 0.0, 0.6))
    observables = density.observables
    factors = tuple(_factor(o, u, sample) for o, u in zip(observables, transforms.T, strict=True))
    advance(progress, 0.7)
    values = [polynomials(u) for u in transforms.T]
    pairs = tuple(
        _pair((observables[i], observables[j]), values[i], values[j], sample)
        for i, j in itertools.combinations(range(len(values)), 2)
    )
    advance(progress, 0.85)
    thetas = tuple(
        ThetaCalibration(observable, name, product_test(own, _theta_polynomials(column), sample))
        for name, column in zip(sample.theta_names, sample.theta.T, strict=True)
        if np.ptp(column) > 0
        for observable, own in zip(observables, values, strict=True)
    )
    slices = tuple(
        _slice(observable, which, u, sample)
        for which in theta_slices(sample)
        for observable, u in zip(observables, transforms.T, strict=True)
    )
    advance(progress, 1.0)
    tests = [*(f.smooth for f in factors), *(pair.test for pair in pairs), *(theta.test for theta in thetas)]
    p_value = smallest_of([test.p_value for test in tests])
    return Calibration(factors, pairs, thetas, slices, p_value, len(sample))


def _theta_polynomials(column: np.ndarray) -> np.ndarray:
    """Polynomials of a parameter scaled to its range, with mean zero, so that the products say nothing of factors."""
    values = polynomials((column - column.min()) / np.ptp(column))
    return values - values.mean(axis=0)


def _factor(observable: Observable, u: np.ndarray, sample: EventSample) -> FactorCalibration:
    histogram, histogram_error, binned = _histogram(u, sample)
    low, high = (weighted_mean(side, sample.weights) for side in (u < TAIL, u > 1 - TAIL))
    score = _normal_score(u)
    shift, shift_error = weighted_mean(score, sample.weights)
    variance, variance_error = weighted_mean(np.square(score - shift), sample.weights)
    # Negative weights may make the estimate negative, if events are few.
    width = float(np.sqrt(max(variance, 0.0)))
    return FactorCalibration(
        observable,
        uniformity_test(u, sample.weights, is_weighted=sample.is_weighted),
        binned,
        histogram,
        histogram_error,
        (low[0], high[0]),
        (low[1], high[1]),
        shift,
        shift_error,
        width,
        variance_error / (2 * width) if width else np.inf,
    )


def _histogram(u: np.ndarray, sample: EventSample) -> tuple[np.ndarray, np.ndarray, ChiSquare]:
    """Fraction per bin, its error if right, and the test that all fractions are equal."""
    share = sample.weights / sample.weights.sum()
    number = np.minimum((u * N_BINS).astype(int), N_BINS - 1)
    fraction = np.bincount(number, share, N_BINS)
    squares = np.bincount(number, np.square(share), N_BINS)
    if not sample.is_weighted:
        squares = np.full(N_BINS, squares.sum() / N_BINS)
    # Covariance of the excesses: each event adds its share times (1 or 0, minus 1/n).
    covariance = np.diag(squares) - (squares[:, np.newaxis] + squares) / N_BINS + squares.sum() / N_BINS**2
    return fraction, np.sqrt(np.diag(covariance)), ChiSquare.of_means(fraction - 1 / N_BINS, covariance)


def _pair(
    observables: tuple[Observable, Observable], first: np.ndarray, second: np.ndarray, sample: EventSample
) -> PairCalibration:
    """Independence of two factors, from their polynomials; products of the first ones make the correlation."""
    correlation, error = weighted_mean(first[:, 0] * second[:, 0], sample.weights)
    return PairCalibration(observables, correlation, error, product_test(first, second, sample))


def _slice(observable: Observable, which: ThetaSlice, u: np.ndarray, sample: EventSample) -> SliceCalibration:
    inside, weights = u[which.mask], sample.weights[which.mask]
    test = uniformity_test(inside, weights, is_weighted=sample.is_weighted)
    return SliceCalibration(observable, which, test, *weighted_mean(_normal_score(inside), weights))


def _normal_score(u: np.ndarray) -> np.ndarray:
    """Standard normal values of the same probability."""
    return ndtri(np.clip(u, SMALLEST, 1 - SMALLEST))


class CalibrationEntry(Entry):
    name = "calibration"
    title = "Calibration of the factors"
    reading = (
        "Which fraction of the model lies below each simulated event, one observable given those before and theta. "
        "The bands hold 68 and 95 % of the bins of a right model. A slope is a shift; a hump in the middle means "
        "that the model is too wide, a dip that it is too narrow."
    )
    good = "flat histograms, shifts that agree with 0 and widths that agree with 1."
    cost = 2.0
    thresholds = (
        Threshold("shift", 0.05, "shift of a conditional factor in units of its width"),
        Threshold("width", 0.05, "relative error of the width of a conditional factor"),
        Threshold("calibration_p_value", None, "smallest p-value of the calibration"),
    )
    keys = ("calibration_p_value", "calibration")

    def why_not(self, task: Task) -> str | None:
        """Skipped without a map to uniform numbers, which one event is enough to find out."""
        try:
            uniform_numbers(task.density, task.sample.select(np.arange(1)))
        except TypeError as error:
            return f"a density of the kind {type(task.density).__name__} has no map to uniform numbers: {error}"
        return super().why_not(task)

    def run(self, task: Task) -> Calibration:
        """With all events."""
        return calibration(task.density, task.sample, seed=task.seed, progress=task.progress)

    def findings(self, result: Calibration, judge: Judge) -> list[Finding]:
        shifted = max(result.factors, key=lambda factor: abs(factor.shift))
        what = f"lies off by {shifted.shift:+.3f} +- {shifted.shift_error:.3f} widths of the model"
        found = [_effect(judge, "shift", shifted, abs(shifted.shift), shifted.shift_error, what)]
        wide = max(result.factors, key=lambda factor: abs(factor.width - 1))
        what = f"has {wide.width:.3f} +- {wide.width_error:.3f} times the width of the model"
        found.append(_effect(judge, "width", wide, abs(wide.width - 1), wide.width_error, what))
        return [*found, judge.p_value("calibration_p_value", result.p_value, "the calibration")]

    def numbers(self, result: Calibration) -> tuple[float, list[dict]]:
        return result.p_value, [without(factor, "histogram", "histogram_error") for factor in result.factors]

    def content(self, result: Calibration) -> Content:
        worst = sorted(result.pairs, key=lambda pair: pair.test.p_value)[:MOST_PAIRS]
        pairs = [
            (
                " and ".join(observable.name for observable in pair.observables),
                with_error(pair.correlation, pair.error, sign="+"),
                f"{pair.test.p_value:.2g}",
            )
            for pair in worst
        ]
        thetas = [(one.observable.name, one.theta_name, f"{one.test.p_value:.2g}") for one in result.thetas]
        return Content(
            panels=[plot_transforms(replace(result, factors=(factor,))) for factor in result.factors],
            tables=[
                _table_of_factors(result.factors),
                Table("Pairs of factors, smallest p-values", ("observables", "correlation", "p-value"), pairs),
                Table("Dependence on theta that the model lacks", ("observable", "theta", "p-value"), thetas),
            ],
        )


def _effect(judge: Judge, threshold: str, factor: FactorCalibration, value: float, error: float, what: str) -> Finding:
    name = factor.observable.name
    text = f"The simulation of {name}, given the observables before, {what}, which is the largest difference."
    return judge.effect(threshold, value, error, text, of_many=True)


def _table_of_factors(factors: Sequence[FactorCalibration]) -> Table:
    header = ("observable", "shift / width", "width", "lowest 1 %", "highest 1 %", "p, smooth", "p, binned")
    rows = [
        (
            one.observable.name,
            with_error(one.shift, one.shift_error, sign="+"),
            with_error(one.width, one.width_error),
            *(f"{with_error(100 * t, 100 * e)} %" for t, e in zip(one.tails, one.tail_errors, strict=True)),
            f"{one.smooth.p_value:.2g}",
            f"{one.binned.p_value:.2g}",
        )
        for one in factors
    ]
    return Table("Factors", header, rows)


def plot_transforms(result: Calibration) -> figures.Figure:
    """Probability integral transforms of the factors, one panel each, with the band of a right model."""
    figure, cells = figures.grid_of_panels(len(result.factors), panel=(3.2, 2.6))
    for cell, factor in zip(cells, result.factors, strict=True):
        _plot_factor(figure.add_subplot(cell), factor)
    return figure


def _plot_factor(axes: figures.Axes, factor: FactorCalibration) -> None:
    n_bins = len(factor.histogram)
    edges, density, error = np.linspace(0, 1, n_bins + 1), factor.histogram * n_bins, factor.histogram_error * n_bins
    for number, grey in ((2, "0.9"), (1, "0.75")):
        axes.stairs(1 + number * error, edges, baseline=1 - number * error, fill=True, color=grey)
    axes.stairs(density, edges, color=figures.MODEL, baseline=None)
    reach = 1.2 * max(np.max(np.abs(density - 1)), 3 * error.max())
    axes.set_ylim(1 - reach, 1 + 2 * reach)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"CDF of {factor.observable.name} given those before")
    axes.set_ylabel("simulation / model")
    text = f"p = {factor.smooth.p_value:.2g}\nshift {factor.shift:+.3f} +- {factor.shift_error:.3f}\n"
    text += f"width {factor.width:.3f} +- {factor.width_error:.3f}"
    axes.text(0.03, 0.96, text, transform=axes.transAxes, va="top", fontsize=8)
