"""Steps in theta that are wider than the structures that move with it: nothing tells the density in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from zfit_egmm.events.sample import EventSample
from zfit_egmm.observables import Observable

FEWEST_EVENTS, MOST_EVENTS = 100, 5000
"""Events at a value of theta below which it is not judged, and of which more are not used."""

MOST_LINES = 20
"""Lines along one parameter of a grid of several that are judged."""

EVENTS_PER_BIN, FEWEST_BINS, MOST_BINS = 15, 4, 40

TIMES_MORE, N_SIGMA = 3.0, 1.0
"""Where a value of theta has so many times as many events as both of its neighbours, neither tells what is there."""

LEAST_UNKNOWN, MOST_OF_MOVED = 0.05, 0.8
"""Share of the events at such places above which steps are too wide, and the same in units of the events that are
where the neighbours have fewer. Of a Gaussian that moves by 2, 2.5 and 3 of its widths per step the second is 0.6 to
0.7, 0.9 and 0.95, and trained densities are wrong between the steps by 0.002, 0.004 and 0.02 nats; at 5 by 0.4."""


class Step(NamedTuple):
    """Three neighbouring values of a parameter, seen in one observable.

    Args:
        unknown: Share of the events at the middle value where neither neighbour has a third as many.
        moved: Share of the events at the middle value in excess of both neighbours.
        values: The three values.
    """

    unknown: float
    moved: float
    values: tuple[float, float, float]


def step_doubts(sample: EventSample) -> list[str]:
    """Parameters whose simulated values are too far apart for an observable, in sentences.

    Every simulated value but the first and the last is left out in turn: where it has far more events than both its
    neighbours, the density between simulated values is a guess as well.
    """
    found = []
    for number, name in enumerate(sample.theta_names):
        steps: dict[str, list[Step]] = {observable.name: [] for observable in sample.observables}
        for values, rows in _neighbours(sample, number):
            for observable, column in zip(sample.observables, sample.x.T, strict=True):
                steps[observable.name].append(Step(*_shares(observable, column, sample.weights, rows), values))
        found += [_sentence(name, entry, max(own)) for entry, own in steps.items() if _are_too_wide(own)]
    return found


def _are_too_wide(steps: list[Step]) -> bool:
    """Whether the neighbours do not tell the density at the middle values, all together: single ones fluctuate."""
    unknown, moved = (sum(values) for values in ([s.unknown for s in steps], [s.moved for s in steps]))
    return unknown > max(LEAST_UNKNOWN * len(steps), MOST_OF_MOVED * moved)


def _neighbours(sample: EventSample, number: int) -> Iterator[tuple[tuple[float, float, float], list[np.ndarray]]]:
    """Three neighbouring values of a parameter at equal values of the others, with the rows of each."""
    theta, rng = sample.theta, np.random.default_rng(0)
    points, index, counts = np.unique(theta, axis=0, return_inverse=True, return_counts=True)
    if len(points) * FEWEST_EVENTS > sample.n_events:
        return
    rows_of = np.split(np.argsort(index.reshape(-1), kind="stable"), np.cumsum(counts)[:-1])
    rows_of = [rng.permutation(rows)[:MOST_EVENTS] for rows in rows_of]
    others = np.delete(points, number, axis=1)
    _, line = np.unique(others, axis=0, return_inverse=True)
    lines = rng.permutation(line.max() + 1)[:MOST_LINES]
    for which in lines:
        # Points are in ascending order of every column in turn, so those of a line are too.
        on_line = [k for k in np.flatnonzero(line.reshape(-1) == which) if counts[k] >= FEWEST_EVENTS]
        for three in zip(on_line, on_line[1:], on_line[2:], strict=False):
            low, middle, high = (float(points[k, number]) for k in three)
            yield (low, middle, high), [rows_of[k] for k in three]


def _shares(
    observable: Observable, column: np.ndarray, weights: np.ndarray, rows: list[np.ndarray]
) -> tuple[float, float]:
    """Shares of the events of the second rows where the first and the third have far fewer, and in excess of both."""
    pooled = np.sort(column[np.concatenate(rows)])
    if observable.is_discrete:
        edges = np.arange(observable.low - 0.5, observable.high + 1)
    else:
        n_bins = int(np.clip(len(pooled) // EVENTS_PER_BIN, FEWEST_BINS, MOST_BINS))
        edges = np.unique(pooled[np.linspace(0, len(pooled) - 1, n_bins + 1).astype(int)])
    if len(edges) < 2 or min(weights[part].sum() for part in rows) <= 0:
        return 0.0, 0.0
    contents, variances = [], []
    for part in rows:
        w = weights[part] / weights[part].sum()
        contents.append(np.histogram(column[part], edges, weights=w)[0])
        variances.append(np.histogram(column[part], edges, weights=w**2)[0])
    most = np.maximum(contents[0], contents[2])
    most_variance = np.maximum(variances[0], variances[2])
    is_unknown, is_moved = (
        contents[1] - times * most > N_SIGMA * np.sqrt(variances[1] + times**2 * most_variance)
        for times in (TIMES_MORE, 1.0)
    )
    return float(contents[1][is_unknown].sum()), float((contents[1] - most)[is_moved].sum())


def _sentence(name: str, observable: str, step: Step) -> str:
    low, middle, high = step.values
    return (
        f"The steps in {name} are wider than the structures of {observable!r}: at {name} = {middle:g}, "
        f"{100 * step.unknown:.0f} % of the events lie where there are less than a third as many at {low:g} and at "
        f"{high:g}, so the density between simulated values is a guess. Simulate values in between, or replace "
        f"{observable!r} by an observable that hardly moves with {name}, such as their ratio or difference."
    )
