"""fit: the minimum of a likelihood with Minuit, with some parameters fixed if wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import iminuit
import numpy as np

from zfit_egmm.inference.likelihood import Likelihood
from zfit_egmm.inference.weighted import NOT_CORRECTED, Covariances, notes_on_data, sandwich

ERRORDEF = 0.5
TOLERANCE = 1e-4
"""Of Minuit: ln L is within about 1e-7 of its maximum, and parameters within 5e-4 of an error of their best fit."""
AT_LIMIT = 1e-3
ERRORS_FROM_LIMIT = 0.1
"""A parameter this close to a limit, in units of its allowed range and of its error, counts as at the limit."""

MOST_TRIES = 4

HESSE_STEP = 0.02
"""Step of the differences of gradients, in units of the rough error."""

SINGULAR = 1e-10


@dataclass(frozen=True, eq=False)
class Minimum:
    """A minimum of a negative log-likelihood.

    Args:
        values: Value of every parameter, fixed ones included.
        errors: Hesse errors of the parameters that floated; without Hesse, Minuit's rough estimates.
        covariance: Of the parameters that floated, in the order of ``errors``; ``None`` if Hesse failed or was not
            asked for. For weighted events by the sandwich formula, see :mod:`zfit_egmm.inference.weighted`.
        nll: Negative log-likelihood, without constants.
        is_valid: Whether Minuit calls it a valid minimum, with a finite likelihood.
        at_limit: Parameters that floated and ended at one of their limits, where a Hesse error means nothing.
        n_calls: Evaluations of the likelihood, gradients included.
        n_tries: Fits from different starts until one was valid.
        inverse_hessian: Inverse of the second derivatives, the same as ``covariance`` unless events are weighted.
        notes: What the reader should know, in sentences.
    """

    values: dict[str, float]
    errors: dict[str, float]
    covariance: np.ndarray | None
    nll: float
    is_valid: bool
    at_limit: tuple[str, ...]
    n_calls: int
    n_tries: int
    inverse_hessian: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def covariances(self) -> Covariances | None:
        """Both covariances, if Hesse was asked for and did not fail."""
        if self.covariance is None or self.inverse_hessian is None:
            return None
        return Covariances(tuple(self.errors), self.inverse_hessian, self.covariance)


def as_likelihood(loss: Any) -> Likelihood:
    """The likelihood of a zfit loss; a likelihood stays what it is, and takes over what has changed in its loss."""
    if not isinstance(loss, Likelihood):
        return Likelihood(loss)
    loss.follow()
    return loss


def fit(
    loss: Any,
    *,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: Sequence[Mapping[str, float]] = (),
    steps: Mapping[str, float] | None = None,
    hesse: bool = True,
    seed: int = 0,
) -> Minimum:
    """Minimise a negative log-likelihood with Minuit and exact gradients.

    A fit that fails is repeated from random starts around the first one. The parameters keep the values that they had.

    Args:
        loss: An unbinned zfit loss or a :class:`Likelihood`.
        start: Where to start. Default: the current values of the parameters.
        fixed: Parameters to hold at a value.
        starts: Further starts; the lowest minimum counts. Use them where several minima are expected.
        steps: Expected errors of parameters, for the first steps of Minuit.
        hesse: Whether to compute errors from the second derivatives.
        seed: Seed of the random starts.

    Raises:
        ValueError: If a parameter is unknown, or a value lies outside its limits.
    """
    likelihood = as_likelihood(loss)
    fixed = dict(fixed or {})
    with likelihood.restored():
        first = {**likelihood.values, **(start or {}), **fixed}
        for values in (first, *starts):
            check_values(likelihood, values)
        found = [
            _fit_once(likelihood, {**first, **other, **fixed}, fixed, steps, hesse=hesse) for other in ({}, *starts)
        ]
        rng = np.random.default_rng(seed)
        tries = 1
        while not any(one.is_valid for one in found) and tries < MOST_TRIES:
            shifted = _shifted(likelihood, first, fixed, rng)
            found.append(_fit_once(likelihood, shifted, fixed, steps, hesse=hesse))
            tries += 1
        best = min(found, key=lambda one: (not one.is_valid, one.nll if math.isfinite(one.nll) else math.inf))
        notes = notes_on_data(likelihood, best.values, list(best.errors))
    return replace(best, n_calls=sum(one.n_calls for one in found), n_tries=tries, notes=tuple(notes))


def check_values(likelihood: Likelihood, values: Mapping[str, float]) -> None:
    """Check names and limits.

    Raises:
        ValueError: If there is no such free parameter, or the value is no finite number inside the limits.
    """
    limits = likelihood.limits
    for name, value in values.items():
        if name not in limits:
            raise ValueError(f"{name!r} is no free parameter of the loss; there are {', '.join(limits)}")
        low, high = limits[name]
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(
                f"{name} = {value:g} lies outside the limits [{low:g}, {high:g}] of the parameter; choose a value "
                "inside, or widen the limits"
            )


def _fit_once(
    likelihood: Likelihood,
    start: Mapping[str, float],
    fixed: Mapping[str, float],
    steps: Mapping[str, float] | None,
    *,
    hesse: bool,
) -> Minimum:
    floating = [name for name in likelihood.names if name not in fixed]
    full = np.array([start[name] for name in likelihood.names])
    rows = [likelihood.names.index(name) for name in floating]
    n_calls = 0
    if not floating:
        nll = likelihood.value(full, [])
        return Minimum(dict(start), {}, None, nll, math.isfinite(nll), (), 1, 1)

    def value(at: np.ndarray) -> float:
        nonlocal n_calls
        n_calls += 1
        full[rows] = at
        return likelihood.value(full, floating)

    def gradient(at: np.ndarray) -> np.ndarray:
        nonlocal n_calls
        n_calls += 1
        full[rows] = at
        return likelihood.value_and_gradient(full, floating)[1][rows]

    minuit = iminuit.Minuit(value, full[rows].copy(), grad=gradient, name=floating)
    # So that the tolerance, too, counts in units of the typical weight.
    minuit.errordef = ERRORDEF * likelihood.data.unit
    minuit.tol = TOLERANCE
    minuit.strategy = 0
    limits = likelihood.limits
    for name in floating:
        minuit.limits[name] = limits[name]
        minuit.errors[name] = (steps or {}).get(name) or _step(likelihood, name, start[name], limits[name])
    minuit.migrad()
    if not minuit.valid:
        minuit.strategy = 1
        minuit.migrad()
    values = {**{name: float(start[name]) for name in likelihood.names}, **minuit.values.to_dict()}
    found = None
    if hesse and minuit.valid:
        found = covariances(likelihood, values, minuit.errors.to_dict())
        n_calls += 2 * len(floating)
    rough = np.array(minuit.errors) if found is None else np.sqrt(np.diag(found.full))
    errors = dict(zip(floating, rough.tolist(), strict=True))
    return Minimum(
        values=values,
        errors=errors,
        covariance=None if found is None else found.full,
        nll=float(minuit.fval),
        is_valid=bool(minuit.valid and math.isfinite(minuit.fval)),
        at_limit=tuple(name for name in floating if _is_at_limit(values[name], errors[name], limits[name])),
        n_calls=n_calls,
        n_tries=1,
        inverse_hessian=None if found is None else found.plain,
    )


def covariances(likelihood: Likelihood, values: Mapping[str, float], errors: Mapping[str, float]) -> Covariances | None:
    """Inverse of the second derivatives, and the covariance, which is another one if events are weighted.

    Args:
        likelihood: The likelihood.
        values: All parameters, at a minimum.
        errors: Rough errors of the parameters that float.

    Returns:
        ``None`` if the second derivatives are not positive definite.
    """
    plain = covariance(likelihood, values, errors)
    if plain is None:
        return None
    full = sandwich(likelihood, values, errors, plain) if likelihood.data.has_weighted_errors else plain
    return Covariances(tuple(errors), plain, full)


def known_covariances(likelihood: Likelihood, best: Minimum) -> Covariances:
    """Covariances of a best fit, whether or not Hesse was asked for.

    Raises:
        RuntimeError: If the second derivatives are not positive definite.
    """
    found = best.covariances
    if found is None:
        with likelihood.restored():
            found = covariances(likelihood, best.values, best.errors)
    if found is None:
        raise RuntimeError(NOT_CORRECTED)
    return found


def covariance(likelihood: Likelihood, values: Mapping[str, float], errors: Mapping[str, float]) -> np.ndarray | None:
    """Inverse of the second derivatives, from differences of exact gradients.

    Args:
        likelihood: The likelihood.
        values: All parameters, at a minimum.
        errors: Rough errors of the parameters to vary, for the size of the differences.

    Returns:
        Shape ``(n, n)``, in the order of ``errors``; ``None`` if the second derivatives are not positive definite.
    """
    names = list(errors)
    rows = [likelihood.names.index(name) for name in names]
    centre = np.array([values[name] for name in likelihood.names])
    hessian = np.empty((len(names), len(names)))
    limits = likelihood.limits
    for number, name in enumerate(names):
        low, high = limits[name]
        gradients, places = [], []
        for sign in (-1, 1):
            at = centre.copy()
            at[rows[number]] = np.clip(centre[rows[number]] + sign * HESSE_STEP * errors[name], low, high)
            gradients.append(likelihood.value_and_gradient(at, names)[1][rows])
            places.append(at[rows[number]])
        hessian[number] = (gradients[1] - gradients[0]) / (places[1] - places[0])
    hessian = 0.5 * (hessian + hessian.T)
    scale = np.sqrt(np.abs(np.diag(hessian)))
    if not (np.all(np.isfinite(hessian)) and np.all(scale > 0)):
        return None
    if np.linalg.eigvalsh(hessian / np.outer(scale, scale)).min() <= SINGULAR:
        return None
    return np.linalg.inv(hessian / np.outer(scale, scale)) / np.outer(scale, scale)


def _step(likelihood: Likelihood, name: str, value: float, limits: tuple[float, float]) -> float:
    """A first guess of the error of a parameter, for the first step of Minuit."""
    low, high = limits
    if any(name in part.coefficient_parameters for _, part in likelihood.flat) and value > 1:
        return math.sqrt(value)
    if math.isfinite(high - low):
        return 0.05 * (high - low)
    return max(0.1 * abs(value), 0.01)


def _is_at_limit(value: float, error: float, limits: tuple[float, float]) -> bool:
    low, high = limits
    margin = min(AT_LIMIT * (high - low), ERRORS_FROM_LIMIT * error)
    return value - low < margin or high - value < margin


def _shifted(
    likelihood: Likelihood, first: Mapping[str, float], fixed: Mapping[str, float], rng: np.random.Generator
) -> dict[str, float]:
    """The first start moved by about an error in every parameter that floats, inside the limits."""
    result = dict(first)
    for name, (low, high) in likelihood.limits.items():
        if name not in fixed:
            step = _step(likelihood, name, first[name], (low, high))
            result[name] = float(np.clip(first[name] + step * rng.normal(), low, high))
    return result
