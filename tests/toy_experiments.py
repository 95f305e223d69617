"""Quick experiments for toys, in a module so that other processes can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np


class Numbers:
    """Random numbers around a true value, of each toy alone.

    Args:
        scale: Of the numbers.
        folder: Where processes say that they are killed; none are without it.
        deadly: Toys that kill their process the first time.
        always: Whether they kill it every time.
        wrong: A toy that raises an error.
        seconds: How long a toy takes.
    """

    def __init__(self, scale=1.0, folder=None, deadly=(), always=False, wrong=None, seconds=0.0):
        self.scale = scale
        self.folder = folder
        self.deadly = deadly
        self.always = always
        self.wrong = wrong
        self.seconds = seconds

    def describe(self):
        return {"kind": "numbers", "scale": self.scale}

    def check(self, point):
        if point.get("mu", 0.0) > 100:
            raise ValueError("mu is above 100")

    def run(self, point, seed):
        rng = np.random.default_rng(seed)
        toy = seed.spawn_key[1]
        if toy in self.deadly:
            mark = Path(self.folder) / f"killed_{seed.spawn_key[0]}_{toy}"
            if self.always or not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if toy == self.wrong:
            raise ValueError(f"toy {toy} is wrong")
        time.sleep(self.seconds)
        value = point.get("mu", 0.0) + self.scale * rng.normal()
        return {"value": value, "draw": rng.integers(1000), "valid": bool(value < 2.5), "text": f"{value:.1f}"}


def numbers():
    """The plain experiment."""
    return Numbers()


def learned_mixture(signal, background):
    """Toy fits of two learned densities, read from files."""
    import zfit

    from zfit_egmm import Density
    from zfit_egmm.inference.toys.toy_fit import ToyFit
    from zfit_egmm.pdf import EGMM

    theta = zfit.Parameter("theta", 0.5, -0.5, 2.5)
    yields = [zfit.Parameter("n_signal", 150.0, 0, 1000), zfit.Parameter("n_background", 100.0, 0, 1000)]
    density = Density.load(signal)
    terms = [
        EGMM(density, params={"coupling": theta}, extended=yields[0], name="signal"),
        EGMM(Density.load(background), params={"coupling": 0.0}, extended=yields[1], name="background"),
    ]
    model = zfit.pdf.SumPDF(terms)
    data = zfit.Data(density.sample(10, [0.5], seed=0), obs=model.space)
    return ToyFit(zfit.loss.ExtendedUnbinnedNLL(model, data), interest=["theta"])
