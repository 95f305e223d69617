"""upper_limit: CLs upper limits on a signal yield or another parameter, asymptotic or from toys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfit_egmm.inference.hypotheses.limit_search import FoundLimits, LimitSearch
from zfit_egmm.inference.hypotheses.profile_ratio import (
    ProfileRatio,
    asimov_ratio,
    check_best,
    check_method,
    kept,
    name_of,
)
from zfit_egmm.inference.likelihood.asimov import ASIMOV_EVENTS
from zfit_egmm.inference.likelihood.minimum import as_likelihood, check_values
from zfit_egmm.inference.likelihood.undefined_shapes import check_defined, starts_in, undefined_shapes
from zfit_egmm.inference.likelihood.weighted import check_unweighted
from zfit_egmm.inference.toys.settings import ToySettings


@dataclass(frozen=True, eq=False)
class Limits:
    """CLs upper limits on a parameter.

    Expected results are those without a signal, in the order -2, -1, 0 (median), 1 and 2 standard deviations by which
    the data fluctuate upwards.

    Args:
        parameter: Name of the parameter.
        values: Tested values, shape ``(n,)``.
        observed: Observed CLs, shape ``(n,)``.
        expected: Expected CLs, shape ``(5, n)``.
        errors: Errors of the observed CLs from the number of toys, shape ``(n,)``; ``None`` without toys.
        level: Confidence level.
        observed_limit: Upper limit of the data.
        expected_limits: Expected upper limits, shape ``(5,)``; NaN where the tested values do not reach.
        limit_errors: Errors of the limits from the number of toys, shape ``(6,)``, the observed one first; ``None``
            without toys.
        method: ``"asymptotic"`` or ``"toys"``.
        notes: What the reader should know, in sentences.
    """

    parameter: str
    values: np.ndarray
    observed: np.ndarray
    expected: np.ndarray
    errors: np.ndarray | None
    level: float
    observed_limit: float
    expected_limits: np.ndarray
    limit_errors: np.ndarray | None
    method: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        low2, low, median, high, high2 = (f"{limit:.4g}" for limit in self.expected_limits)
        observed = f"{self.observed_limit:.4g}"
        if self.limit_errors is not None:
            observed += f" +- {self.limit_errors[0]:.2g}"
            median += f" +- {self.limit_errors[3]:.2g}"
        lines = [
            f"Upper limit on {self.parameter} at {100 * self.level:g} % confidence (CLs, {self.method}): {observed}",
            f"Expected without a signal: {median} (68 %: {low} to {high}, 95 %: {low2} to {high2})",
        ]
        return "\n".join([*lines, *self.notes])


def upper_limit(  # noqa: PLR0913 - a limit, a scan and toys
    loss: Any,
    parameter: Any,
    *,
    level: float = 0.95,
    method: str = "asymptotic",
    n_toys: int = 1000,
    values: Sequence[float] | None = None,
    alternative: float = 0.0,
    seed: int = 0,
    workers: Any = 1,
    make: Callable[[], Any] | None = None,
    path: Any = None,
    progress: bool = True,
    asimov_events: int = ASIMOV_EVENTS,
) -> Limits:
    """CLs upper limit on a signal yield, or on another parameter.

    The test statistic is ``-2 ln [L(value) / L(best)]``, zero where the best fit is above the value, with the best fit
    inside the limits of the parameter: with a lower limit at zero this is q-tilde. Other parameters are profiled.

    Toys have the other parameters at their best fit to the data for the tested value, and auxiliary measurements of
    constraints that fluctuate. With toys, the same ones without a signal serve all tested values.

    Args:
        loss: An unbinned zfit loss, or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`, with the data.
        parameter: The parameter, or its name.
        level: Confidence level.
        method: ``"asymptotic"``, for many events, or ``"toys"``.
        n_toys: Toys with a signal for each tested value, and toys without one.
        values: Values to test. Default: a range that holds all limits.
        alternative: Value of the parameter without a signal.
        seed: Seed of everything random.
        workers: Where toys run: 1 for this process, a larger number for that many new ones, or a Dask client.
        make: Function that returns the loss, for toys in other processes.
        path: File for the results of toys; the same call goes on where it was interrupted.
        progress: Whether to show a progress bar of toys.
        asimov_events: Events of the Asimov sample of each model.

    Returns:
        Observed and expected CLs at the tested values, and the limits.

    Raises:
        ValueError: If an argument makes no sense, the tested values do not reach the observed limit, or, without
            toys, the signal has free shape parameters, which mean nothing without a signal.
        RuntimeError: If the fit to the data fails.

    Source:
        Cowan, Cranmer, Gross and Vitells, arXiv:1007.1727; Read, "Presentation of search results: the CLs technique".
    """
    likelihood = as_likelihood(loss)
    name = name_of(likelihood, parameter)
    check_method(method)
    if method == "toys":
        check_unweighted(likelihood)
    if not 0.5 < level < 1:
        raise ValueError(f"level is a confidence level between 0.5 and 1, such as 0.95, got {level!r}")
    check_values(likelihood, {name: alternative})
    undefined = undefined_shapes(likelihood, name, alternative)
    if method == "asymptotic":
        check_defined(undefined, name, alternative)
    starts = starts_in(likelihood, undefined)
    settings = ToySettings(n_toys, seed, workers, make, path, progress)
    with kept(likelihood):
        data = ProfileRatio(likelihood, name, starts=starts, undefined={float(alternative): undefined}, seed=seed)
        check_best(data)
        without = data.at(float(alternative)).values
        asimov = asimov_ratio(likelihood, name, without, n_events=asimov_events, seed=seed)
        search = LimitSearch(likelihood, name, float(alternative), level, data, asimov)
        if method == "asymptotic":
            return _checked(search.asymptotic(values), search, method)
        return _checked(search.toys(values, settings, starts), search, method)


def _checked(found: FoundLimits, search: LimitSearch, method: str) -> Limits:
    """The result, if the observed limit was reached."""
    name, values, notes = search.parameter, found.values, found.notes
    if np.isnan(found.limits[0]):
        raise ValueError(
            f"the limit on {name} is not among the tested values, {values[0]:g} to {values[-1]:g}: CLs is "
            f"{found.curves[0, -1]:.2g} at the last; test larger values, and set the upper limit of the parameter "
            f"({search.likelihood.limits[name][1]:g}) accordingly"
        )
    if np.isnan(found.limits[1:]).any():
        notes = (*notes, "Some expected limits lie above the tested values.")
    return Limits(
        parameter=name,
        values=values,
        observed=found.curves[0],
        expected=found.curves[1:],
        errors=None if found.curve_errors is None else found.curve_errors[0],
        level=search.level,
        observed_limit=float(found.limits[0]),
        expected_limits=found.limits[1:],
        limit_errors=found.limit_errors,
        method=method,
        notes=notes,
    )
