"""Coverage of highest-density regions: how often simulated events lie where the model says that most events lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Entry, Finding, Judge, Task, Threshold, figures, without
from zfit_egmm.diagnostics.samples import Progress, advance, check_match, log_densities, model_events, subsample, within
from zfit_egmm.diagnostics.statistics.chi_square import ChiSquare
from zfit_egmm.diagnostics.statistics.means import weighted_mean
from zfit_egmm.diagnostics.statistics.slices import ThetaSlice, theta_slices
from zfit_egmm.diagnostics.statistics.smooth import uniformity_test
from zfit_egmm.events.sample import EventSample

LEVELS = tuple(k / 20 for k in range(1, 20))


@dataclass(frozen=True)
class HighestDensityCoverage:
    """Observed coverage of highest-density regions.

    Args:
        slice: The part of theta, ``None`` for all events.
        levels: Nominal coverage of the regions, shape ``(n_levels,)``.
        observed: Fraction of the simulated weight inside, shape ``(n_levels,)``.
        error: Its standard error.
        test: Test that the coverage is right at all levels at once.
    """

    slice: ThetaSlice | None
    levels: np.ndarray
    observed: np.ndarray
    error: np.ndarray
    test: ChiSquare


def highest_density_coverage(
    density: Density,
    sample: EventSample,
    *,
    levels: Sequence[float] = LEVELS,
    max_events: int = 20_000,
    copies: int = 19,
    seed: int = 0,
    progress: Progress = None,
) -> tuple[HighestDensityCoverage, ...]:
    """Coverage of highest-density regions, of all events and in slices of theta.

    An event lies inside the region of level a if its density is above that of all but a fraction a of the model's
    events at the same theta. That fraction is found from the event's rank among a few model events of its own; the
    rank takes a random place inside its step, so that it is uniform for a right model.

    Coverage says whether the model is too narrow or too wide altogether. Shifts hardly show.

    Args:
        density: The density.
        sample: Simulated events that it was not trained with.
        levels: Nominal coverage of the regions, in (0, 1).
        max_events: Most simulated events to use.
        copies: Model events per simulated event.
        seed: Seed of the choice, the model events and the places.
        progress: Called with the fraction that is done.

    Returns:
        The coverage of all events, then of every slice of theta.

    Raises:
        ValueError: If the density and the sample do not match, or a level is not in (0, 1).
    """
    check_match(density, sample)
    nominal = np.asarray(levels, dtype=float)
    if not np.all((nominal > 0) & (nominal < 1)):
        raise ValueError(f"levels must lie in (0, 1), got {levels}")
    chosen = subsample(sample, max_events, seed=seed)
    model = model_events(density, chosen, copies=copies, seed=seed, progress=within(progress, 0.0, 0.5))
    own = log_densities(density, chosen.x, chosen.theta)
    others = log_densities(density, model.x, model.theta, progress=within(progress, 0.5, 1.0)).reshape(copies, -1)
    n_above, n_ties = np.sum(others > own, axis=0), np.sum(others == own, axis=0)
    place = np.random.default_rng([seed, 3]).random(len(chosen))
    content = (n_above + place * (n_ties + 1)) / (copies + 1)
    advance(progress, 1.0)
    return (
        _coverage(None, content, chosen.weights, chosen.is_weighted, nominal),
        *(
            _coverage(which, content[which.mask], chosen.weights[which.mask], chosen.is_weighted, nominal)
            for which in theta_slices(chosen)
        ),
    )


def _coverage(
    which: ThetaSlice | None, content: np.ndarray, weights: np.ndarray, is_weighted: bool, levels: np.ndarray
) -> HighestDensityCoverage:
    found = np.array([weighted_mean(content <= level, weights) for level in levels])
    return HighestDensityCoverage(
        which, levels, found[:, 0], found[:, 1], uniformity_test(content, weights, is_weighted=is_weighted)
    )


class CoverageEntry(Entry):
    name = "coverage"
    title = "Coverage of highest-density regions"
    reading = "How many simulated events lie in the smallest region that holds a given fraction of the model."
    good = "lines near zero. Above zero the model is too wide, below too narrow."
    cost = 3.0
    thresholds = (Threshold("coverage", 0.03, "observed minus nominal coverage of highest-density regions"),)
    keys = ("coverage",)

    def run(self, task: Task) -> tuple[HighestDensityCoverage, ...]:
        """With 20,000 events at most."""
        return highest_density_coverage(task.density, task.sample, seed=task.seed, progress=task.progress)

    def findings(self, result: tuple[HighestDensityCoverage, ...], judge: Judge) -> list[Finding]:
        whole = result[0]
        gaps = np.abs(whole.observed - whole.levels)
        worst = int(np.argmax(gaps))
        level, inside, error = (100 * values[worst] for values in (whole.levels, whole.observed, whole.error))
        text = (
            f"Highest-density regions of {level:.0f} % hold {inside:.1f} +- {error:.1f} % of the "
            "events, which is the largest difference."
        )
        return [judge.effect("coverage", gaps[worst], whole.error[worst], text, of_many=True)]

    def numbers(self, result: tuple[HighestDensityCoverage, ...]) -> tuple[list[dict]]:
        return ([{"slice": one.slice.label if one.slice else "all", **without(one, "slice")} for one in result],)

    def content(self, result: tuple[HighestDensityCoverage, ...]) -> Content:
        return Content(figures=[plot_highest_density_coverage(result)])


def plot_highest_density_coverage(coverages: Sequence[HighestDensityCoverage]) -> figures.Figure:
    """Observed minus nominal coverage of highest-density regions, of all events and of slices of theta."""
    from matplotlib import colormaps

    figure = figures.new_figure(6.0, 4.0)
    axes = figure.add_subplot()
    figures.reference_line(axes, 0)
    shades = colormaps["viridis"](np.linspace(0, 0.9, max(len(coverages) - 1, 1)))
    for number, coverage in enumerate(coverages):
        gap = coverage.observed - coverage.levels
        if coverage.slice is None:
            axes.fill_between(coverage.levels, -coverage.error, coverage.error, color="0.85", label="68 % if right")
            axes.plot(
                coverage.levels, gap, "o-", color=figures.MODEL, ms=3, label=f"all, p = {coverage.test.p_value:.2g}"
            )
        else:
            axes.plot(coverage.levels, gap, color=shades[number - 1], lw=0.9, label=coverage.slice.label)
    axes.set_xlim(0, 1)
    axes.set_xlabel("nominal coverage")
    axes.set_ylabel("observed - nominal coverage")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
