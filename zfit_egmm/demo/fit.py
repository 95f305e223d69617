"""The extended unbinned fit of the demo: theta and the yields of signal and background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zfit

from zfit_egmm.density.base import Density
from zfit_egmm.inference import Likelihood, interval, profile
from zfit_egmm.inference import fit as run_minuit
from zfit_egmm.pdf import EGMM

STARTS = (-3.0, 3.0)
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


def fit(data: np.ndarray, signal: Density, background: Density, *, progress: bool) -> DemoFit:
    """Fit theta and the two yields to a data set.

    Args:
        data: Events, shape ``(n_events, n_observables)``.
        signal: Density of the signal given theta.
        background: Density of the background.
        progress: Whether to show a progress bar.

    Returns:
        Best fit, intervals from the profile likelihoods, and the profile likelihood of theta.
    """
    limits, n_events = signal.theta_range[0], len(data)
    theta = zfit.Parameter("theta", 0.0, *limits)
    yields = [zfit.Parameter(name, n_events / 2, 0, 2 * n_events) for name in ("n_signal", "n_background")]
    model = zfit.pdf.SumPDF(
        [
            EGMM(signal, params={"theta": theta}, extended=yields[0], name="signal"),
            EGMM(background, extended=yields[1], name="background"),
        ]
    )
    likelihood = Likelihood(zfit.loss.ExtendedUnbinnedNLL(model, zfit.Data(data, obs=model.space)))
    # The likelihood may have one minimum on either side of zero: try several starts, keep the best.
    starts = [{"theta": start} for start in STARTS]
    best = run_minuit(likelihood, starts=starts)
    scan = profile(likelihood, theta, values=np.linspace(*limits, PROFILE_POINTS), minimum=best, progress=progress)
    intervals = {"theta": interval(likelihood, theta, profile=scan)}
    best = intervals["theta"].best
    intervals |= {one.name: interval(likelihood, one, minimum=best) for one in yields}
    notes = dict.fromkeys(note for notes in (scan.notes, *(one.notes for one in intervals.values())) for note in notes)
    return DemoFit(
        {name: FittedValue(best.values[name], one.lower, one.upper) for name, one in intervals.items()},
        {name: best.errors[name] for name in intervals},
        all(one.is_valid for one in intervals.values()),
        tuple(notes),
        scan.values,
        scan.minus2_log_ratio,
    )
