"""fit: the minimum of a likelihood with Minuit, with some parameters fixed if wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minuit_fit import Found, minimise
from zfit_egmm.inference.likelihood.natural_steps import Evaluated, InUnits
from zfit_egmm.inference.likelihood.weighted import NOT_CORRECTED, Covariances, notes_on_data, sandwich

AT_LIMIT = 1e-3
"""A parameter this close to a limit, in units of its error, counts as at the limit."""
ERRORS_FROM_LIMIT = 0.1
"""The same if the likelihood wants to go on beyond the limit."""

NOISE = 1e-4
"""Differences of the negative log-likelihood that the tolerance of a fit explains."""

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
            asked for. For weighted events by the sandwich formula, see :mod:`zfit_egmm.inference.likelihood.weighted`.
        nll: Negative log-likelihood, without constants.
        is_valid: Whether Minuit calls it a minimum, with a finite likelihood that is not worse than at the start, and
            all events have a positive density, except for those that no term of the model describes at the start
            either.
        at_limit: Parameters that floated and ended at one of their limits, where a Hesse error means nothing.
        n_calls: Evaluations of the likelihood, gradients included.
        n_tries: Fits from different starts until one was valid.
        reason: Why it is not valid, in words; empty if it is.
        clipped_share: Share of events that have no positive density there, and count with the smallest one.
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
    reason: str = ""
    clipped_share: float = 0.0
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
        steps: Expected errors of parameters, if known: they save evaluations.
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
        results = [
            _fit_once(likelihood, {**first, **other, **fixed}, fixed, steps, hesse=hesse) for other in ({}, *starts)
        ]
        found, lengths = [one for one, _ in results], results[0][1]
        rng = np.random.default_rng(seed)
        tries = 1
        while not any(one.is_valid for one in found) and tries < MOST_TRIES:
            shifted = _shifted(likelihood, first, fixed, lengths, rng)
            found.append(_fit_once(likelihood, shifted, fixed, steps, hesse=hesse)[0])
            tries += 1
    best = min(found, key=lambda one: (not one.is_valid, one.nll if math.isfinite(one.nll) else math.inf))
    return replace(best, n_calls=sum(one.n_calls for one in found), n_tries=tries)


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
) -> tuple[Minimum, np.ndarray]:
    """A fit from one start, and the natural steps of the parameters there."""
    floating = [name for name in likelihood.names if name not in fixed]
    full = np.array([start[name] for name in likelihood.names])
    counted = InUnits(likelihood)
    if not floating:
        nll = likelihood.value(full, [])
        is_finite, share = math.isfinite(nll), _clipped_share(likelihood)
        reason = "" if is_finite else "the likelihood is no finite number"
        return Minimum(dict(start), {}, None, nll, is_finite, (), 1, 1, reason, share), np.ones(0)
    ended = minimise(counted, full, floating, steps)
    nll, slopes = counted.value_and_gradient(ended.at, floating)
    share = _clipped_share(likelihood)
    reason = _why_not_valid(ended, nll, likelihood)
    values = dict(zip(likelihood.names, ended.at.tolist(), strict=True))
    rough = dict(zip(floating, ended.errors.tolist(), strict=True))
    notes = notes_on_data(likelihood, values, floating) if likelihood.n_undescribed else []
    found = covariances(likelihood, values, rough) if hesse and not reason else None
    errors = rough if found is None else dict(zip(floating, np.sqrt(np.diag(found.full)).tolist(), strict=True))
    slope_of = dict(zip(likelihood.names, slopes.tolist(), strict=True))
    at_limit = tuple(
        name for name in floating if _is_at_limit(values[name], errors[name], slope_of[name], likelihood.limits[name])
    )
    return (
        Minimum(
            values=values,
            errors=errors,
            covariance=None if found is None else found.full,
            nll=float(nll * likelihood.data.unit),
            is_valid=not reason,
            at_limit=at_limit,
            n_calls=counted.n_calls + (2 * len(floating) if found is not None else 0),
            n_tries=1,
            reason=reason,
            clipped_share=share,
            inverse_hessian=None if found is None else found.plain,
            notes=tuple(notes),
        ),
        ended.steps,
    )


def _why_not_valid(ended: Found, nll: float, likelihood: Likelihood) -> str:
    """Why the end of a fit is no minimum; empty if it is one. The last evaluation was there."""
    if not math.isfinite(nll):
        return "the likelihood is no finite number"
    n_lost = likelihood.n_clipped + likelihood.n_undescribed
    is_empty = likelihood.n_undescribed > ended.n_undescribed or 0 < likelihood.n_events <= likelihood.n_undescribed
    if likelihood.n_clipped or is_empty:
        return (
            f"{n_lost} of {likelihood.n_events} events ({_clipped_share(likelihood):.2g} of all) have no "
            "positive density, so that their likelihood is cut off: start elsewhere, set limits that keep the density "
            "positive, or remove events that the model does not describe"
        )
    if nll > ended.start_nll + NOISE:
        return f"the negative log-likelihood is {nll - ended.start_nll:.3g} higher than at the start"
    return "" if ended.is_valid else "Minuit found no minimum"


def _clipped_share(likelihood: Likelihood) -> float:
    """Share of events without a positive density in the last evaluation."""
    return (likelihood.n_clipped + likelihood.n_undescribed) / max(likelihood.n_events, 1)


def covariances(likelihood: Likelihood, values: Mapping[str, float], errors: Mapping[str, float]) -> Covariances | None:
    """Inverse of the second derivatives, and the covariance, which is another one if events are weighted.

    Args:
        likelihood: The likelihood.
        values: All parameters, at a minimum.
        errors: Rough errors of the parameters that float.

    Returns:
        ``None`` if the second derivatives are not positive definite.
    """
    scaled = covariance(InUnits(likelihood), values, errors)
    if scaled is None:
        return None
    plain = scaled / likelihood.data.unit
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


def covariance(likelihood: Evaluated, values: Mapping[str, float], errors: Mapping[str, float]) -> np.ndarray | None:
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
        length = errors[name]
        for _ in range(2):
            gradients, places = [], []
            for sign in (-1, 1):
                at = centre.copy()
                at[rows[number]] = np.clip(centre[rows[number]] + sign * HESSE_STEP * length, low, high)
                gradients.append(likelihood.value_and_gradient(at, names)[1][rows])
                places.append(at[rows[number]])
            hessian[number] = (gradients[1] - gradients[0]) / (places[1] - places[0])
            # At a limit a rough error can be far from the length over which the likelihood bends.
            better = 1 / math.sqrt(abs(hessian[number, number])) if hessian[number, number] else length
            if not (math.isfinite(better) and (better > 100 * length or better < 0.01 * length)):
                break
            length = better
    hessian = 0.5 * (hessian + hessian.T)
    scale = np.sqrt(np.abs(np.diag(hessian)))
    if not (np.all(np.isfinite(hessian)) and np.all(scale > 0)):
        return None
    if np.linalg.eigvalsh(hessian / np.outer(scale, scale)).min() <= SINGULAR:
        return None
    return np.linalg.inv(hessian / np.outer(scale, scale)) / np.outer(scale, scale)


def _is_at_limit(value: float, error: float, slope: float, limits: tuple[float, float]) -> bool:
    """Whether a limit stops a parameter: the likelihood still rises there, or the best fit just reaches it."""
    low, high = limits
    close, near = AT_LIMIT * min(error, high - low), ERRORS_FROM_LIMIT * error
    # Where a parabola with this slope would have its minimum.
    wanted = value - slope * error**2
    return any(
        distance <= close or (distance < near and is_beyond)
        for distance, is_beyond in ((value - low, wanted <= low), (high - value, wanted >= high))
    )


def _shifted(
    likelihood: Likelihood,
    first: Mapping[str, float],
    fixed: Mapping[str, float],
    steps: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, float]:
    """The first start moved by about a natural step in every parameter that floats, inside the limits."""
    result = dict(first)
    floating = [name for name in likelihood.names if name not in fixed]
    for name, step in zip(floating, steps, strict=True):
        result[name] = float(np.clip(first[name] + step * rng.normal(), *likelihood.limits[name]))
    return result
