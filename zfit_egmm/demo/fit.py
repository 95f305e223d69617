"""The extended unbinned fit of the demo: theta and the yields of signal and background."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import zfit

from zfit_egmm.density.density import Density
from zfit_egmm.pdf import EGMM

STARTS = (-3.0, 0.0, 3.0)
PROFILE_POINTS = 41


@dataclass(frozen=True)
class FittedValue:
    """Best fit of a parameter and the two ends of its 68.3 % interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class DemoFit:
    """Result of the demo's fit.

    Args:
        values: Best fit and interval of every parameter.
        hesse: Symmetric errors by name.
        is_valid: Whether Minuit found a valid minimum and every interval is valid.
        notes: What the reader should know, in words.
        profile_theta: Values of theta of the profile, shape ``(n_points,)``.
        profile: ``-2 ln`` of the profile likelihood ratio there, same shape.
    """

    values: dict[str, FittedValue]
    hesse: dict[str, float]
    is_valid: bool
    notes: tuple[str, ...]
    profile_theta: np.ndarray
    profile: np.ndarray


def fit(
    data: np.ndarray,
    signal: Density,
    background: Density,
    *,
    progress: Callable[[float], None],
) -> DemoFit:
    """Fit theta and the two yields to a data set.

    Args:
        data: Events, shape ``(n_events, n_observables)``.
        signal: Density of the signal given theta.
        background: Density of the background.
        progress: Called with the done fraction of the work.

    Returns:
        Best fit, intervals (Minos) and the profile likelihood of theta.
    """
    low, high = signal.theta_range[0]
    n_events = len(data)
    theta = zfit.Parameter("theta", 0.0, low, high)
    yields = [zfit.Parameter(name, n_events / 2, 0, 2 * n_events) for name in ("n_signal", "n_background")]
    model = zfit.pdf.SumPDF(
        [
            EGMM(signal, params={"theta": theta}, extended=yields[0], name="signal"),
            EGMM(background, extended=yields[1], name="background"),
        ]
    )
    loss = zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(data, obs=model.space))
    minimizer = zfit.minimize.Minuit(gradient="zfit")

    # The likelihood may have one minimum on either side of zero: try several starts, keep the best.
    results = []
    for number, start in enumerate(STARTS):
        zfit.param.set_values([theta, *yields], [start, n_events / 2, n_events / 2])
        results.append(minimizer.minimize(loss))
        progress(0.1 * (number + 1))
    best = min(results, key=lambda result: float(result.fmin))
    best.update_params()
    best.hesse(name="hesse")
    errors, other_minimum = best.errors(name="minos")
    if other_minimum is not None:
        best = other_minimum
        best.hesse(name="hesse")
        errors, _ = best.errors(name="minos")
    progress(0.5)

    parameters = [theta, *yields]
    centre = {parameter.name: float(best.params[parameter]["value"]) for parameter in parameters}
    points, profile = _profile(loss, minimizer, theta, yields, (low, high), centre, float(best.fmin), progress)
    best.update_params()
    values, notes = {}, []
    is_valid = bool(best.valid)
    for parameter in parameters:
        name, error = parameter.name, errors[parameter]
        if error["is_valid"]:
            values[name] = FittedValue(centre[name], centre[name] + error["lower"], centre[name] + error["upper"])
        elif parameter is theta:
            values[name] = FittedValue(centre[name], *_crossings(points, profile, centre[name]))
            notes.append(
                "Minos found no crossing for theta on one side: its interval was read off the profile "
                f"likelihood, within the trained range [{low:g}, {high:g}]."
            )
        else:
            is_valid = False
            values[name] = FittedValue(centre[name], float("nan"), float("nan"))
            notes.append(f"Minos failed for {name}.")
    notes += _second_minimum(points, profile, values["theta"])
    hesse = {parameter.name: float(best.params[parameter]["hesse"]["error"]) for parameter in parameters}
    return DemoFit(values, hesse, is_valid, tuple(notes), points, profile)


def _profile(
    loss: zfit.loss.ExtendedUnbinnedNLL,
    minimizer: zfit.minimize.Minuit,
    theta: zfit.Parameter,
    yields: Sequence[zfit.Parameter],
    limits: tuple[float, float],
    centre: dict[str, float],
    minimum: float,
    progress: Callable[[float], None],
) -> tuple[np.ndarray, np.ndarray]:
    """-2 ln of the profile likelihood ratio along theta, from the best fit outwards on both sides."""
    points = np.union1d(np.linspace(*limits, PROFILE_POINTS), [centre["theta"]])
    middle = int(np.searchsorted(points, centre["theta"]))
    values = np.zeros(len(points))
    done = 0
    for side in (range(middle, len(points)), range(middle - 1, -1, -1)):
        zfit.param.set_values(yields, [centre[parameter.name] for parameter in yields])
        for number in side:
            theta.set_value(points[number])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = minimizer.minimize(loss, params=yields)
            values[number] = 2 * (float(result.fmin) - minimum)
            done += 1
            progress(0.5 + 0.5 * done / len(points))
    return points, np.maximum(values, 0.0)


def _crossings(points: np.ndarray, profile: np.ndarray, centre: float) -> tuple[float, float]:
    """Ends of the region around the best fit where the profile is below one."""
    ends = []
    for side in (points <= centre, points >= centre):
        x, y = points[side], profile[side]
        if x[0] < centre:
            x, y = x[::-1], y[::-1]
        above = np.nonzero(y > 1)[0]
        if not len(above):
            ends.append(float(x[-1]))
            continue
        last = above[0]
        ends.append(float(np.interp(1.0, y[last - 1 : last + 1], x[last - 1 : last + 1])))
    return ends[0], ends[1]


def _second_minimum(points: np.ndarray, profile: np.ndarray, theta: FittedValue) -> list[str]:
    apart = (points < theta.lower) | (points > theta.upper)
    inner = np.nonzero((profile[1:-1] < profile[:-2]) & (profile[1:-1] < profile[2:]))[0] + 1
    others = [number for number in inner if apart[number] and profile[number] < 4]
    return [
        f"The likelihood has a second minimum near theta = {points[number]:.1f}, {profile[number]:.1f} above the best "
        "fit in -2 ln L: quote the profile, not only one interval."
        for number in others
    ]
