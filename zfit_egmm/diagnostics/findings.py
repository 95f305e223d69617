"""What each diagnostic says, in one sentence, judged by its threshold.

Effects decide, not p-values: with enough held-out events every model fails a p-value, however small its faults are.
An effect is good if it lies below its threshold even with its error added twice, bad if it lies above with the error
subtracted twice, and unclear between: then there are too few held-out events to tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zfit_egmm.diagnostics.results import Results
from zfit_egmm.diagnostics.theta import ThetaBias
from zfit_egmm.diagnostics.thresholds import Thresholds
from zfit_egmm.diagnostics.two_sample import ClassifierTest

Status = Literal["good", "bad", "unclear"]

N_SIGMA = 2.0
N_SIGMA_OF_MANY = 3.0
"""For the largest of many values, which is large by chance."""


@dataclass(frozen=True)
class Finding:
    """What one diagnostic says.

    Args:
        diagnostic: Its name, a field of :class:`~zfit_egmm.diagnostics.results.Results`.
        threshold: What it is judged by, a field of :class:`Thresholds`; ``None`` if by nothing.
        value: The size of the effect, or a p-value.
        error: Its standard error; zero for p-values.
        limit: The threshold; ``None`` if the value is not judged.
        status: What comes of it; ``None`` if the value is not judged.
        is_decisive: Whether the verdict follows it.
        text: All of this in words.
    """

    diagnostic: str
    threshold: str | None
    value: float
    error: float
    limit: float | None
    status: Status | None
    is_decisive: bool
    text: str


@dataclass(frozen=True)
class _Judge:
    """Makes findings."""

    thresholds: Thresholds
    n_expected: float

    def effect(
        self, diagnostic: str, threshold: str, value: float, error: float, text: str, *, n_sigma: float = N_SIGMA
    ) -> Finding:
        """A finding on an effect that should be small."""
        limit = getattr(self.thresholds, threshold)
        return self.finding(diagnostic, threshold, (value, error), status_of(value, error, limit, n_sigma), text)

    def p_value(self, diagnostic: str, threshold: str, value: float, text: str) -> Finding:
        """A finding on a p-value."""
        limit = getattr(self.thresholds, threshold)
        status: Status | None = None
        if limit is not None and math.isfinite(value):
            status = "good" if value >= limit else "bad"
        return self.finding(diagnostic, threshold, (value, 0.0), status, text)

    def finding(
        self, diagnostic: str, threshold: str, value: tuple[float, float], status: Status | None, text: str
    ) -> Finding:
        """A finding whose status is known."""
        limit, is_decisive = getattr(self.thresholds, threshold), threshold in self.thresholds.decisive
        numbers = (float(value[0]), float(value[1]))
        return Finding(diagnostic, threshold, *numbers, limit, status, is_decisive and status is not None, text)


def status_of(value: float, error: float, limit: float | None, n_sigma: float = N_SIGMA) -> Status | None:
    """Whether a value that should be small is below its limit."""
    if limit is None or not (math.isfinite(value) and math.isfinite(error)):
        return None
    if value - n_sigma * error > limit:
        return "bad"
    return "good" if value + n_sigma * error <= limit else "unclear"


def all_findings(results: Results, thresholds: Thresholds, n_expected: float) -> tuple[Finding, ...]:
    """What every diagnostic says, the most important first."""
    judge = _Judge(thresholds, n_expected)
    return (
        *_bias(results, judge),
        *_classifiers(results, judge),
        *_spectra(results, judge),
        *_factors(results, judge),
        *_theta(results, judge),
    )


def typical_bias(bias: ThetaBias) -> tuple[np.ndarray, np.ndarray]:
    """Squared bias over squared statistical error, mean over all theta, noise subtracted; and its standard error.

    Returns:
        Both of shape ``(n_theta,)``; the first may be negative.
    """
    noise = np.square(bias.over_sigma_error)
    excess = np.square(bias.over_sigma) - noise
    # Variance of the square of a normal variable of mean m and standard deviation e: 2 e^4 + 4 m^2 e^2.
    variance = 2 * np.square(noise).sum(axis=0) + 4 * np.maximum((noise * excess).sum(axis=0), 0.0)
    return excess.mean(axis=0), np.sqrt(variance) / len(excess)


def _bias(results: Results, judge: _Judge) -> list[Finding]:
    bias, found = results.bias, []
    if bias is None:
        return []
    for number, name in enumerate(bias.theta_names):
        squared, error = (float(values[number]) for values in typical_bias(bias))
        low, middle, high = (math.sqrt(max(squared + k * error, 0.0)) for k in (-N_SIGMA, 0.0, N_SIGMA))
        own, own_error = bias.over_sigma[:, number], bias.over_sigma_error[:, number]
        worst = int(np.argmax(np.abs(own) - N_SIGMA_OF_MANY * own_error))
        limit = judge.thresholds.theta_bias
        status = status_of(squared, error, None if limit is None else limit**2)
        is_bad_there = limit is not None and abs(own[worst]) - N_SIGMA_OF_MANY * own_error[worst] > limit
        size = "unknown size" if not math.isfinite(squared) else f"{middle:.2f} of the statistical error"
        text = f"The bias on {name} is {size}, {low:.2f} to {high:.2f} with 95 % confidence"
        if len(own) > 1:
            text += f" (root mean square over {len(own)} theta)"
        if is_bad_there:
            status = "bad"
            at = ", ".join(f"{n} = {v:.3g}" for n, v in zip(bias.theta_names, bias.theta[worst], strict=True))
            text += f"; it is {own[worst]:+.2f} +- {own_error[worst]:.2f} at {at}"
        elif status == "unclear":
            text += "; " + _events_needed(error, float(limit or 0.0) ** 2)
        found.append(judge.finding("bias", "theta_bias", (middle, (high - low) / (2 * N_SIGMA)), status, f"{text}."))
    return found


def _events_needed(error: float, limit: float) -> str:
    """How many more held-out events would show that there is no bias; the error of its square falls as 1/n."""
    factor = N_SIGMA * error / limit if limit > 0 else math.inf
    if 1 < factor < 1000:
        return f"about {math.ceil(factor)} times as many held-out events would tell"
    return "more held-out events would tell"


def _classifiers(results: Results, judge: _Judge) -> list[Finding]:
    found = []
    tests = {"classifier": ("Boosted trees", results.classifier), "network": ("Networks", results.network)}
    for name, (what, test) in tests.items():
        if test is None:
            continue
        text = (
            f"{what} tell model and simulation apart with AUC {test.auc:.4f} +- {test.auc_error:.4f} (0.5: not at all)."
        )
        found.append(judge.effect(name, "auc", test.auc - 0.5, test.auc_error, text))
        if results.bias is None:
            found.append(_visible(name, test, judge))
    for name, (what, test) in tests.items():
        if test is not None:
            text = f"The p-value of the classifier test with {what.lower()} is {test.p_value:.2g}."
            found.append(judge.p_value(name, "auc_p_value", test.p_value, text))
    if results.energy is not None:
        p_value = results.energy.p_value
        found.append(
            judge.p_value("energy", "energy_p_value", p_value, f"The p-value of the energy test is {p_value:.2g}.")
        )
    return found


def _visible(name: str, test: ClassifierTest, judge: _Judge) -> Finding:
    """Rank test of the expected events against many model events: the AUC of a right model has variance 1/(12 n)."""
    scale = math.sqrt(12 * judge.n_expected)
    value, error = scale * (test.auc - 0.5), scale * test.auc_error
    text = (
        f"A rank test with these scores and {judge.n_expected:g} events would see the difference at "
        f"{max(value, 0.0):.1f} +- {error:.1f} standard deviations."
    )
    return judge.effect(name, "visible", value, error, text)


def _spectra(results: Results, judge: _Judge) -> list[Finding]:
    found = []
    if results.divergences is not None:
        pairs = [(o.observable.name, o.kullback_leibler) for o in results.divergences]
        name, worst = max(pairs, key=lambda pair: pair[1].value - pair[1].baseline)
        value, error = worst.value - worst.baseline, math.hypot(worst.error, worst.baseline_error)
        text = (
            f"The spectrum of {name} differs most: {value:.4f} +- {error:.4f} nats above the baseline, as if it were "
            f"off by {100 * math.sqrt(2 * max(value, 0.0)):.0f} % (root mean square)."
        )
        found.append(judge.effect("divergences", "divergence", value, error, text, n_sigma=N_SIGMA_OF_MANY))
    if results.coverage is not None:
        whole = results.coverage[0]
        gap = whole.observed - whole.levels
        worst_level = int(np.argmax(np.abs(gap)))
        level, inside, error = (values[worst_level] for values in (whole.levels, whole.observed, whole.error))
        text = (
            f"Highest-density regions of {100 * level:.0f} % hold {100 * inside:.1f} +- {100 * error:.1f} % of the "
            "events, which is the largest difference."
        )
        values = (abs(float(gap[worst_level])), float(error))
        found.append(judge.effect("coverage", "coverage", *values, text, n_sigma=N_SIGMA_OF_MANY))
    if results.pull_frequencies is not None:
        observed, expected = (100 * value for value in results.pull_frequencies.beyond(3.0))
        text = f"{observed:.2g} % of the two-dimensional bins have pulls beyond 3, {expected:.2g} % are expected."
        found.append(_information("pull_frequencies", observed / 100, 0.0, text))
    return found


def _factors(results: Results, judge: _Judge) -> list[Finding]:
    calibration = results.calibration
    if calibration is None:
        return []
    found = []
    for threshold, values in {
        "shift": [(abs(f.shift), f.shift_error, f"{f.shift:+.3f}", f.observable.name) for f in calibration.factors],
        "width": [(abs(f.width - 1), f.width_error, f"{f.width:.3f}", f.observable.name) for f in calibration.factors],
    }.items():
        value, error, shown, name = max(values, key=lambda entry: entry[0])
        what = "lies off by {} widths" if threshold == "shift" else "has {} times the width"
        text = f"The simulation of {name}, given the observables before, {what.format(f'{shown} +- {error:.3f}')}"
        text += " of the model, which is the largest difference."
        found.append(judge.effect("calibration", threshold, value, error, text, n_sigma=N_SIGMA_OF_MANY))
    p_value = calibration.p_value
    text = f"The p-value of the calibration is {p_value:.2g}."
    return [*found, judge.p_value("calibration", "calibration_p_value", p_value, text)]


def _theta(results: Results, judge: _Judge) -> list[Finding]:
    found = []
    if results.score is not None:
        text = f"The p-value of the mean scores is {results.score.p_value:.2g}."
        found.append(judge.p_value("score", "score_p_value", results.score.p_value, text))
    if results.closure is not None:
        valid = f"{results.closure.is_valid.sum()} of {len(results.closure.is_valid)} fits are valid"
        text = f"The p-value of the closure fits is {results.closure.p_value:.2g}; {valid}."
        found.append(judge.p_value("closure", "closure_p_value", results.closure.p_value, text))
    if results.information is not None:
        ratios, errors = results.information.ratio, results.information.ratio_error
        for name, ratio, error in zip(results.information.theta_names, ratios.T, errors.T, strict=True):
            mean, mean_error = _mean(ratio, error)
            text = f"The likelihood states {mean:.3f} +- {mean_error:.3f} times the information on {name} that it has."
            found.append(_information("information", mean, mean_error, text))
    if results.reweighting is not None:
        p_value = min(1.0, len(results.reweighting) * min(entry.p_value for entry in results.reweighting))
        text = f"The p-value of the reweighted spectra is {p_value:.2g}."
        found.append(_information("reweighting", p_value, 0.0, text))
    if results.comparison is not None:
        worst = min(results.comparison, key=lambda entry: entry.difference / entry.difference_error)
        text = (
            "The log-loss of a classifier of two theta, minus that of the density's likelihood ratio, is "
            f"{worst.difference:+.4f} +- {worst.difference_error:.4f} nats where the classifier does best."
        )
        found.append(_information("comparison", worst.difference, worst.difference_error, text))
    return found


def _information(diagnostic: str, value: float, error: float, text: str) -> Finding:
    """A finding that is not judged."""
    return Finding(diagnostic, None, float(value), float(error), None, None, False, text)


def _mean(values: Sequence[float] | np.ndarray, errors: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Weighted mean of measurements, with its error."""
    weights = 1 / np.square(errors)
    return float(np.average(values, weights=weights)), float(1 / np.sqrt(weights.sum()))
