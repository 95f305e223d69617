"""Limits against hepstats, and how fast toys are, one JSON line.

Upper limits are compared as ratios to those of hepstats: for a peak on an exponential in one dimension with its
binned Asimov data set, and for a mixture of learned densities in four dimensions with an unbinned one, both in the
calculators of hepstats. CLs of toys is compared at one tested value, with the error from the number of toys.

Toys of the mixture have 400 events on average, and four free parameters: two yields and the two parameters of the
signal. A toy is drawn and fitted with all parameters free, and again with the yield of the signal fixed. The toys of
hepstats do the same with zfit's Minuit, in one process. Rates leave out the start, which is stated separately: loading,
tracing and the first toy of each process. The growth of memory is that of one process.

    python benchmarks/limits.py --quick
    python benchmarks/density.py --quality fast --save toy.egmm
    python benchmarks/limits.py --load toy.egmm --toys 1000 --workers 2
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zfit
from hepstats.hypotests.calculators import AsymptoticCalculator as BinnedCalculator
from hepstats.hypotests.calculators import FrequentistCalculator
from hepstats.hypotests.parameters import POI, POIarray
from hepstats.utils import base_sample
from trained_models import at_least, existing_file, rounded, tell
from zfit_pdf import toy_density
from zfit_pdf_toys import growth, resident_mb

from zfit_egmm import Density
from zfit_egmm.inference import AsymptoticCalculator, Likelihood, UpperLimit, run_toys, upper_limit
from zfit_egmm.inference.hypotheses.limits import Limits
from zfit_egmm.inference.hypotheses.ratio_toys import RatioToys
from zfit_egmm.inference.with_hepstats.frequentist import poisson_sampler
from zfit_egmm.pdf import EGMM

SIGNAL, BACKGROUND = {"cx": 0.5, "cy": -0.5}, {"cx": -1.0, "cy": 1.0}
N_SIGNAL, N_BACKGROUND = 200.0, 200.0
LIMIT_EVENTS = (20, 380)

BANDS = ("observed", "expected_m2", "expected_m1", "expected", "expected_p1", "expected_p2")
COMPARED_CLS = 0.3
"""CLs of the tested value at which toys are compared, where neither probability is small."""

N_SCAN, N_WARM = 14, 3
QUICK = {"toys": 60, "peer_toys": 8, "cls_toys": 60, "asimov_events": 4000, "events": 9800}
FULL = {"toys": 1000, "peer_toys": 40, "cls_toys": 600, "asimov_events": 20_000, "events": 196_000}


def peak_loss() -> zfit.loss.ExtendedUnbinnedNLL:
    """A small peak on an exponential."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.exponential(0.5, 300), rng.normal(1.2, 0.1, 10)])
    obs = zfit.Space("x", 0.1, 3.0)
    n_s, n_b = zfit.Parameter("n_s", 20.0, -20, 300), zfit.Parameter("n_b", 300.0, 0, 600)
    slope = zfit.Parameter("slope", -2.0, -4, -1)
    signal = zfit.pdf.Gauss(obs=obs, mu=1.2, sigma=0.1, extended=n_s)
    background = zfit.pdf.Exponential(obs=obs, lambda_=slope, extended=n_b)
    data = zfit.Data.from_numpy(obs=obs, array=x[:, np.newaxis])
    return zfit.loss.ExtendedUnbinnedNLL(zfit.pdf.SumPDF([signal, background]), data)


def mixture_loss(path: str, n_events: Sequence[int], *, floating: bool) -> zfit.loss.ExtendedUnbinnedNLL:
    """Signal and background of the same density at two points.

    Args:
        path: File of the density.
        n_events: Events of signal and background.
        floating: Whether the parameters of the signal float.
    """
    density = Density.load(path)
    ranges = dict(zip(density.theta_names, density.theta_range, strict=True))
    params = {name: zfit.Parameter(name, SIGNAL[name], *ranges[name]) if floating else SIGNAL[name] for name in ranges}
    n_s, n_b = zfit.Parameter("n_s", N_SIGNAL, -100, 1000), zfit.Parameter("n_b", N_BACKGROUND, 0, 1000)
    signal = EGMM(density, params=params, extended=n_s, name="signal")
    background = EGMM(density, params=BACKGROUND, extended=n_b, name="background")
    model = zfit.pdf.SumPDF([signal, background])
    points = [[point[name] for name in density.theta_names] for point in (SIGNAL, BACKGROUND)]
    drawn = [density.sample(n, point, seed=seed) for seed, (n, point) in enumerate(zip(n_events, points, strict=True))]
    return zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(np.concatenate(drawn), obs=model.space))


def parameter_of(loss: Any, name: str) -> zfit.Parameter:
    return next(parameter for parameter in loss.get_params() if parameter.name == name)


def limit_ratios(ours: Limits, theirs: Mapping[str, float | None]) -> dict[str, float]:
    """Our limits over those of hepstats, where both are known."""
    limits = dict(zip(BANDS, (ours.observed_limit, *ours.expected_limits), strict=True))
    return {name: limit / theirs[name] for name, limit in limits.items() if theirs[name] is not None}


def compare_asymptotic(loss: Any, calculator: Any, asimov_events: int) -> tuple[Limits, dict]:
    """Limits on a yield, ours and those of hepstats with a calculator, on as many values."""
    ours = upper_limit(loss, "n_s", asimov_events=asimov_events)
    n_s = parameter_of(loss, "n_s")
    scan = POIarray(n_s, np.linspace(0.5 * ours.values[0], ours.values[-1], N_SCAN))
    return ours, limit_ratios(ours, UpperLimit(calculator, scan, POI(n_s, 0)).upperlimit())


def compare_toys(loss: Any, limits: Limits, n_toys: int, seed: int) -> dict:
    """CLs of toys at one tested value."""
    value = float(f"{np.interp(COMPARED_CLS, limits.observed[::-1], limits.values[::-1]):.4g}")
    n_s = parameter_of(loss, "n_s")
    ours = upper_limit(
        Likelihood(loss), "n_s", method="toys", n_toys=n_toys, values=[value, 1.6 * limits.observed_limit], seed=seed
    )
    tell(f"toys of hepstats at {value:g}")
    zfit.settings.set_seed(seed)
    calculator = FrequentistCalculator(
        loss, zfit.minimize.Minuit(), ntoysnull=n_toys, ntoysalt=n_toys, sampler=poisson_sampler
    )
    p_signal, p_without = calculator.pvalue(POIarray(n_s, [value]), POI(n_s, 0), onesided=True)
    theirs = float(p_signal[0] / p_without[0])
    error_theirs = theirs * np.sqrt(sum((1 - p) / (max(p, 1 / n_toys) * n_toys) for p in (p_signal[0], p_without[0])))
    ratio = float(ours.observed[0]) / theirs
    error = ratio * np.hypot(ours.errors[0] / ours.observed[0], error_theirs / theirs)
    return {"value": value, "cls": float(ours.observed[0]), "ratio": [ratio, float(error)]}


class TimedToys:
    """Toys that say when they were done, by which process and with how much memory."""

    def __init__(self, inner: RatioToys) -> None:
        self._inner = inner

    def describe(self) -> Mapping[str, Any]:
        return self._inner.describe()

    def check(self, point: Mapping[str, float]) -> None:
        self._inner.check(point)

    def run(self, point: Mapping[str, float], seed: np.random.SeedSequence) -> dict:
        row = self._inner.run(point, seed)
        return {**row, "process": os.getpid(), "done": time.time(), "memory": resident_mb()}


def timed_toys(path: str) -> TimedToys:
    """The experiment of each process."""
    loss = mixture_loss(path, (int(N_SIGNAL), int(N_BACKGROUND)), floating=True)
    return TimedToys(RatioToys(loss, "n_s", {N_SIGNAL: (N_SIGNAL,)}))


def our_toys(path: str, n_toys: int, workers: int, seed: int) -> dict:
    """Rate, start and memory of our toys."""
    point = {**SIGNAL, "n_s": N_SIGNAL, "n_b": N_BACKGROUND}
    begin = time.time()
    results = run_toys(partial(timed_toys, path), n_toys, points=[point], seed=seed, workers=workers)
    rate, starts, growths = 0.0, [], []
    for process in set(results.column("process").tolist()):
        rows = sorted((row for row in results.rows if row["process"] == process), key=lambda row: row["done"])
        if len(rows) <= N_WARM:
            raise SystemExit(
                f"--toys: {n_toys} are too few for {workers} processes, which need more than {N_WARM} each"
            )
        rate += (len(rows) - N_WARM) / (rows[-1]["done"] - rows[N_WARM - 1]["done"])
        starts.append(rows[0]["done"] - begin)
        growths.append(growth([row["memory"] for row in rows]))
    return {
        "rate": rate,
        "start_s": max(starts),
        "memory_growth": float(np.mean(growths)),
        "n_failed": results.n_failed,
    }


def hepstats_toys(path: str, n_toys: int, seed: int) -> dict:
    """Rate and start of the toys of hepstats."""
    loss = mixture_loss(path, (int(N_SIGNAL), int(N_BACKGROUND)), floating=True)
    n_s = parameter_of(loss, "n_s")
    begun: list[float] = []
    memory: list[float] = []

    def timed_sample(*arguments: Any, **more: Any) -> Iterator[Any]:
        for entry in base_sample(*arguments, **more):
            begun.append(time.time())
            memory.append(resident_mb())
            yield entry

    zfit.settings.set_seed(seed)
    calculator = FrequentistCalculator(
        loss, zfit.minimize.Minuit(), ntoysnull=n_toys, sampler=poisson_sampler, sample=timed_sample
    )
    begin = time.time()
    calculator.get_toys_null(POIarray(n_s, [N_SIGNAL]), POIarray(n_s, [N_SIGNAL]))
    seconds = np.diff([*begun, time.time()])[N_WARM:]
    return {
        "rate": 1 / float(np.mean(seconds)),
        "rate_error": float(np.std(seconds) / np.sqrt(len(seconds)) / np.mean(seconds) ** 2),
        "start_s": begun[1] - begin,
        "memory_growth": growth(memory),
    }


def measure(path: str, settings: Mapping[str, int], workers: int, seed: int) -> dict:
    """All numbers."""
    asimov_events = settings["asimov_events"]
    tell("limits in one dimension")
    peak = peak_loss()
    limits, one_dimension = compare_asymptotic(peak, BinnedCalculator(peak, zfit.minimize.Minuit()), asimov_events)
    tell("limits of the mixture")
    mixture = mixture_loss(path, LIMIT_EVENTS, floating=False)
    calculator = AsymptoticCalculator(mixture, zfit.minimize.Minuit(gradient="zfit"), asimov_events=asimov_events)
    _, learned = compare_asymptotic(mixture, calculator, asimov_events)
    tell("toys in one dimension")
    from_toys = compare_toys(peak, limits, settings["cls_toys"], seed)
    tell("toys of the mixture")
    ours = our_toys(path, settings["toys"], workers, seed)
    tell("toys of the mixture with hepstats")
    theirs = hepstats_toys(path, settings["peer_toys"], seed)
    ratio = ours["rate"] / theirs["rate"]
    return {
        "cls_ratio_to_hepstats": {"one_dimension": one_dimension, "learned": learned, "toys": from_toys},
        "toy_rate_per_s": ours["rate"],
        "toy_rate_ratio_to_hepstats": [ratio, ratio * theirs["rate_error"] / theirs["rate"]],
        "hepstats_toy_rate_per_s": theirs["rate"],
        "start_s": {"zfit_egmm": ours["start_s"], "hepstats": theirs["start_s"]},
        "memory_growth_mb_per_toy": ours["memory_growth"],
        "hepstats_memory_growth_mb_per_toy": theirs["memory_growth"],
        "n_toys": settings["toys"],
        "n_hepstats_toys": settings["peer_toys"],
        "n_failed": ours["n_failed"],
        "n_workers": workers,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=at_least(2 * N_WARM + 2), metavar="N", help="toys of the mixture")
    parser.add_argument("--workers", type=at_least(1), default=2, metavar="N", help="processes for our toys")
    parser.add_argument("--quick", action="store_true", help="few toys, a short training; below five minutes")
    parser.add_argument("--load", type=existing_file, metavar="PATH", help="a density of the toy that was saved")
    parser.add_argument("--seed", type=at_least(0), default=0)
    options = parser.parse_args(arguments)
    settings = {**(QUICK if options.quick else FULL)}
    if options.toys is not None:
        settings["toys"] = options.toys
    with tempfile.TemporaryDirectory() as folder:
        path = options.load
        if path is None:
            tell("training")
            path = toy_density(settings["events"], options.seed).save(Path(folder) / "toy.egmm")
        # hepstats prints on its own.
        with contextlib.redirect_stdout(sys.stderr):
            result = measure(str(path), settings, options.workers, options.seed)
    print(json.dumps(rounded(result)))


if __name__ == "__main__":
    main()
