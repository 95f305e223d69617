"""Curves of CLs against the tested value, and the upper limits where they fall below one minus the level.

A set of curves has shape ``(6, n_values)``: what is observed, then what is expected without a signal, in the order of
:data:`zfit_egmm.inference.hypotheses.asymptotic.N_SIGMA`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from zfit_egmm.inference.hypotheses.asymptotic import N_SIGMA, expected_cls, observed_cls
from zfit_egmm.inference.hypotheses.ratio_toys import above
from zfit_egmm.inference.scans.crossing import crossings

N_REPLICAS = 200
"""Resampled sets of toys that give the errors from their number."""


@dataclass(frozen=True, eq=False)
class LimitToys:
    """Test statistics of toys.

    Args:
        with_signal: For each tested value those of toys with that signal, shapes ``(n_toys,)``.
        without: Those of toys without a signal at all tested values, shape ``(n_toys, n_values)``.
    """

    with_signal: Sequence[np.ndarray]
    without: np.ndarray


def asymptotic_curves(
    q: np.ndarray, q_asimov: np.ndarray, values: np.ndarray, *, alternative: float, low: float
) -> np.ndarray:
    """Curves from test statistics of data and Asimov sample, see :mod:`zfit_egmm.inference.hypotheses.asymptotic`."""
    observed = observed_cls(q, q_asimov, values, alternative=alternative, low=low)
    return np.vstack([observed, expected_cls(q_asimov)])


def toy_curves(q: np.ndarray, toys: LimitToys) -> np.ndarray:
    """Curves from test statistics of the data, shape ``(n_values,)``, and of toys.

    Expected ones are at quantiles of the test statistic of toys without a signal: data that fluctuate upwards have a
    small one.
    """
    wanted = np.quantile(toys.without, ndtr(-np.array(N_SIGMA)), axis=0, method="inverted_cdf")
    at = np.vstack([q, wanted])
    p_signal = np.stack(
        [np.mean(above(own, at[:, number, np.newaxis]), axis=1) for number, own in enumerate(toys.with_signal)], axis=1
    )
    p_without = np.mean(above(toys.without, at[:, np.newaxis]), axis=1)
    return p_signal / np.maximum(p_without, 1 / len(toys.without))


def resampled_errors(
    q: np.ndarray, toys: LimitToys, values: np.ndarray, alternative: float, level: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Errors from the number of toys, of the curves and of the limits: standard deviations of resampled toys.

    Returns:
        Shapes ``(6, n_values)`` and ``(6,)``.
    """
    rng = np.random.default_rng([seed, 1])
    curves, limits = [], []
    for _ in range(N_REPLICAS):
        with_signal = [rng.choice(own, len(own)) for own in toys.with_signal]
        replica = toy_curves(q, LimitToys(with_signal, rng.choice(toys.without, len(toys.without))))
        curves.append(replica)
        limits.append(limits_of(values, replica, alternative, level))
    return np.std(curves, axis=0), np.array([_spread(one) for one in np.transpose(limits)])


def limits_of(values: np.ndarray, curves: np.ndarray, alternative: float, level: float) -> np.ndarray:
    """Upper limits, shape ``(6,)``: every value above is excluded. NaN where the values do not reach.

    Between values, logarithms are interpolated. At the alternative, CLs is one.
    """
    is_inner = values > alternative
    at = np.concatenate([[alternative], values[is_inner]])
    limits = np.full(len(curves), np.nan)
    for number, curve in enumerate(curves[:, is_inner]):
        # From toys it can be zero, which has no logarithm.
        floor = min(0.5 * np.min(curve[curve > 0], initial=1.0), 0.5 * (1 - level))
        logs = np.log(np.concatenate([[1.0], np.maximum(curve, floor)]) / (1 - level))
        found = crossings(at, logs) if logs[-1] < 0 else []
        if found:
            limits[number] = found[-1]
    return limits


def _spread(limits: np.ndarray) -> float:
    """Standard deviation of limits; NaN where most of them were not reached."""
    reached = limits[np.isfinite(limits)]
    return float(np.std(reached)) if len(reached) > 0.5 * len(limits) else np.nan
