"""ModelToys: what experiments with events of the fitted model itself have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zfit_egmm.inference.likelihood.minimum import as_likelihood, check_values
from zfit_egmm.inference.toys.sources import FromModel, draw_toy
from zfit_egmm.inference.toys.toy_fit import ToyFit


class ModelToys:
    """Experiments whose events come from the model of a likelihood, at true values of all its parameters.

    Args:
        loss: An unbinned zfit loss or a :class:`~zfit_egmm.inference.likelihood.loss.Likelihood`.
        starts: Further starts of every fit.
    """

    def __init__(self, loss: Any, starts: Sequence[Mapping[str, float]] = ()) -> None:
        self.likelihood = as_likelihood(loss)
        self._starts = tuple(starts)
        self._source = FromModel(self.likelihood)

    def _described(self, interest: Sequence[str] | None = None, **own: Any) -> dict[str, Any]:
        """What decides the results, for the head of their file."""
        # Points hold all parameters, so that the present values do not matter.
        same = ToyFit(self.likelihood, interest=interest, starts=self._starts).describe()
        return {**same, "nominal": {}, **own}

    def check(self, point: Mapping[str, float]) -> None:
        """Check a point of true values before any toy is made.

        Raises:
            ValueError: If a name is unknown, a value lies outside the limits, or the density is negative somewhere.
        """
        check_values(self.likelihood, point)
        self._source.check(point)

    def _draw(self, point: Mapping[str, float], seed: np.random.SeedSequence) -> int:
        """Give the likelihood the events of a toy; returns a seed for its fit."""
        rng = np.random.default_rng(seed)
        draw_toy(self.likelihood, self._source, point, rng)
        return int(rng.integers(2**31))
