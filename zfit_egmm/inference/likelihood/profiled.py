"""Profiled: a likelihood as a function of a few parameters, with all others at their best values there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import Minimum, as_likelihood, check_values, fit, known_covariances
from zfit_egmm.inference.likelihood.natural_steps import InUnits, natural_steps
from zfit_egmm.inference.likelihood.warm_fit import warm_fit
from zfit_egmm.inference.likelihood.weighted import Covariances

NOISE = 3e-4
"""Differences of the negative log-likelihood that Minuit's tolerance explains."""

SAME_PLACE = 0.1
"""Minima closer than this in every parameter, in units of its error, are the same."""

RELEVANT = 16.0
"""Minima with more ``-2 Delta ln L`` than this are forgotten."""

MOST_MINIMA = 5
MOST_IMPROVEMENTS = 10
IMPOSSIBLE = 1e9
"""``-2 Delta ln L`` where the likelihood is no finite number."""


@dataclass(frozen=True)
class Point:
    """A fit of the other parameters.

    Args:
        values: All parameters.
        nll: Negative log-likelihood.
        is_valid: Whether it is a valid minimum.
    """

    values: dict[str, float]
    nll: float
    is_valid: bool


class Profiled:
    """The profile likelihood of a few parameters, and the minima that are known.

    Parameters that were fixed in ``minimum`` stay fixed. Fits leave the parameters of the likelihood at any value: use
    ``with likelihood.restored()``.

    Args:
        loss: An unbinned zfit loss or a :class:`Likelihood`.
        parameters: Names, or zfit parameters, that are not profiled.
        minimum: The best fit. Default: it is searched for.
        starts: Further starts of free fits, where several minima are expected.

    Raises:
        ValueError: If a parameter is unknown or fixed, or the minimum is one of another likelihood.
    """

    def __init__(
        self,
        loss: Any,
        parameters: Sequence[Any],
        *,
        minimum: Minimum | None = None,
        starts: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self.likelihood: Likelihood = as_likelihood(loss)
        self.names = tuple(getattr(parameter, "name", parameter) for parameter in parameters)
        for start in ({name: self.likelihood.values.get(name, 0.0) for name in self.names}, *starts):
            check_values(self.likelihood, start)
        first = fit(self.likelihood) if minimum is None else minimum
        self._held = {name: value for name, value in first.values.items() if name not in first.errors}
        self._check(first)
        self._noise = NOISE * self.likelihood.data.unit
        self.nuisances = tuple(name for name in self.likelihood.names if name not in {*self.names, *self._held})
        self.minima = [first]
        self._n_improvements = 0
        self._corrected: tuple[Minimum, Covariances] | None = None
        self._lowest: Point | Minimum = first
        self._covariance = self._conditional_covariance()
        for start in starts:
            self.look(start)
        self.improve()

    @property
    def best(self) -> Minimum:
        """The best fit: the lowest minimum known."""
        return self.minima[0]

    def ratio(self, found: Minimum | Point) -> float:
        """``-2 Delta ln L`` against the best fit, corrected if events are weighted."""
        if not math.isfinite(found.nll):
            return IMPOSSIBLE
        return self.scale(found.values) * 2 * (found.nll - self.best.nll)

    def scale(self, values: Mapping[str, float]) -> float:
        """What corrects ``-2 Delta ln L`` for weights, see :mod:`zfit_egmm.inference.likelihood.weighted`.

        Args:
            values: Where it is; one parameter alone has the same everywhere.

        Raises:
            RuntimeError: If the second derivatives at the best fit are not positive definite.
        """
        if not self.likelihood.data.has_weighted_errors:
            return 1.0
        if self._corrected is None or self._corrected[0] is not self.best:
            self._corrected = (self.best, known_covariances(self.likelihood, self.best))
        return self._corrected[1].scale({name: values[name] - self.best.values[name] for name in self.names})

    def at(self, values: Sequence[float], *starts: Mapping[str, float]) -> Point:
        """Fit the other parameters.

        Args:
            values: Of the parameters, in the order of ``names``.
            starts: Where to start; the lowest minimum counts. Default: the best fit.
        """
        fixed = {**self._held, **{name: float(v) for name, v in zip(self.names, values, strict=True)}}
        places = starts[: None if self.nuisances else 1] or (self.best.values,)
        found = lower(*(self._conditional(self.inside({**start, **fixed}), fixed) for start in places))
        if found.nll < self._lowest.nll:
            self._lowest = found
        return found

    def _conditional(self, start: Mapping[str, float], fixed: Mapping[str, float]) -> Point:
        names = self.likelihood.names
        at = np.array([start[name] for name in names])
        if not self.nuisances:
            nll = self.likelihood.value(at, ())
            return Point(dict(start), nll, math.isfinite(nll))
        if self._covariance is not None:
            found = warm_fit(self.likelihood, at, self.nuisances, self._covariance)
            if found is not None:
                return Point(dict(zip(names, found[0].tolist(), strict=True)), found[1], True)
        slow = fit(self.likelihood, start=start, fixed=fixed, steps=self.best.errors, hesse=False)
        return Point(slow.values, slow.nll, slow.is_valid)

    def value(self, values: Sequence[float], nuisances: Mapping[str, float]) -> float:
        """Negative log-likelihood with the other parameters at given values."""
        full = {**nuisances, **self._held, **dict(zip(self.names, values, strict=True))}
        return self.likelihood.value(np.array([full[name] for name in self.likelihood.names]), self.nuisances)

    def look(self, start: Mapping[str, float]) -> None:
        """Fit all parameters from a start, and remember the minimum if it is a new one."""
        values = self.inside({**self.best.values, **start, **self._held})
        found = fit(self.likelihood, start=values, fixed=self._held, steps=self.best.errors, hesse=False)
        if found.nll < self._lowest.nll:
            self._lowest = found
        is_new = not any(self._is_same(found, known) for known in self.minima)
        if found.is_valid and is_new and self.ratio(found) < RELEVANT:
            others = sorted([*self.minima[1:], found], key=lambda one: one.nll)
            self.minima = [self.best, *others][:MOST_MINIMA]

    def improve(self) -> bool:
        """Make the lowest point met so far the best fit, if it is lower; say whether.

        Raises:
            RuntimeError: If that happens again and again.
        """
        if not self._lowest.nll < self.best.nll - self._noise:
            return False
        found = fit(self.likelihood, start=self.inside(self._lowest.values), fixed=self._held, steps=self.best.errors)
        if not (found.is_valid and found.nll < self.best.nll - self._noise):
            return False
        self._n_improvements += 1
        if self._n_improvements > MOST_IMPROVEMENTS:
            raise RuntimeError(
                f"lower minima turn up again and again, the last one at {found.values}: is the likelihood bounded? Set "
                "limits, or give the starts of the fits"
            )
        self.minima = [found, *(known for known in self.minima if not self._is_same(found, known))]
        self._covariance = self._conditional_covariance()
        return True

    def error(self, name: str) -> float:
        """A positive length for a parameter: its error where that makes sense."""
        error, (low, high) = self.best.errors[name], self.likelihood.limits[name]
        if math.isfinite(error) and error > 0:
            return min(error, high - low)
        at = np.array([self.best.values[known] for known in self.likelihood.names])
        return float(natural_steps(InUnits(self.likelihood), at, [name], [None])[0])

    def inside(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values moved into the limits, which they can leave by rounding."""
        limits = self.likelihood.limits
        return {name: min(max(value, limits[name][0]), limits[name][1]) for name, value in values.items()}

    def _conditional_covariance(self) -> np.ndarray | None:
        """Covariance of the other parameters at the best fit with the parameters fixed."""
        if self.best.inverse_hessian is None or not self.nuisances:
            return None
        rows = [list(self.best.errors).index(name) for name in self.nuisances]
        return np.linalg.inv(np.linalg.inv(self.best.inverse_hessian)[np.ix_(rows, rows)])

    def _is_same(self, one: Minimum, other: Minimum) -> bool:
        return all(
            abs(one.values[name] - other.values[name]) < SAME_PLACE * self.error(name) for name in self.best.errors
        )

    def _check(self, minimum: Minimum) -> None:
        if set(minimum.values) != set(self.likelihood.names):
            raise ValueError(
                f"the minimum has the parameters {', '.join(minimum.values)}, but the likelihood "
                f"{', '.join(self.likelihood.names)}; fit again"
            )
        for name, value in self.inside(minimum.values).items():
            # Limits may be others by now; fits leave them by rounding.
            if abs(value - minimum.values[name]) > 1e-6 * minimum.errors.get(name, 0.0):
                check_values(self.likelihood, {name: minimum.values[name]})
        for name in self.names:
            if name in self._held:
                raise ValueError(f"{name!r} was fixed in the minimum: give one where it floated")
        at = np.array([minimum.values[name] for name in self.likelihood.names])
        with self.likelihood.restored():
            nll = self.likelihood.value(at)
        if not abs(nll - minimum.nll) <= NOISE * self.likelihood.data.unit + 1e-9 * abs(nll):
            raise ValueError(
                f"the minimum has a negative log-likelihood of {minimum.nll:.6g}, but at its values the likelihood "
                f"gives {nll:.6g}: it belongs to other data or to another model; fit again"
            )


def lower(*found: Point) -> Point:
    """The lowest of several fits; valid ones are preferred where the difference is noise."""

    def rank(one: Point) -> float:
        return one.nll - (NOISE if one.is_valid else 0.0) if math.isfinite(one.nll) else math.inf

    return min(found, key=rank)
