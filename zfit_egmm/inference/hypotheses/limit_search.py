"""LimitSearch: the steps from the likelihood ratios of data, Asimov sample and toys to CLs and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zfit_egmm.inference.hypotheses.limit_curves import (
    LimitToys,
    asymptotic_curves,
    limits_of,
    resampled_errors,
    toy_curves,
)
from zfit_egmm.inference.hypotheses.limit_scan import asymptotic_scan, toy_scan
from zfit_egmm.inference.hypotheses.profile_ratio import ProfileRatio, notes_on_fits
from zfit_egmm.inference.hypotheses.ratio_toys import run_ratio_toys
from zfit_egmm.inference.likelihood.loss import Likelihood
from zfit_egmm.inference.likelihood.minimum import check_values
from zfit_egmm.inference.toys.campaign import ToyResults
from zfit_egmm.inference.toys.settings import ToySettings, notes_on_toys, rounded_values

FEW_EVENTS = 10

FAR = 3.7
"""Expected limits of 95 % are below this many standard deviations, the band of two included."""


@dataclass(frozen=True, eq=False)
class FoundLimits:
    """CLs and limits; the observed ones first, then the expected ones.

    Args:
        values: Tested values, shape ``(n,)``.
        curves: CLs, shape ``(6, n)``.
        limits: Upper limits, shape ``(6,)``; NaN where the values do not reach.
        notes: What the reader should know, in sentences.
        curve_errors: Errors of the curves from the number of toys.
        limit_errors: Errors of the limits from the number of toys.
    """

    values: np.ndarray
    curves: np.ndarray
    limits: np.ndarray
    notes: tuple[str, ...]
    curve_errors: np.ndarray | None = None
    limit_errors: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class LimitSearch:
    """What upper limits are computed from.

    Args:
        likelihood: The likelihood.
        parameter: Name of the parameter.
        alternative: Its value without a signal.
        level: Confidence level.
        data: Likelihood ratio of the data.
        asimov: Likelihood ratio of the Asimov sample without a signal.
    """

    likelihood: Likelihood
    parameter: str
    alternative: float
    level: float
    data: ProfileRatio
    asimov: ProfileRatio

    def asymptotic(self, values: Sequence[float] | None) -> FoundLimits:
        """Limits from asymptotic formulae.

        Args:
            values: Values to test. Default: a range that holds all limits.
        """
        tested = self._scan() if values is None else self._checked(values)
        curves = self._curves(tested)
        limits = limits_of(tested, curves, self.alternative, self.level)
        notes = notes_on_fits(self.data) + self._asymptotic_notes(limits[0])
        return FoundLimits(tested, curves, limits, tuple(notes))

    def toys(
        self, values: Sequence[float] | None, settings: ToySettings, starts: Sequence[Mapping[str, float]]
    ) -> FoundLimits:
        """Limits from toys.

        Args:
            values: Values to test. Default: some around the asymptotic limits.
            settings: How toys are run.
            starts: Further starts of every fit.
        """
        tested = rounded_values(self._toy_scan() if values is None else self._checked(values))
        q = self.data.q_limits(tested)
        others = [value for value in tested.tolist() if value != self.alternative]
        points = [self.data.at(value).values for value in [self.alternative, *others]]
        to_test = {self.alternative: tuple(tested.tolist()), **{value: (value,) for value in others}}
        self.data.activate()
        results = run_ratio_toys(self.likelihood, self.parameter, to_test, points, settings, starts)
        without = np.stack([_q_of_toys(results, 0, number, value) for number, value in enumerate(tested)], axis=1)
        # At the alternative itself, toys with and without a signal are the same.
        with_signal = [
            _q_of_toys(results, others.index(value) + 1, 0, value) if value in others else without[:, number]
            for number, value in enumerate(tested.tolist())
        ]
        toys = LimitToys(with_signal, without)
        curves = toy_curves(q, toys)
        limits = limits_of(tested, curves, self.alternative, self.level)
        errors = resampled_errors(q, toys, tested, self.alternative, self.level, settings.seed)
        return FoundLimits(tested, curves, limits, tuple(notes_on_fits(self.data) + notes_on_toys(results)), *errors)

    def _curves(self, values: np.ndarray) -> np.ndarray:
        q, q_asimov = self.data.q_limits(values), self.data.scale * self.asimov.ratios(values)
        low = self.likelihood.limits[self.parameter][0]
        return asymptotic_curves(q, q_asimov, values, alternative=self.alternative, low=low)

    def _scan(self) -> np.ndarray:
        high = self.likelihood.limits[self.parameter][1]
        step = min(2 * self.data.best.errors[self.parameter], 0.5 * (high - self.alternative))
        # The Asimov sample tells the precision, which the fit to the data knows only roughly.
        ratio = self.data.scale * self.asimov.ratios([self.alternative + step])[0]
        sigma = step / np.sqrt(max(ratio, 1e-4))
        first = max(self.data.estimate, self.alternative) + FAR * sigma
        return asymptotic_scan(
            lambda value: self._curves(np.array([value]))[:, 0],
            first,
            high,
            alternative=self.alternative,
            level=self.level,
        )

    def _toy_scan(self) -> np.ndarray:
        scan = self._scan()
        rough = limits_of(scan, self._curves(scan), self.alternative, self.level)
        return toy_scan(rough, self.likelihood.limits[self.parameter][1], self.alternative)

    def _checked(self, values: Sequence[float]) -> np.ndarray:
        tested = np.unique(np.asarray(values, dtype=float))
        for value in tested:
            check_values(self.likelihood, {self.parameter: float(value)})
        if len(tested) < 2 or tested[0] < self.alternative:
            raise ValueError(
                f"values must hold at least two different values of {self.parameter}, none below the alternative "
                f"{self.alternative:g}, got {tested.tolist()}"
            )
        return tested

    def _asymptotic_notes(self, limit: float) -> list[str]:
        notes = []
        n_signal = abs(self._n_expected(limit) - self._n_expected(self.alternative)) / self.data.typical_weight
        if self.likelihood.is_extended and n_signal < FEW_EVENTS:
            notes.append(f"The limit is {n_signal:.2g} events, few for asymptotic formulae: compare with toys.")
        return notes

    def _n_expected(self, value: float) -> float:
        with self.likelihood.restored():
            self.likelihood.set_values({**self.data.best.values, self.parameter: value})
            return sum(float(part.coefficient()) for _, part in self.likelihood.flat)


def _q_of_toys(results: ToyResults, point: int, number: int, value: float) -> np.ndarray:
    """Test statistics of toys at a point for one of the values tested there."""
    ratio = results.column(f"ratio_{number}", point, valid=True)
    return np.where(results.column("best", point, valid=True) > value, 0.0, ratio)
