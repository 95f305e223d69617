"""Coverage of highest-density regions: how often simulated events lie where the model says that most events lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.chi_square import ChiSquare, weighted_mean
from zfit_egmm.diagnostics.comparison import (
    Progress,
    check_match,
    log_densities,
    model_events,
    part,
    report,
    subsample,
)
from zfit_egmm.diagnostics.slices import ThetaSlice, theta_slices
from zfit_egmm.diagnostics.smooth import uniformity_test
from zfit_egmm.events.sample import EventSample

LEVELS = tuple(k / 20 for k in range(1, 20))


@dataclass(frozen=True)
class Coverage:
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
) -> tuple[Coverage, ...]:
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
        progress: Called with the part that is done.

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
    model = model_events(density, chosen, copies=copies, seed=seed, progress=part(progress, 0.0, 0.5))
    own = log_densities(density, chosen.x, chosen.theta)
    others = log_densities(density, model.x, model.theta, progress=part(progress, 0.5, 1.0)).reshape(copies, -1)
    n_above, n_ties = np.sum(others > own, axis=0), np.sum(others == own, axis=0)
    place = np.random.default_rng([seed, 3]).random(len(chosen))
    content = (n_above + place * (n_ties + 1)) / (copies + 1)
    report(progress, 1.0)
    return (
        _coverage(None, content, chosen.weights, chosen.is_weighted, nominal),
        *(
            _coverage(which, content[which.mask], chosen.weights[which.mask], chosen.is_weighted, nominal)
            for which in theta_slices(chosen)
        ),
    )


def _coverage(
    which: ThetaSlice | None, content: np.ndarray, weights: np.ndarray, is_weighted: bool, levels: np.ndarray
) -> Coverage:
    found = np.array([weighted_mean(content <= level, weights) for level in levels])
    return Coverage(which, levels, found[:, 0], found[:, 1], uniformity_test(content, weights, is_weighted=is_weighted))
