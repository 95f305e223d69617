"""The diagnostics of an evaluation one after the other: what each runs, on how many events, and when it applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.calibration import calibration
from zfit_egmm.diagnostics.comparison import Progress, subsample
from zfit_egmm.diagnostics.coverage import highest_density_coverage
from zfit_egmm.diagnostics.divergences import observable_divergences
from zfit_egmm.diagnostics.energy import energy_test
from zfit_egmm.diagnostics.marginals import pair_pulls, pull_frequencies, spectra
from zfit_egmm.diagnostics.regions import worst_regions
from zfit_egmm.diagnostics.spectrum_ratios import ThetaRatio, theta_ratios
from zfit_egmm.diagnostics.theta import (
    ThetaBias,
    classifier_comparison,
    closure_fits,
    information_test,
    reweighting_closure,
    score_test,
    theta_bias,
)
from zfit_egmm.diagnostics.two_sample import ClassifierTest, classifier_test
from zfit_egmm.events.sample import EventSample

CLASSIFIER_EVENTS, NETWORK_EVENTS, SECOND_ORDER_EVENTS = 100_000, 40_000, 100_000
MOST_RATIOS, EVENTS_PER_RATIO = 8, 500
MOST_BINS, EVENTS_PER_BIN = 40, 50
MOST_BINS_IN_2D, EVENTS_PER_BIN_IN_2D = 20, 25


@dataclass(frozen=True, eq=False)
class Task:
    """What all diagnostics start from.

    Args:
        density: The density.
        sample: Held-out events.
        n_expected: Number of events of the measurement.
        seed: Seed of everything random.
    """

    density: Density
    sample: EventSample
    n_expected: float
    seed: int

    def events(self, most: int) -> EventSample:
        """At most so many events."""
        return subsample(self.sample, most, seed=self.seed)

    @property
    def n_bins(self) -> int:
        """Bins of a spectrum; fewer than usual if there are few events."""
        return int(np.clip(self.sample.effective_events / EVENTS_PER_BIN, 4, MOST_BINS))

    @property
    def n_bins_in_2d(self) -> int:
        """Bins along each axis of a map."""
        return int(np.clip(np.sqrt(self.sample.effective_events / EVENTS_PER_BIN_IN_2D), 2, MOST_BINS_IN_2D))

    @property
    def theta_points(self) -> np.ndarray:
        """Different values of theta, shape ``(n_points, n_theta)``."""
        return np.unique(self.sample.theta, axis=0)


Found = Mapping[str, Any]
"""Results of the diagnostics before, by name; without those that were skipped or failed."""


@dataclass(frozen=True)
class Stage:
    """One diagnostic.

    Args:
        name: Field of :class:`zfit_egmm.diagnostics.results.Results`.
        title: What it does, for people.
        run: Computes the result.
        why_not: A reason to skip it, or ``None``.
        cost: Rough share of the time, for the progress bar.
    """

    name: str
    title: str
    run: Callable[[Task, Found, Progress], Any]
    why_not: Callable[[Task, Found], str | None]
    cost: float = 1.0


def _always(task: Task, found: Found) -> str | None:
    del task, found
    return None


def _needs_pairs(task: Task, found: Found) -> str | None:
    del found
    return "there is only one observable" if len(task.sample.observables) < 2 else None


def _needs(name: str) -> Callable[[Task, Found], str | None]:
    return lambda _, found: None if name in found else f"it needs the result of {name!r}, which there is none of"


def _needs_factors(task: Task, found: Found) -> str | None:
    del found
    if isinstance(task.density, Density) or hasattr(task.density, "conditional_cdf"):
        return None
    return f"a density of the kind {type(task.density).__name__} has no conditional factors"


def _needs_theta(task: Task, found: Found) -> str | None:
    del found
    return None if task.sample.theta_names else "the density has no parameters"


def _needs_grid(task: Task, found: Found) -> str | None:
    reason = _needs_theta(task, found)
    if reason is not None:
        return reason
    n_points = len(task.theta_points)
    if n_points == 1:
        return "all events are at the same theta"
    if n_points * EVENTS_PER_RATIO > len(task.sample):
        return f"it needs {EVENTS_PER_RATIO} events at each of a few theta; here {len(task.sample)} have {n_points}"
    return None


def _trees(task: Task, progress: Progress) -> ClassifierTest:
    """With one thread: so few events gain nothing from threads, which wait for each other where the cores are busy."""
    with threadpool_limits(1, user_api="openmp"):
        return classifier_test(
            task.density, task.sample, max_events=CLASSIFIER_EVENTS, seed=task.seed, progress=progress
        )


def _bias(task: Task, found: Found) -> ThetaBias:
    """With fits where they were made of the same events."""
    fits = found.get("closure") if len(task.sample) <= SECOND_ORDER_EVENTS else None
    return theta_bias(task.density, task.sample, task.n_expected, fits=fits)


def _ratios(task: Task, progress: Progress) -> tuple[ThetaRatio, ...]:
    """From the theta nearest to the middle to a few that are far from it and from each other."""
    points = task.theta_points
    scaled = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-300)
    chosen = [int(np.argmin(np.sum(scaled**2, axis=1)))]
    while len(chosen) < min(len(points), MOST_RATIOS + 1):
        gaps = np.sum((scaled[:, np.newaxis] - scaled[chosen]) ** 2, axis=2).min(axis=1)
        chosen.append(int(np.argmax(gaps)))
    is_chosen = np.any(np.all(task.sample.theta[:, np.newaxis] == points[chosen], axis=2), axis=1)
    sample = task.sample.select(is_chosen)
    return theta_ratios(task.density, sample, points[chosen[0]].tolist(), seed=task.seed, progress=progress)


STAGES = (
    Stage(
        "spectra",
        "spectra",
        lambda t, _, p: spectra(t.density, t.sample, n_bins=t.n_bins, seed=t.seed, progress=p),
        _always,
        2,
    ),
    Stage(
        "pair_pulls",
        "pulls in two dimensions",
        lambda t, _, p: pair_pulls(t.density, t.sample, n_bins=t.n_bins_in_2d, seed=t.seed, progress=p),
        _needs_pairs,
        2,
    ),
    Stage(
        "pull_frequencies",
        "frequencies of pulls",
        lambda _, f, __: pull_frequencies(f["pair_pulls"]),
        _needs("pair_pulls"),
        0.1,
    ),
    Stage(
        "divergences",
        "divergences",
        lambda t, _, p: observable_divergences(t.density, t.sample, seed=t.seed, progress=p),
        _always,
        2,
    ),
    Stage(
        "classifier",
        "two-sample test with boosted trees",
        lambda t, _, p: _trees(t, p),
        _always,
        3,
    ),
    Stage(
        "network",
        "two-sample test with a network",
        lambda t, _, p: classifier_test(
            t.density, t.sample, classifier="network", max_events=NETWORK_EVENTS, seed=t.seed, progress=p
        ),
        _always,
        3,
    ),
    Stage(
        "worst_regions",
        "worst regions",
        lambda t, f, _: worst_regions(f["classifier"], seed=t.seed),
        _needs("classifier"),
        0.2,
    ),
    Stage("energy", "energy test", lambda t, _, p: energy_test(t.density, t.sample, seed=t.seed, progress=p), _always),
    Stage(
        "calibration",
        "calibration of the factors",
        lambda t, _, p: calibration(t.density, t.sample, seed=t.seed, progress=p),
        _needs_factors,
        2,
    ),
    Stage(
        "coverage",
        "coverage of highest-density regions",
        lambda t, _, p: highest_density_coverage(t.density, t.sample, seed=t.seed, progress=p),
        _always,
        3,
    ),
    Stage("score", "mean scores", lambda t, _, __: score_test(t.density, t.sample), _needs_theta, 2),
    Stage(
        "closure",
        "closure fits",
        lambda t, _, __: closure_fits(t.density, t.events(SECOND_ORDER_EVENTS)),
        _needs_theta,
        6,
    ),
    Stage("bias", "bias on theta", lambda t, f, _: _bias(t, f), _needs_theta, 2),
    Stage(
        "information",
        "Fisher information",
        lambda t, _, __: information_test(t.density, t.events(SECOND_ORDER_EVENTS)),
        _needs_theta,
        3,
    ),
    Stage("reweighting", "reweighting", lambda t, _, __: reweighting_closure(t.density, t.sample), _needs_grid),
    Stage(
        "comparison",
        "likelihood ratios against a classifier",
        lambda t, _, __: classifier_comparison(t.density, t.events(CLASSIFIER_EVENTS), seed=t.seed),
        _needs_grid,
        2,
    ),
    Stage("ratios", "ratios of spectra", lambda t, _, p: _ratios(t, p), _needs_grid, 2),
)
"""All diagnostics, in the order in which they run."""
