"""What a diagnostic says, in one sentence, judged by its threshold.

Effects decide, not p-values: with enough held-out events every model fails a p-value, however small its faults are.
An effect is good if it lies below its threshold even with its error added twice, bad if it lies above with the error
subtracted twice, and unclear between: then there are too few held-out events to tell.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["good", "bad", "unclear"]

N_SIGMA = 2.0
N_SIGMA_OF_MANY = 3.0  # for the largest of many values


@dataclass(frozen=True)
class Threshold:
    """Limit of an effect, or of a p-value.

    Args:
        name: Its name, as ``Thresholds(name=...)`` and ``--threshold name=...`` take it.
        default: Its default; ``None`` if the number is shown, but not judged.
        meaning: What it limits, in words.
        is_decisive: Whether the verdict follows it unless it is told otherwise.
    """

    name: str
    default: float | None
    meaning: str
    is_decisive: bool = False


@dataclass(frozen=True)
class Finding:
    """What one diagnostic says.

    Args:
        diagnostic: Its name, a field of :class:`~zfit_egmm.diagnostics.report.entries.Results`.
        threshold: What it is judged by, a field of :class:`~zfit_egmm.diagnostics.Thresholds`; ``None`` if by nothing.
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
class Judge:
    """Makes the findings of a diagnostic.

    Args:
        diagnostic: Its name.
        limits: All thresholds by name.
        decisive: Names of those that the verdict follows.
        n_expected: Number of events of the measurement.
        results: :class:`~zfit_egmm.diagnostics.report.entries.Results` of all diagnostics.
    """

    diagnostic: str
    limits: Mapping[str, float | None]
    decisive: Collection[str]
    n_expected: float
    results: Any

    def effect(self, threshold: str, value: float, error: float, text: str, *, of_many: bool = False) -> Finding:
        """A finding on an effect that should be small; the largest of many effects is large by chance."""
        n_sigma = N_SIGMA_OF_MANY if of_many else N_SIGMA
        return self.finding(threshold, value, error, status_of(value, error, self.limits[threshold], n_sigma), text)

    def p_value(self, threshold: str, value: float, what: str, more: str = "") -> Finding:
        """A finding on the p-value of something."""
        limit = self.limits[threshold]
        status: Status | None = None
        if limit is not None and math.isfinite(value):
            status = "good" if value >= limit else "bad"
        return self.finding(threshold, value, 0.0, status, f"The p-value of {what} is {value:.2g}{more}.")

    def finding(self, threshold: str, value: float, error: float, status: Status | None, text: str) -> Finding:
        """A finding whose status is known."""
        is_decisive = threshold in self.decisive and status is not None
        limit = self.limits[threshold]
        return Finding(self.diagnostic, threshold, float(value), float(error), limit, status, is_decisive, text)

    def information(self, value: float, error: float, text: str) -> Finding:
        """A finding that is not judged."""
        return Finding(self.diagnostic, None, float(value), float(error), None, None, False, text)


def status_of(value: float, error: float, limit: float | None, n_sigma: float = N_SIGMA) -> Status | None:
    """Whether a value that should be small is below its limit."""
    if limit is None or not (math.isfinite(value) and math.isfinite(error)):
        return None
    if value - n_sigma * error > limit:
        return "bad"
    return "good" if value + n_sigma * error <= limit else "unclear"
