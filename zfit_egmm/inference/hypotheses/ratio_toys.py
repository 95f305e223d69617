"""RatioToys: toys of profile likelihood ratios, which limits, discoveries and confidence sets are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from zfit_egmm.inference.hypotheses.profile_ratio import ProfileRatio
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.undefined_shapes import undefined_at
from zfit_egmm.inference.toys.campaign import ToyResults
from zfit_egmm.inference.toys.model_toys import ModelToys
from zfit_egmm.inference.toys.settings import ToySettings, round_value
from zfit_egmm.inference.toys.toy_fit import Row

TIE = 1e-3
"""Test statistics that differ by less count as equal, as fits are not more precise."""


class RatioToys(ModelToys):
    """Toys whose profile likelihood ratios are wanted at some values of a parameter.

    A row of results has ``best``, the best fit of the parameter, and ``ratio_0``, ``ratio_1`` and so on for the tested
    values. Auxiliary measurements fluctuate in every toy.

    Args:
        loss: An unbinned zfit loss.
        parameter: Name of the parameter.
        tested: Values to test for each true value of the parameter.
        starts: Further starts of every fit.
    """

    def __init__(
        self,
        loss: Any,
        parameter: str,
        tested: Mapping[float, Sequence[float]],
        starts: Sequence[Mapping[str, float]] = (),
    ) -> None:
        super().__init__(loss, starts)
        self._parameter = parameter
        self._tested = {round_value(true): tuple(values) for true, values in tested.items()}
        self._undefined = undefined_at(self.likelihood, parameter, sorted({v for own in tested.values() for v in own}))

    def describe(self) -> dict[str, Any]:
        """What decides the results, for the head of their file."""
        return self._described([self._parameter], kind="likelihood ratios", tested=list(self._tested.items()))

    def run(self, point: Mapping[str, float], seed: np.random.SeedSequence) -> Row:
        """Draw one toy and compute its likelihood ratios.

        Args:
            point: True values of all free parameters.
            seed: Of everything random in this toy.
        """
        likelihood, retry = self.likelihood, self._draw(point, seed)
        profile = ProfileRatio(
            likelihood, self._parameter, start=point, starts=self._starts, undefined=self._undefined, seed=retry
        )
        ratios = profile.ratios(self._tested[round_value(point[self._parameter])])
        row: Row = {"n_events": likelihood.n_events, "valid": profile.is_valid, "best": profile.estimate}
        return row | {f"ratio_{number}": float(ratio) for number, ratio in enumerate(ratios)}


def run_ratio_toys(
    likelihood: Likelihood,
    parameter: str,
    tested: Mapping[float, Sequence[float]],
    points: Sequence[Mapping[str, float]],
    settings: ToySettings,
    starts: Sequence[Mapping[str, float]] = (),
) -> ToyResults:
    """Run :class:`RatioToys`; see there."""
    build = partial(RatioToys, parameter=parameter, tested=tested, starts=starts)
    return settings.run(likelihood, build, points)


def above(q_toys: np.ndarray, q: np.ndarray | float) -> np.ndarray:
    """Which toys have at least this test statistic."""
    return np.asarray(q_toys) >= np.asarray(q) - TIE
