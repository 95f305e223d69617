"""Trainings on small samples, compared with classical estimates of a density, one JSON line.

Every case has a few events to train on and many others to judge by. A density trained with the defaults
competes with a Gaussian copula and with a kernel density estimate of the same training events. An advantage is
the mean of the log-likelihood of the density minus that of the other, in nats per held-out event, so positive
if the density is better. The errors are those of the held-out events; repeat with other training events
(--seeds) for the fluctuations of the training.

    python benchmarks/small_samples.py
    python benchmarks/small_samples.py --case toy --case gaussian --seeds 5
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files

import numpy as np
from classical import Classical
from scipy import stats
from trained_models import at_least, rounded, tell

from zfit_egmm import Density, EventSample, Observable, TrainingConfig, train
from zfit_egmm.demo import toy
from zfit_egmm.demo.events import CUT
from zfit_egmm.demo.events import observables as h4l_observables

TOY_POINT = (0.5, -0.5)
BOX, CORRELATION, N_GAUSSIAN = 2.0, 0.7, 6

Case = tuple[EventSample, EventSample, np.ndarray | None]
"""Events to train on, held-out events, and the true log density of the latter where it is known."""


def _one_point(n: int, n_held: int, rng: np.random.Generator) -> Case:
    training, held = (EventSample(toy.observables(), toy.sample(size, TOY_POINT, rng)) for size in (n, n_held))
    return training, held, toy.log_prob(held.x, np.array(TOY_POINT))


def _grid(n: int, n_held: int, rng: np.random.Generator) -> Case:
    def events(size: int) -> EventSample:
        sample = toy.grid_sample(-(-size // len(toy.SPARSE) ** 2), seed=rng)
        return sample.select(rng.permutation(sample.n_events)[:size])

    training, held = events(n), events(n_held)
    return training, held, toy.log_prob(held.x, held.theta)


def _h4l(tree: str) -> Callable[[int, int, np.random.Generator], Case]:
    """Simulated events of the demo; the signal is the mixture of all values of theta."""

    def case(n: int, n_held: int, rng: np.random.Generator) -> Case:
        with as_file(files("zfit_egmm") / "data" / "h4l_demo.root") as path:
            sample = EventSample.from_root(path, tree, h4l_observables(), cut=CUT)
        order = rng.permutation(sample.n_events)
        return sample.select(order[:n]), sample.select(order[n : n + n_held]), None

    return case


def _gaussian(n: int, n_held: int, rng: np.random.Generator) -> Case:
    """A Gaussian in a box: but for the truncation, the copula has the true shape."""
    number = np.arange(N_GAUSSIAN)
    law = stats.multivariate_normal(cov=CORRELATION ** np.abs(number[:, np.newaxis] - number))
    box = np.full(N_GAUSSIAN, BOX)
    inside = law.cdf(box, lower_limit=-box)
    x = law.rvs(int(1.2 * (n + n_held) / inside) + 100, random_state=rng)
    x = x[np.all(np.abs(x) < BOX, axis=1)]
    observables = [Observable(f"x{i}", -BOX, BOX) for i in number]
    held = x[n : n + n_held]
    return EventSample(observables, x[:n]), EventSample(observables, held), law.logpdf(held) - np.log(inside)


CASES: dict[str, Callable[[int, int, np.random.Generator], Case]] = {
    "toy": _one_point,
    "toy_grid": _grid,
    "h4l_signal": _h4l("signal"),
    "h4l_background": _h4l("background"),
    "gaussian": _gaussian,
}


def compare(density: Density, training: EventSample, held: EventSample, truth: np.ndarray | None = None) -> dict:
    """Log-likelihoods of held-out events, in nats per event, each with its standard error.

    Args:
        density: The density, trained on ``training``.
        training: What the other estimates train on.
        held: Held-out events.
        truth: True log density of the held-out events, where it is known.
    """
    classical = Classical(training)
    own = _log_prob(density, held)
    others = {"copula": classical.copula(held), "kde": classical.kde(held)}
    known = {} if truth is None else {"truth": truth}
    return {
        "held_out": {name: _mean(values) for name, values in {"density": own, **others, **known}.items()},
        "advantage": {name: _mean(own - values) for name, values in others.items()},
        "training_minus_held_out": float(_log_prob(density, training).mean() - own.mean()),
        "verdict": density.training["summary"]["verdict"],
    }


def _log_prob(density: Density, sample: EventSample) -> np.ndarray:
    return density.log_prob(sample.x, sample.theta if sample.theta_names else None)


def _mean(values: np.ndarray) -> list[float]:
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]


def measure(name: str, arguments: argparse.Namespace) -> dict:
    """Results of the first seed, the median over the seeds, and the results of the other seeds."""
    runs = []
    for seed in range(arguments.seeds):
        training, held, truth = CASES[name](arguments.events, arguments.held_out, np.random.default_rng([seed, 5]))
        density = train(training, TrainingConfig(seed=seed), progress=False)
        runs.append(compare(density, training, held, truth))
        tell(f"{name}, seed {seed}: {json.dumps(rounded(runs[-1]))}")
    medians = {other: float(np.median([run["advantage"][other][0] for run in runs])) for other in ("copula", "kde")}
    return {**runs[0], "median_advantage": medians, "other_seeds": runs[1:]}


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=at_least(200), default=2000, help="events to train on (default: 2000)")
    parser.add_argument("--held-out", type=at_least(1000), default=20_000, help="events to judge by (default: 20000)")
    parser.add_argument("--seeds", type=at_least(1), default=1, help="repetitions with other events (default: 1)")
    parser.add_argument("--case", action="append", choices=list(CASES), help="may be repeated (default: all)")
    arguments = parser.parse_args(command_line)
    cases = {name: measure(name, arguments) for name in dict.fromkeys(arguments.case or CASES)}
    print(json.dumps(rounded({"events": arguments.events, "seeds": arguments.seeds, "cases": cases})))


if __name__ == "__main__":
    main()
