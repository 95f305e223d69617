"""Intervals of weighted events hold the truth as often as they say, and those of second derivatives do not.

300 toys of a Gaussian whose events are accepted with a probability that depends on the observable, and weighted by its
inverse: 0.1 to 0.9. Coverage has an error of 2.7 %, so that errors too small or too large by 14 % are caught with three
standard deviations. Those of second derivatives are too small by a third to a half. benchmarks/weighted.py has more
situations.
"""

from __future__ import annotations

import numpy as np
import pytest
import zfit

from zfit_egmm.inference import Likelihood, fit, interval
from zfit_egmm.inference.toys.sources import draw_toy

N_TOYS, LEVEL = 300, 0.6827
TRUE = {"mean": 0.3, "n_events": 500.0}
OBS = zfit.Space("x", -5, 5)


def _toy(true, rng):
    x = rng.normal(true["mean"], 1.0, rng.poisson(true["n_events"]))
    probability = np.clip(0.5 + 0.2 * x, 0.1, 0.9)
    accepted = rng.random(len(x)) < probability
    return [zfit.Data(x[accepted, np.newaxis], obs="x", weights=1 / probability[accepted])]


@pytest.mark.statistical
def test_intervals_of_weighted_events_cover():
    mean, n_events = zfit.Parameter("mean", 0.3, -3, 3), zfit.Parameter("n_events", 500.0, 0, 5000)
    model = zfit.pdf.Gauss(mean, 1.0, OBS, extended=n_events)
    likelihood = Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.zeros((1, 1)), obs=OBS)))
    covered = {"plain": [], "sandwich": [], "interval": []}
    for toy in range(N_TOYS):
        with likelihood.restored():
            draw_toy(likelihood, _toy, TRUE, np.random.default_rng([3, toy]))
        best = fit(likelihood)
        distance = np.abs(np.array(list(best.values.values())) - list(TRUE.values()))
        covered["plain"].append(distance < np.sqrt(np.diag(best.inverse_hessian)))
        covered["sandwich"].append(distance < list(best.errors.values()))
        covered["interval"].append(interval(likelihood, "mean", minimum=best).contains(TRUE["mean"]))
    error = np.sqrt(LEVEL * (1 - LEVEL) / N_TOYS)
    part = {kind: np.mean(rows, axis=0) for kind, rows in covered.items()}
    for kind in ("sandwich", "interval"):
        assert np.all(np.abs(part[kind] - LEVEL) < 3 * error), part
    assert np.all(part["plain"] < LEVEL - 3 * error), part
