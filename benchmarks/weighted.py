"""Coverage of fits to weighted events, one JSON line.

Toys of a peak on an exponential, with the position of the peak, the slope and both yields free, and a constraint on the
slope whose measurement fluctuates:

- ``efficiency``: events are accepted with a probability that rises from 0.1 to 0.9 with the observable, and weighted by
  its inverse.
- ``spread``: one of ten events has the weight 8, the others 0.5.
- ``signed``: one of seven events has the weight -1, the others 1.
- ``few``: as ``spread``, with a tenth of the events.

Covered means that the truth lies within the error of Hesse, without (``plain``) and with (``sandwich``) the correction
for weights, in the interval of the profile likelihood, or in the joint region of the position and the signal yield, all
of 68.27 %. ``discovery`` is the part of toys without a signal that have a significance above 1 and above 1.645, where
0.159 and 0.05 are right; ``limit`` the part of toys with a signal whose 95 % limit is above its yield.

    python benchmarks/weighted.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import zfit
from trained_models import at_least, rounded, tell

from zfit_egmm.inference import Likelihood, discovery, fit, interval, upper_limit
from zfit_egmm.inference.likelihood.profiled import Profiled
from zfit_egmm.inference.toys.sources import draw_toy

LOW, HIGH = 0.0, 10.0
TRUE = {"mu": 5.0, "n_b": 600.0, "n_s": 300.0, "slope": -0.1}
INTEREST = ("mu", "n_s")
WIDTH = 0.7
SLOPE_ERROR = 0.03
LEVEL = 0.6827
JOINT_THRESHOLD = 2.2957

Draw = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def by_efficiency(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Accepted events, and the inverse of the probability to accept them."""
    probability = 0.1 + 0.08 * x
    accepted = rng.random(len(x)) < probability
    return x[accepted], 1 / probability[accepted]


def spread(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Few large weights, with a mean of 1.25: so many events fewer."""
    kept = x[rng.random(len(x)) < 1 / 1.25]
    return kept, np.where(rng.random(len(kept)) < 0.1, 8.0, 0.5)


def signed(x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both signs, with a mean of 5/7: so many events more."""
    x = np.concatenate([x, x[rng.random(len(x)) < 0.4]])
    return x, np.where(rng.random(len(x)) < 1 / 7, -1.0, 1.0)


SCENARIOS: dict[str, tuple[Draw, float]] = {
    "efficiency": (by_efficiency, 1.0),
    "spread": (spread, 1.0),
    "signed": (signed, 1.0),
    "few": (spread, 0.1),
}


def peak_likelihood(scale: float = 1.0) -> Likelihood:
    """A peak on an exponential; the numbers of events are scaled."""
    obs = zfit.Space("x", LOW, HIGH)
    mu, slope = zfit.Parameter("mu", TRUE["mu"], 2, 8), zfit.Parameter("slope", TRUE["slope"], -1, 1)
    n_s, n_b = (zfit.Parameter(name, scale * TRUE[name], -1000, 5000) for name in ("n_s", "n_b"))
    peak = zfit.pdf.Gauss(mu, WIDTH, obs, extended=n_s)
    model = zfit.pdf.SumPDF([peak, zfit.pdf.Exponential(slope, obs, extended=n_b)])
    constraint = zfit.constraint.GaussianConstraint(slope, TRUE["slope"], sigma=SLOPE_ERROR)
    data = zfit.Data(np.full((1, 1), 5.0), obs=obs)
    return Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, data, constraints=constraint))


def source(weigh: Draw) -> Callable[[Mapping[str, float], np.random.Generator], list[Any]]:
    """Weighted events of one toy."""

    def draw(true: Mapping[str, float], rng: np.random.Generator) -> list[Any]:
        peak = rng.normal(true["mu"], WIDTH, rng.poisson(true["n_s"]))
        rate, n_b = -true["slope"], rng.poisson(true["n_b"])
        tail = -np.log1p(-rng.random(n_b) * (1 - np.exp(-rate * (HIGH - LOW)))) / rate
        x, weights = weigh(np.concatenate([peak, tail]), rng)
        return [zfit.Data(x[:, np.newaxis], obs="x", weights=weights)]

    return draw


def cover(name: str, n_toys: int, seed: int) -> dict[str, Any]:
    """Coverage of errors, intervals and regions in one scenario."""
    weigh, scale = SCENARIOS[name]
    likelihood, draw = peak_likelihood(scale), source(weigh)
    true = {key: value * (scale if key.startswith("n_") else 1.0) for key, value in TRUE.items()}
    found: dict[str, list[list[bool]]] = {"plain": [], "sandwich": [], "interval": []}
    joint, pulls, n_failed = [], [], 0
    for toy in range(n_toys):
        rng = np.random.default_rng([seed, toy])
        with likelihood.restored():
            draw_toy(likelihood, draw, true, rng)
        best = fit(likelihood, start=true)
        if not best.is_valid or best.covariances is None:
            n_failed += 1
            continue
        offsets = np.array([best.values[key] - true[key] for key in true])
        found["plain"].append((np.abs(offsets) < np.sqrt(np.diag(best.covariances.plain))).tolist())
        found["sandwich"].append((np.abs(offsets) < list(best.errors.values())).tolist())
        intervals = [interval(likelihood, key, level=LEVEL, minimum=best) for key in INTEREST]
        found["interval"].append([one.contains(true[one.parameter]) for one in intervals])
        profiled = Profiled(likelihood, INTEREST, minimum=best)
        with likelihood.restored():
            joint.append(profiled.ratio(profiled.at([true[key] for key in INTEREST])) < JOINT_THRESHOLD)
        pulls.append(offsets / list(best.errors.values()))
    names = {"plain": true, "sandwich": true, "interval": INTEREST}
    result: dict[str, Any] = {
        kind: dict(zip(names[kind], np.mean(rows, axis=0).tolist(), strict=True)) for kind, rows in found.items()
    }
    width = dict(zip(true, np.std(pulls, axis=0).tolist(), strict=True))
    error = float(np.sqrt(LEVEL * (1 - LEVEL) / len(joint)))
    return {**result, "joint": float(np.mean(joint)), "pull_width": width, "error": error, "failed": n_failed}


def hypotheses(name: str, n_toys: int, seed: int) -> dict[str, Any]:
    """Significances without a signal, and limits with one, the position of the peak known."""
    weigh, scale = SCENARIOS[name]
    likelihood, draw = peak_likelihood(scale), source(weigh)
    for parameter in likelihood.parameters:
        if parameter.name == "mu":
            parameter.floating = False
    z, covered, signal = [], [], 0.3 * scale * TRUE["n_s"]
    for toy in range(n_toys):
        for n_s in (0.0, signal):
            true = {"n_b": scale * TRUE["n_b"], "n_s": n_s, "slope": TRUE["slope"]}
            rng = np.random.default_rng([seed, toy, int(n_s > 0)])
            with likelihood.restored():
                draw_toy(likelihood, lambda at, rng: draw({**at, "mu": TRUE["mu"]}, rng), true, rng)
            if n_s == 0:
                z.append(discovery(likelihood, "n_s").significance)
            else:
                limit = upper_limit(likelihood, "n_s", asimov_events=2000, values=[signal, 3 * signal, 8 * signal])
                covered.append(limit.observed[0] > 0.05)
    above = [float(np.mean(np.array(z) > threshold)) for threshold in (1.0, 1.645)]
    return {"discovery": above, "limit": float(np.mean(covered))}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=at_least(10), default=300, metavar="N", help="toys of each scenario")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="scenario; repeatable")
    parser.add_argument("--seed", type=at_least(0), default=0)
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"toys": options.toys}
    for name in options.only or SCENARIOS:
        tell(name)
        result[name] = {**cover(name, options.toys, options.seed), **hypotheses(name, options.toys, options.seed)}
    print(json.dumps(rounded(result)))


if __name__ == "__main__":
    sys.exit(main())
