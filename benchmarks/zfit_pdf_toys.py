"""Toys of a truncated PDF: drawn from it, fitted with Minuit and one loss, counted in pulls, memory and traces.

Run them with zfit_pdf.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import zfit
from trained_models import tell

from zfit_egmm import Density
from zfit_egmm.pdf import EGMM

SUB_BOX = ((120.0, 120.0, -2.5, -3.0), (600.0, 650.0, 2.5, 3.0))
EVENTS_PER_TOY = 400
# Of the distance from the true values to the middle of the trained range, where a fit starts.
START = 0.25
AT_LIMIT = 1e-3
TELL_EVERY = 10


def sub_space(density: Density, low: Sequence[float], high: Sequence[float]) -> zfit.Space:
    """Space of all observables of a density with these limits."""
    spaces = [
        zfit.Space(one.name, float(a), float(b)) for one, a, b in zip(density.observables, low, high, strict=True)
    ]
    return zfit.dimension.combine_spaces(*spaces)


def parameters(density: Density, point: Sequence[float], prefix: str) -> dict[str, zfit.Parameter]:
    """Parameters at a point, limited to the trained range."""
    return {
        name: zfit.Parameter(f"{prefix}_{name}", value, low, high)
        for name, value, (low, high) in zip(density.theta_names, point, density.theta_range, strict=True)
    }


def resident_mb() -> float:
    """Memory that the process holds now; where the system does not tell, the most it ever held."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


class TraceCounter:
    """Counts how often Python code of a density runs: in graphs only while they are traced.

    All of its log densities, integrals and samples scale the parameters first.
    """

    def __init__(self, density: Density) -> None:
        self._density, self.count = density, 0

    def __enter__(self) -> TraceCounter:
        own: Callable = self._density.inputs

        def inputs(theta):
            self.count += 1
            return own(theta)

        self._density.inputs = inputs
        return self

    def __exit__(self, *error: object) -> None:
        del self._density.inputs


def growth(values: Sequence[float]) -> float:
    """Slope of a straight line through the second half of a series, per entry."""
    half = np.asarray(values)[len(values) // 2 :]
    return float(np.polyfit(np.arange(len(half)), half, 1)[0])


def mean_and_width(pulls: Sequence[float]) -> tuple[list[float | None], list[float | None]]:
    """Both with their errors; none with fewer than two pulls."""
    n = len(pulls)
    if n < 2:
        return [None, None], [None, None]
    width = float(np.std(pulls, ddof=1))
    return [float(np.mean(pulls)), width / n**0.5], [width, width / (2 * (n - 1)) ** 0.5]


def pulls_of(result: zfit.result.FitResult, params: Sequence[zfit.Parameter], truth: Sequence[float]) -> list[float]:
    """Deviation of each parameter from the truth in units of its Hesse error; NaN where there is none."""
    pulls = []
    for parameter, value in zip(params, truth, strict=True):
        entry = result.params[parameter]
        error = (entry.get("hesse") or {}).get("error")
        pulls.append((float(entry["value"]) - value) / float(error) if error else np.nan)
    return pulls


def is_at_limit(result: zfit.result.FitResult, parameter: zfit.Parameter) -> bool:
    low, high = float(parameter.lower), float(parameter.upper)
    value = float(result.params[parameter]["value"])
    return min(value - low, high - value) < AT_LIMIT * (high - low)


def fit_toys(
    density: Density,
    truth: Sequence[float],
    n_toys: int,
    seed: int,
    *,
    tolerance: float,
    limits: tuple[Sequence[float], Sequence[float]] = SUB_BOX,
) -> dict:
    """Fit toys of the density truncated to limits.

    Args:
        density: The density.
        truth: Parameters that the toys are drawn with.
        n_toys: Number of toys.
        seed: Of the toys.
        tolerance: Of the integral that normalises the truncated PDF.
        limits: Lower and upper limits of the observables.
    """
    params = parameters(density, truth, "toy")
    truncated = EGMM(density, params=params, obs=sub_space(density, *limits), tolerance=tolerance)
    found = truncated.integral_with_error()
    zfit.settings.set_seed(seed + 1)
    middle = np.mean(density.theta_range, axis=1)
    start = np.asarray(truth) + START * (middle - truth)
    sampler = truncated.create_sampler(n=EVENTS_PER_TOY)
    loss = zfit.loss.UnbinnedNLL(truncated, sampler)
    minimizer = zfit.minimize.Minuit(gradient="zfit")
    free = list(params.values())
    pulls: list[list[float]] = [[] for _ in free]
    at_limit, n_failed = [0] * len(free), 0
    memory, seconds, traces = [], [], []
    with TraceCounter(density) as counter:
        for number in range(n_toys):
            begin = time.perf_counter()
            zfit.param.set_values(free, truth)
            # The sampler remembers the values it was created with, which are the same.
            sampler.resample()
            zfit.param.set_values(free, start)
            result = minimizer.minimize(loss)
            result.hesse(name="hesse")
            own = pulls_of(result, free, truth)
            if not result.valid or not np.all(np.isfinite(own)):
                n_failed += 1
            else:
                for axis, parameter in enumerate(free):
                    if is_at_limit(result, parameter):
                        at_limit[axis] += 1
                    else:
                        pulls[axis].append(own[axis])
            seconds.append(time.perf_counter() - begin)
            memory.append(resident_mb())
            traces.append(counter.count)
            if number % TELL_EVERY == 0:
                tell(f"toy {number + 1}: pulls {np.round(own, 2)}, {seconds[-1]:.1f} s, {memory[-1]:.0f} MB")
    summary = [mean_and_width(one) for one in pulls]
    return {
        "truncated_pull_mean": {name: one[0] for name, one in zip(params, summary, strict=True)},
        "truncated_pull_width": {name: one[1] for name, one in zip(params, summary, strict=True)},
        "n_toys": n_toys,
        "n_failed": n_failed,
        "n_at_limit": dict(zip(params, at_limit, strict=True)),
        "truncated_fraction": float(found.value),
        "truncated_n_points": found.n_points,
        "first_toy_s": seconds[0],
        "toy_s": float(np.median(seconds[1:])),
        "memory_growth_mb_per_toy": growth(memory),
        "memory_mb": memory[-1],
        "traces_of_first": traces[0],
        "retraces_after_first": traces[-1] - traces[0],
    }
