"""Events of the demo: simulated H -> ZZ* -> 4l with CP mixing, and the q qbar -> ZZ background."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np

from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

TRAINING_SHARE = 0.85
CUT = "mz2 < 65"


def observables() -> tuple[Observable, ...]:
    """Observables of the demo: the mass carries no theta, the others do."""
    return (
        Observable("m4l", 105, 140, unit="GeV", linear_fraction=0.2),
        Observable("mz2", 12, 65, unit="GeV", linear_fraction=0.5),
        Observable("cos_theta1", -1, 1, linear_fraction=0.8),
        Observable("cos_theta2", -1, 1, linear_fraction=0.8),
        Observable("phi", -math.pi, math.pi, unit="rad", linear_fraction=0.8),
    )


@dataclass(frozen=True)
class DemoEvents:
    """Events to train with, and a pseudo-data set made of other events.

    Args:
        signal: Signal events to train with, given theta.
        background: Background events to train with.
        data: Pseudo-data of held-out signal and background events in random order, shape ``(n, 5)``.
        held_signal: All held-out signal events.
        held_background: All held-out background events.
    """

    signal: EventSample
    background: EventSample
    data: np.ndarray
    held_signal: EventSample
    held_background: EventSample


def load_events(*, theta: float, n_signal: int, n_background: int, seed: int) -> DemoEvents:
    """Read the events that come with the package, and set some aside as pseudo-data.

    Args:
        theta: Value at which the signal of the pseudo-data was generated.
        n_signal: Signal events in the pseudo-data.
        n_background: Background events in the pseudo-data.
        seed: Seed of the choice.
    """
    with as_file(files("zfit_egmm") / "data" / "h4l_demo.root") as path:
        signal = EventSample.from_root(path, "signal", observables(), theta={"theta": "theta"}, cut=CUT)
        background = EventSample.from_root(path, "background", observables(), cut=CUT)
    rest = 1 - TRAINING_SHARE
    signal, held_signal = signal.split(TRAINING_SHARE, rest, seed=seed)
    background, held_background = background.split(TRAINING_SHARE, rest, seed=seed)
    rng = np.random.default_rng([seed, 3])
    at_theta = held_signal.x[held_signal.theta[:, 0] == theta]
    data = np.concatenate([_draw(at_theta, n_signal, rng), _draw(held_background.x, n_background, rng)])
    return DemoEvents(signal, background, rng.permutation(data), held_signal, held_background)


def _draw(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return x[rng.choice(len(x), size=n, replace=False)]
