"""Coverage of the joint regions of the toy's two parameters, from the learned and the true likelihood, one JSON line.

At nine points, data sets of 400 events are drawn from the truth. On the same data sets, the joint 68.3 % and 95.4 %
regions of the learned and of the true likelihood either hold the true point or not. For closure, data sets are
drawn from the learned density itself. Errors are binomial.

    python benchmarks/coverage.py --toys 500 --workers 2 --load dense.egmm --out coverage
    python benchmarks/coverage.py --quick

With --out, the toys are kept in a folder, and the program goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import iminuit
import numpy as np
from trained_models import add_options, at_least, rounded, tell, train_or_load

from zfit_egmm.demo import toy

VALUES = (-0.8, 0.0, 0.8)
POINTS = [{"cx": cx, "cy": cy} for cx, cy in itertools.product(VALUES, repeat=2)]
N_EVENTS = 400
LIMIT = max(toy.DENSE)
EVENTS_PER_GRID_POINT = 50_000
QUICK = {"events_per_point": 5_000, "toys": 6, "quality": "fast"}
NAMES = {0.6827: "683", 0.9545: "954"}


def truth_source(true: Mapping[str, float], rng: np.random.Generator) -> list[np.ndarray]:
    """A data set of the truth."""
    return [toy.sample(N_EVENTS, (true["cx"], true["cy"]), rng)]


def mirrored(true: Mapping[str, float]) -> list[dict[str, float]]:
    """Starts on both sides of zero for parameters that are zero, where the truth has a kink and maybe two minima."""
    sides = [(-0.3, 0.3) if value == 0 else (value,) for value in (true["cx"], true["cy"])]
    pairs = list(itertools.product(*sides))
    return [{"cx": cx, "cy": cy} for cx, cy in pairs] if len(pairs) > 1 else []


class TrueFit:
    """The same toys with the likelihood of the truth, which bends at zero: one fit in every quadrant."""

    def describe(self) -> dict:
        return {"kind": "truth", "interest": ["cx", "cy"], "nominal": {"cx": 0.0, "cy": 0.0}}

    def check(self, point: Mapping[str, float]) -> None:
        """Every point can be drawn."""

    def run(self, point: Mapping[str, float], seed: np.random.SeedSequence) -> dict:
        (x,) = truth_source(point, np.random.default_rng(seed))

        def nll(at: np.ndarray) -> float:
            return -float(toy.log_prob(x, at).sum())

        fits = []
        for sides in itertools.product((-1, 1), repeat=2):
            start = [side * max(abs(point[name]), 0.1) for side, name in zip(sides, ("cx", "cy"), strict=True)]
            minuit = iminuit.Minuit(nll, np.array(start), name=("cx", "cy"))
            minuit.errordef = 0.5
            minuit.limits = [(0, LIMIT) if side > 0 else (-LIMIT, 0) for side in sides]
            fits.append(minuit.migrad())
        best = min(fits, key=lambda one: one.fval)
        q = 2 * (nll(np.array([point["cx"], point["cy"]])) - best.fval)
        errors = {f"{name}_error": best.errors[name] for name in ("cx", "cy")}
        valid = bool(best.valid or np.isfinite(best.fval))
        return {"valid": valid, "q": q, **best.values.to_dict(), **errors}


def learned_fit(model: str, closure: bool):
    """The learned density on data sets of the truth, or of its own."""
    import zfit

    from zfit_egmm import Density
    from zfit_egmm.inference import ToyFit
    from zfit_egmm.pdf import EGMM

    density = Density.load(model)
    params = {name: zfit.Parameter(name, 0.1, -LIMIT, LIMIT) for name in ("cx", "cy")}
    pdf = EGMM(density, params=params)
    loss = zfit.loss.UnbinnedNLL(pdf, zfit.Data(toy.sample(N_EVENTS, (0, 0), 0), obs=pdf.space))
    return ToyFit(loss, source=None if closure else truth_source, starts=mirrored, intervals=False)


def by_level(entry) -> dict:
    return {NAMES[level]: [one.value, one.error] for level, one in entry.region.items()}


def measure(model: str, arguments: argparse.Namespace, folder: Path) -> dict:
    from zfit_egmm.inference import coverage, run_toys

    makers = {
        "truth_coverage": TrueFit,
        "coverage": functools.partial(learned_fit, model, False),
        "closure": functools.partial(learned_fit, model, True),
    }
    found, rates, failed = {}, {}, {}
    for name, make in makers.items():
        start = time.perf_counter()
        tell(f"{name}: {arguments.toys} toys at each of {len(POINTS)} points")
        results = run_toys(
            make,
            arguments.toys,
            points=POINTS,
            seed=arguments.toy_seed,
            path=folder / f"{name}.jsonl",
            workers=arguments.workers,
        )
        rates[name] = len(results) / (time.perf_counter() - start)
        found[name], failed[name] = coverage(results), results.n_failed
        tell(str(found[name]))
    per_point = [
        {
            "point": [entry.point["cx"], entry.point["cy"]],
            **{name: by_level(found[name].points[number]) for name in makers},
            "pull_mean": {name: [one.value, one.error] for name, one in entry.pull_mean.items()},
            "pull_width": {name: [one.value, one.error] for name, one in entry.pull_width.items()},
        }
        for number, entry in enumerate(found["coverage"].points)
    ]
    return {
        **{name: by_level(found[name].overall) for name in makers},
        "per_point": per_point,
        "n_toys": arguments.toys * len(POINTS),
        "n_failed": failed,
        "toys_per_s": rates,
    }


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=at_least(2), metavar="N", help="data sets per point (default 500)")
    parser.add_argument("--workers", type=at_least(1), default=2, metavar="N", help="processes")
    parser.add_argument("--toy-seed", type=at_least(0), default=0, metavar="N", help="seed of the data sets")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the toys here, and go on from them")
    parser.add_argument("--quick", action="store_true", help="below five minutes: a rough density and few toys")
    add_options(parser, quality="standard", has_peer=False)
    arguments = parser.parse_args(command_line)
    n_events = EVENTS_PER_GRID_POINT
    if arguments.quick:
        arguments.quality, n_events = QUICK["quality"], QUICK["events_per_point"]
    arguments.toys = arguments.toys or (QUICK["toys"] if arguments.quick else 500)
    density, cost = train_or_load(lambda: toy.grid_sample(n_events, toy.DENSE, seed=arguments.seed), arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        model = arguments.load or arguments.save
        if model is None:
            model = density.save(Path(temporary) / "model.egmm")
        print(json.dumps(rounded({**measure(str(model), arguments, folder), **cost})))


if __name__ == "__main__":
    main()
