"""discovery: p-value and significance of a signal, asymptotic or from toys."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from zfit_egmm.inference.hypotheses.profile_ratio import (
    ProfileRatio,
    check_best,
    check_method,
    kept,
    name_of,
    notes_on_fits,
)
from zfit_egmm.inference.hypotheses.ratio_toys import above, run_ratio_toys
from zfit_egmm.inference.likelihood.minimum import as_likelihood, check_values
from zfit_egmm.inference.likelihood.undefined_shapes import check_defined, starts_in, undefined_shapes
from zfit_egmm.inference.likelihood.weighted import check_unweighted
from zfit_egmm.inference.toys.settings import ToySettings, notes_on_toys

FEW_TOYS = 10
"""With fewer toys beyond the data, the p-value is known poorly."""


@dataclass(frozen=True)
class Significance:
    """How well data agree with the absence of a signal.

    Args:
        parameter: Name of the parameter.
        null: Its value without a signal.
        best: Its best fit.
        p_value: Probability of data that look at least as much like a signal.
        significance: The same in standard deviations of a Gaussian, one-sided.
        error: Error of the p-value from the number of toys; ``None`` without toys.
        n_toys: Toys with a valid fit; zero without toys.
        notes: What the reader should know, in sentences.
    """

    parameter: str
    null: float
    best: float
    p_value: float
    significance: float
    error: float | None
    n_toys: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        error = "" if self.error is None else f" +- {self.error:.1g}"
        how = f"{self.n_toys} toys" if self.n_toys else "asymptotic"
        head = f"{self.parameter} = {self.best:.4g} against {self.null:g}: {self.significance:.2f} standard deviations"
        return "\n".join([f"{head}, p-value {self.p_value:.3g}{error} ({how})", *self.notes])


def discovery(  # noqa: PLR0913 - a test and toys
    loss: Any,
    parameter: Any,
    *,
    null: float = 0.0,
    method: str = "asymptotic",
    n_toys: int = 1000,
    seed: int = 0,
    workers: Any = 1,
    make: Callable[[], Any] | None = None,
    path: Any = None,
    progress: bool = True,
    starts: Sequence[Mapping[str, float]] = (),
) -> Significance:
    """Test whether there is a signal.

    The test statistic is ``q_0 = -2 ln [L(null) / L(best)]``, zero where the best fit is below ``null``. Asymptotically
    its root is the significance. Toys are drawn without a signal, with the other parameters at their best fit to the
    data and with auxiliary measurements that fluctuate; the data count as one more toy, so that the p-value is never
    zero.

    Parameters of the shape of the signal mean nothing without one. If they are free, only toys give the p-value: it is
    then that of a signal with any values within their limits (global), and every fit has several starts.

    Args:
        loss: An unbinned zfit loss, or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`, with the data.
        parameter: The parameter, such as the yield of the signal, or its name.
        null: Its value without a signal.
        method: ``"asymptotic"``, for many events, or ``"toys"``.
        n_toys: Number of toys.
        seed: Seed of everything random.
        workers: Where toys run: 1 for this process, a larger number for that many new ones, or a Dask client.
        make: Function that returns the loss, for toys in other processes.
        path: File for the results of toys; the same call goes on where it was interrupted.
        progress: Whether to show a progress bar of toys.
        starts: Starts of every fit, where several minima are expected. Default: values of free shape parameters of
            the signal, spread over their limits.

    Raises:
        ValueError: If an argument makes no sense or, without toys, the signal has free shape parameters.
        RuntimeError: If the fit to the data fails.

    Source:
        Cowan, Cranmer, Gross and Vitells, arXiv:1007.1727, sections 2.3 and 3.5.
    """
    likelihood = as_likelihood(loss)
    name = name_of(likelihood, parameter)
    check_method(method)
    if method == "toys":
        check_unweighted(likelihood)
    check_values(likelihood, {name: null})
    undefined = undefined_shapes(likelihood, name, null)
    if method == "asymptotic":
        check_defined(undefined, name, null)
    starts = tuple(starts) or starts_in(likelihood, undefined)
    settings = ToySettings(n_toys, seed, workers, make, path, progress)
    with kept(likelihood):
        data = ProfileRatio(likelihood, name, starts=starts, undefined={float(null): undefined}, seed=seed)
        check_best(data)
        q = data.q_discovery(null)
        notes = notes_on_fits(data)
        if method == "asymptotic":
            notes += _asymptotic_notes(q)
            return Significance(
                name, null, data.estimate, float(ndtr(-math.sqrt(q))), math.sqrt(q), None, 0, tuple(notes)
            )
        truth = data.at(null).values
        results = run_ratio_toys(likelihood, name, {null: (null,)}, [truth], settings, starts)
    ratios, best = (results.column(column, valid=True) for column in ("ratio_0", "best"))
    n_valid = len(ratios)
    n_above = int(above(np.where(best < null, 0.0, ratios), q).sum())
    p_value = (n_above + 1) / (n_valid + 1)
    notes += _toy_notes(n_above, undefined) + notes_on_toys(results)
    error = math.sqrt(p_value * (1 - p_value) / (n_valid + 1))
    return Significance(name, null, data.estimate, p_value, -float(ndtri(p_value)), error, n_valid, tuple(notes))


def _asymptotic_notes(q: float) -> list[str]:
    notes = []
    if q == 0:
        notes.append("The best fit is not above the value without a signal: the p-value is at least one half.")
    return notes


def _toy_notes(n_above: int, undefined: Sequence[str]) -> list[str]:
    notes = []
    if undefined:
        names = ", ".join(undefined)
        notes.append(f"The p-value is global: it holds for a signal with any {names} within the limits of the fit.")
    if n_above < FEW_TOYS:
        notes.append(
            f"Only {n_above} toys look as much like a signal as the data do, so that the p-value is rough: make more."
        )
    return notes
