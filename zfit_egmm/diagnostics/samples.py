"""Held-out simulated events next to events drawn from a density at the same thetas.

Every simulated event gets partners: events drawn at its own theta, which carry its weight. Simulation and model then
have the same distribution of theta and the same total weight, whatever the grid or the weights. If the density is
right and weights depend on theta alone, an event and its partner may be swapped without any change of their
distribution, on which the permutation tests of this package rest. If weights also depend on the observables, swapping
still gives the right variance, so these tests hold for large samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.events.sample import EventSample

Progress = Callable[[float], None] | None
"""Called now and then with the fraction of the work that is done, 0 to 1; ``None`` if nobody wants to know."""

PIECE = 100_000  # events that are handed to a density at a time, to tell how far it is


def check_match(density: Density, sample: EventSample) -> None:
    """Check that a sample has the observables and parameters of a density, in the same order, and independent events.

    Raises:
        ValueError: If it does not.
    """
    for what, own, other in (
        ("observables", [o.name for o in density.observables], [o.name for o in sample.observables]),
        ("parameters", list(density.theta_names), list(sample.theta_names)),
        ("limits", [o.limits for o in density.observables], [o.limits for o in sample.observables]),
    ):
        if own != other:
            raise ValueError(
                f"the density has the {what} {own}, but the sample has {other}; "
                "read the held-out events with the observables and parameters of the density"
            )
    if sample.has_copies:
        raise ValueError(
            f"the {sample.n_events} rows of the sample are {sample.n_independent} simulated events, and copies of an "
            "event are not independent; test with one row of each: sample.independent()"
        )


def model_events(
    density: Density, sample: EventSample, *, copies: int = 1, seed: int = 0, progress: Progress = None
) -> EventSample:
    """Draw partners of simulated events from a density.

    Args:
        density: The density.
        sample: Simulated events.
        copies: Partners per event.
        seed: Seed of the draw.
        progress: Called with the fraction that is done.

    Returns:
        ``copies * n_events`` events. Row ``c * n_events + i`` is partner ``c`` of event ``i``: it was drawn at the
        theta of event ``i`` and has its weight divided by ``copies``.

    Raises:
        ValueError: If the density and the sample do not match, or ``copies`` is not positive.
    """
    check_match(density, sample)
    if copies < 1:
        raise ValueError(f"copies must be at least one, got {copies}")
    theta = np.tile(sample.theta, (copies, 1))

    def draw(rows: np.ndarray, number: int) -> np.ndarray:
        own_seed = int(np.random.SeedSequence(seed).generate_state(number + 1)[-1])
        return density.sample(len(rows), theta[rows] if sample.theta_names else None, seed=own_seed)

    drawn = _in_pieces(draw, len(theta), progress)
    return EventSample(
        sample.observables,
        drawn,
        theta=theta if sample.theta_names else None,
        theta_names=sample.theta_names,
        weights=np.tile(sample.weights / copies, copies) if sample.is_weighted or copies > 1 else None,
    )


def log_densities(density: Density, x: np.ndarray, theta: np.ndarray, *, progress: Progress = None) -> np.ndarray:
    """Log density of events, piece by piece.

    Args:
        density: The density.
        x: Shape ``(n_events, n_observables)``, physical units.
        theta: Shape ``(n_events, n_theta)``, or ``(n_theta,)`` for all events.
        progress: Called with the fraction that is done.

    Returns:
        Shape ``(n_events,)``, nats.
    """

    def evaluate(rows: np.ndarray, _: int) -> np.ndarray:
        return density.log_prob(x[rows], (theta if theta.ndim == 1 else theta[rows]) if density.theta_names else None)

    return _in_pieces(evaluate, len(x), progress)


def uniform_numbers(density: Density, sample: EventSample, *, seed: int = 0, progress: Progress = None) -> np.ndarray:
    """Map of events to uniform numbers, see :meth:`zfit_egmm.Density.to_uniform`, piece by piece.

    Args:
        density: The density.
        sample: The events.
        seed: Seed of the places of discrete values in their cells.
        progress: Called with the fraction that is done.

    Returns:
        Shape ``(n_events, n_observables)``.
    """

    def transform(rows: np.ndarray, number: int) -> np.ndarray:
        theta = sample.theta[rows] if sample.theta_names else None
        return density.to_uniform(sample.x[rows], theta, seed=seed + number)

    return _in_pieces(transform, len(sample), progress)


def subsample(sample: EventSample, n_events: int, *, seed: int = 0) -> EventSample:
    """At most so many events, chosen at random without replacement."""
    if sample.n_events <= n_events:
        return sample
    return sample.select(np.random.default_rng(seed).choice(sample.n_events, n_events, replace=False))


def _in_pieces(function: Callable[[np.ndarray, int], np.ndarray], n_events: int, progress: Progress) -> np.ndarray:
    """Results of a function of row numbers, and of the number of the piece, for one piece after the other."""
    pieces = np.array_split(np.arange(n_events), max(1, -(-n_events // PIECE)))
    results = []
    for number, rows in enumerate(pieces):
        results.append(function(rows, number))
        advance(progress, (number + 1) / len(pieces))
    return np.concatenate(results)


def advance(progress: Progress, fraction: float) -> None:
    """Tell how much is done, if anyone wants to know."""
    if progress is not None:
        progress(float(fraction))


def within(progress: Progress, start: float, stop: float) -> Progress:
    """Progress of a piece of work that takes the whole from ``start`` to ``stop``."""
    if progress is None:
        return None
    return lambda fraction: progress(start + (stop - start) * fraction)
