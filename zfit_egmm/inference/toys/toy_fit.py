"""ToyFit: draw a toy, fit it, and compare the truth with the best fit."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.inference.likelihood.minimum import Minimum, as_likelihood, check_values, fit
from zfit_egmm.inference.likelihood.weighted import check_unweighted
from zfit_egmm.inference.toys.sources import FromEvents, FromModel, Source, draw_toy

Row = dict[str, float | int | bool | str]

Starts = Sequence[Mapping[str, float]] | Callable[[Mapping[str, float]], Sequence[Mapping[str, float]]]


class ToyFit:
    """One toy after the other: drawn, fitted, and its likelihood ratio between truth and best fit.

    The same loss and graphs serve all toys; a likelihood is left with the data and auxiliary measurements of the last
    one. A row of results has, for every free parameter ``p``, the best
    fit ``p`` and its Hesse error ``p_error``; for every parameter of interest ``q_p``, that is
    ``2 (ln L(best) - ln L(truth))`` with ``p`` at its true value and the others profiled; ``q`` with all parameters of
    interest at their true values; ``n_events``, ``valid``, ``n_tries`` (fits until one was valid) and ``at_limit``.

    Args:
        loss: An unbinned zfit loss.
        interest: Names of the parameters of interest. Default: all free parameters but the yields.
        source: Where the events come from. Default: the models of the loss. A source that returns ``zfit.Data`` with
            weights makes weighted toys; errors and likelihood ratios are then corrected for the weights.
        starts: Starts of the fit besides the truth, where several minima are expected; or a function that gives them
            from the true values.
        randomise: Whether auxiliary measurements of constraints fluctuate in every toy, as they should.
        intervals: Whether to compute ``q_p`` of each parameter of interest, one more fit for each.

    Raises:
        ValueError: If a parameter of interest is not free, a name would stand for two columns of results, or the events
            of the loss are weighted and there is no source.
    """

    def __init__(
        self,
        loss: Any,
        *,
        interest: Sequence[str] | None = None,
        source: Source | None = None,
        starts: Starts = (),
        randomise: bool = True,
        intervals: bool = True,
    ) -> None:
        self.likelihood = as_likelihood(loss)
        names = self.likelihood.names
        if interest is None:
            shapes = frozenset().union(*(part.shape_parameters for _, part in self.likelihood.flat))
            interest = [name for name in names if name in shapes] or names
        for name in interest:
            if name not in names:
                raise ValueError(f"{name!r} is no free parameter of the loss; there are {', '.join(names)}")
        if source is None:
            check_unweighted(self.likelihood)
        self.interest = tuple(interest)
        self._source = FromModel(self.likelihood) if source is None else source
        self._starts = starts
        self._randomise = randomise
        self._profiled = self.interest if intervals and len(self.interest) > 1 else ()
        self._nominal = self.likelihood.values
        _check_columns(names, self._profiled)

    def describe(self) -> dict[str, Any]:
        """What decides the results, for the head of their file."""
        likelihood, source = self.likelihood, self._source
        models = [repr(model.name) + ":" + ",".join(model.obs) for model in likelihood.models]
        return {
            "kind": "fit",
            "parameters": list(likelihood.names),
            "limits": list(likelihood.limits.values()),
            "fixed": likelihood.fixed_values,
            "interest": list(self.interest),
            "profiled": list(self._profiled),
            "nominal": self._nominal,
            "models": models,
            "densities": _hash(_fingerprints(likelihood)),
            "auxiliary": [one.tolist() for one in likelihood.auxiliary.original] if self._randomise else "fixed",
            "source": source.describe() if isinstance(source, FromModel | FromEvents) else _name_of(source),
            "starts": self._starts.__qualname__ if callable(self._starts) else [dict(start) for start in self._starts],
        }

    def check(self, point: Mapping[str, float]) -> None:
        """Check a point of true values before any toy is made.

        Raises:
            ValueError: If a name is unknown, a value lies outside the limits, or the source cannot give events there.
        """
        check_values(self.likelihood, point)
        if isinstance(self._source, FromModel | FromEvents):
            self._source.check({**self.likelihood.fixed_values, **self._nominal, **point})

    def run(self, point: Mapping[str, float], seed: np.random.SeedSequence) -> Row:
        """Draw and fit one toy.

        Args:
            point: True values of the free parameters; the others have the values of the loss.
            seed: Of everything random in this toy.
        """
        with self.likelihood.restored():
            return self._run({**self._nominal, **point}, np.random.default_rng(seed))

    def _run(self, true: Mapping[str, float], rng: np.random.Generator) -> Row:
        likelihood = self.likelihood
        draw_toy(likelihood, self._source, true, rng, randomise=self._randomise)
        starts = self._starts(true) if callable(self._starts) else self._starts
        best = fit(likelihood, start=true, starts=starts, seed=int(rng.integers(2**31)))
        fixed_fits, best = self._conditional(true, best)
        row: Row = {"n_events": likelihood.n_events, "valid": best.is_valid and all(f.is_valid for f in fixed_fits)}
        row |= {"n_tries": best.n_tries, "at_limit": ",".join(best.at_limit), "nll": best.nll}
        for name in likelihood.names:
            row[name] = best.values[name]
            row[f"{name}_error"] = best.errors[name] if best.covariance is not None else math.nan
        tested = [*((f"q_{name}", (name,)) for name in self._profiled), ("q", self.interest)]
        for (name, names), found in zip(tested, fixed_fits, strict=True):
            offsets = {one: found.values[one] - best.values[one] for one in names}
            row[name] = 2 * (found.nll - best.nll) * self._scale(best, offsets)
        return row

    def _scale(self, best: Minimum, offsets: Mapping[str, float]) -> float:
        """What corrects a likelihood ratio of weighted toys."""
        if not self.likelihood.data.has_weighted_errors:
            return 1.0
        return math.nan if best.covariances is None else best.covariances.scale(offsets)

    def _conditional(self, true: Mapping[str, float], best: Minimum) -> tuple[list[Minimum], Minimum]:
        """Fits with parameters at their true values, and the best fit, again if one of them is lower."""
        found = []
        for names in [*([name] for name in self._profiled), list(self.interest)]:
            fixed = {name: true[name] for name in names}
            one = fit(self.likelihood, start={**best.values, **fixed}, fixed=fixed, steps=best.errors, hesse=False)
            found.append(one)
        lowest = min(found, key=lambda one: one.nll)
        if lowest.nll < best.nll:
            again = fit(self.likelihood, start=lowest.values, steps=best.errors)
            if again.is_valid and again.nll < best.nll:
                best = again
        return found, best


def _check_columns(names: Sequence[str], profiled: Sequence[str]) -> None:
    columns = ["point", "toy", "n_events", "valid", "n_tries", "at_limit", "nll", "q"]
    columns += [*names, *(f"{name}_error" for name in names), *(f"q_{name}" for name in profiled)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} would be two columns of the results: give the parameters other names")


def _name_of(source: Any) -> str:
    return getattr(source, "__qualname__", type(source).__name__)


def _fingerprints(likelihood: Any) -> list[str]:
    """What tells the densities apart, saved or not; empty for other PDFs."""
    densities = [getattr(part.pdf, "density", None) for _, part in likelihood.flat]
    return [density.fingerprint if isinstance(density, Density) else "" for density in densities]


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
