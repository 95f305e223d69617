"""feldman_cousins: confidence sets that cover whatever the true value is, also at limits of a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfit_egmm.inference.hypotheses.profile_ratio import ProfileRatio, check_best, kept, name_of, notes_on_fits
from zfit_egmm.inference.hypotheses.ratio_toys import TIE, run_ratio_toys
from zfit_egmm.inference.likelihood.minimum import as_likelihood, check_values
from zfit_egmm.inference.likelihood.undefined_shapes import undefined_at
from zfit_egmm.inference.likelihood.weighted import check_unweighted
from zfit_egmm.inference.scans.crossing import crossings
from zfit_egmm.inference.toys.settings import ToySettings, notes_on_toys, rounded_values

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Construction:
    """The numerical part of a Neyman construction.

    Args:
        critical: Largest accepted test statistic at each value, shape ``(n_values,)``.
        critical_errors: Its error from the number of toys, same shape.
        accepted: Whether each value is in the confidence set, same shape.
        intervals: The confidence set: lower and upper ends, from low to high values.
    """

    critical: np.ndarray
    critical_errors: np.ndarray
    accepted: np.ndarray
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, eq=False)
class ConfidenceSet:
    """Confidence set of a parameter.

    Args:
        parameter: Name of the parameter.
        values: Scanned true values, shape ``(n_values,)``.
        q_observed: Test statistic of the data at each, same shape.
        critical: Largest accepted test statistic at each, same shape.
        critical_errors: Its error from the number of toys, same shape.
        accepted: Whether each value is in the set, same shape.
        intervals: The set: lower and upper ends of its intervals. An end that is the first or last scanned value is
            no end of the set, unless it is a limit of the parameter; ``notes`` say so.
        level: Confidence level.
        n_toys: Toys at each value.
        notes: What the reader should know, in sentences.
    """

    parameter: str
    values: np.ndarray
    q_observed: np.ndarray
    critical: np.ndarray
    critical_errors: np.ndarray
    accepted: np.ndarray
    intervals: tuple[Interval, ...]
    level: float
    n_toys: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        where = " and ".join(f"[{low:.4g}, {high:.4g}]" for low, high in self.intervals) or "no scanned value"
        head = f"{self.parameter} at {100 * self.level:g} % confidence (Feldman-Cousins, {self.n_toys} toys per value)"
        return "\n".join([f"{head}: {where}", *self.notes])


def construct(
    values: Sequence[float] | np.ndarray,
    q_observed: Sequence[float] | np.ndarray,
    q_toys: Sequence[np.ndarray] | np.ndarray,
    level: float,
) -> Construction:
    """Compare the test statistic of data with that of toys.

    Args:
        values: Scanned true values, increasing, shape ``(n_values,)``.
        q_observed: Test statistic of the data at each, same shape.
        q_toys: For each value the test statistics of toys drawn there, shapes ``(n_toys,)``.
        level: Confidence level.

    Raises:
        ValueError: If shapes do not match, or the level is no probability.

    Source:
        Feldman and Cousins, Phys. Rev. D 57 (1998) 3873.
    """
    values, q_observed = np.asarray(values, dtype=float), np.asarray(q_observed, dtype=float)
    if not len(values) == len(q_observed) == len(q_toys) or len(values) < 2 or np.any(np.diff(values) <= 0):
        raise ValueError(
            f"values must increase, with one test statistic and one set of toys for each: got {len(values)} values, "
            f"{len(q_observed)} test statistics and {len(q_toys)} sets of toys"
        )
    if not 0 < level < 1:
        raise ValueError(f"level is a confidence level between 0 and 1, such as 0.9, got {level!r}")
    critical = np.array([_quantile(toys, level) for toys in q_toys])
    spread = [np.sqrt(level * (1 - level) / len(toys)) for toys in q_toys]
    errors = [
        0.5 * (_quantile(toys, min(level + s, 1.0)) - _quantile(toys, max(level - s, 0.0)))
        for toys, s in zip(q_toys, spread, strict=True)
    ]
    # The same rounding for data and toys: a tie is accepted.
    excess = q_observed - critical - TIE
    return Construction(critical, np.array(errors), excess < 0, _intervals(values, excess))


def feldman_cousins(  # noqa: PLR0913 - a scan and toys
    loss: Any,
    parameter: Any,
    values: Sequence[float],
    *,
    level: float = 0.9,
    n_toys: int = 1000,
    seed: int = 0,
    workers: Any = 1,
    make: Callable[[], Any] | None = None,
    path: Any = None,
    progress: bool = True,
    starts: Sequence[Mapping[str, float]] = (),
) -> ConfidenceSet:
    """Confidence set of a parameter by a Neyman construction with likelihood-ratio ordering.

    For every scanned true value, the test statistic ``-2 ln [L(value) / L(best)]``, with the best fit inside the limits
    of the parameter, is compared with that of toys drawn there. Other parameters are profiled; toys have them at their
    best fit to the data for the value, so that coverage is exact only where the distribution of the test statistic does
    not depend on them. Auxiliary measurements of constraints fluctuate.

    Args:
        loss: An unbinned zfit loss, or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`, with the data.
        parameter: The parameter, or its name.
        values: True values to scan, best with steps of a fraction of the error.
        level: Confidence level.
        n_toys: Toys at each value.
        seed: Seed of everything random.
        workers: Where toys run: 1 for this process, a larger number for that many new ones, or a Dask client.
        make: Function that returns the loss, for toys in other processes.
        path: File for the results of toys; the same call goes on where it was interrupted.
        progress: Whether to show a progress bar of toys.
        starts: Starts of every fit, where several minima are expected.

    Raises:
        ValueError: If an argument makes no sense.
        RuntimeError: If the fit to the data fails.

    Source:
        Feldman and Cousins, Phys. Rev. D 57 (1998) 3873.
    """
    likelihood = as_likelihood(loss)
    check_unweighted(likelihood)
    name = name_of(likelihood, parameter)
    tested = np.unique(rounded_values(values))
    for value in tested:
        check_values(likelihood, {name: float(value)})
    settings = ToySettings(n_toys, seed, workers, make, path, progress)
    with kept(likelihood):
        undefined = undefined_at(likelihood, name, tested)
        data = ProfileRatio(likelihood, name, starts=starts, undefined=undefined, seed=seed)
        check_best(data)
        q_observed = data.ratios(tested)
        points = [data.at(float(value)).values for value in tested]
        to_test = {float(value): (float(value),) for value in tested}
        results = run_ratio_toys(likelihood, name, to_test, points, settings, starts)
    q_toys = [results.column("ratio_0", number, valid=True) for number in range(len(tested))]
    found = construct(tested, q_observed, q_toys, level)
    notes = _notes_on_ends(found, tested, likelihood.limits[name]) + notes_on_fits(data) + notes_on_toys(results)
    return ConfidenceSet(
        parameter=name,
        values=tested,
        q_observed=q_observed,
        critical=found.critical,
        critical_errors=found.critical_errors,
        accepted=found.accepted,
        intervals=found.intervals,
        level=level,
        n_toys=n_toys,
        notes=tuple(notes),
    )


def _quantile(toys: np.ndarray, level: float) -> float:
    """Smallest test statistic that at least this part of the toys does not exceed."""
    return float(np.quantile(toys, level, method="inverted_cdf"))


def _intervals(values: np.ndarray, excess: np.ndarray) -> tuple[Interval, ...]:
    """Where a curve is negative."""
    ends = crossings(values, excess)
    if excess[0] < 0:
        ends = [float(values[0]), *ends]
    if excess[-1] < 0:
        ends = [*ends, float(values[-1])]
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def _notes_on_ends(found: Construction, values: np.ndarray, limits: Interval) -> list[str]:
    notes = []
    for value, accepted, limit, where in (
        (values[0], found.accepted[0], limits[0], "below"),
        (values[-1], found.accepted[-1], limits[1], "above"),
    ):
        if accepted and value != limit:
            notes.append(f"The set may go on {where} {value:g}, where the scan ends: scan further.")
    if not found.accepted.any():
        notes.append("None of the scanned values is accepted: scan in smaller steps around the best fit.")
    return notes
