"""Columns that others determine: constants, duplicates and sums, along which there is no density."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from zfit_egmm.events.sample import EventSample

MOST_EVENTS = 20_000

SAME_RANKS = 1e-6
"""One minus the correlation of the ranks of two columns, below which one is a function of the other."""

SMALLEST_SPREAD = 1e-4
"""Standard deviation of a combination of columns, each scaled to one, that counts as constant."""

LEAST_COEFFICIENT = 0.05


def dependence_doubts(sample: EventSample) -> list[str]:
    """Observables and parameters that are constant or follow from others, in sentences."""
    rows = np.random.default_rng(0).permutation(sample.n_events)[:MOST_EVENTS]
    found, columns = [], {}
    for observable, column in zip(sample.observables, sample.x.T, strict=True):
        if observable.is_discrete:
            continue
        if np.ptp(column) == 0:
            found.append(
                f"The continuous observable {observable.name!r} is {column[0]:.10g} in all {len(column)} events, where "
                "it has no density: leave it out."
            )
        else:
            columns[f"observable {observable.name!r}"] = column[rows]
    columns |= {
        f"parameter {name!r}": column[rows]
        for name, column in zip(sample.theta_names, sample.theta.T, strict=True)
        if np.ptp(column[rows]) > 0
    }
    columns = {name: column for name, column in columns.items() if np.ptp(column) > 0}
    pairs, columns = _without_duplicates(columns)
    return found + pairs + _sums(columns)


def _without_duplicates(columns: dict[str, np.ndarray]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Sentences on columns that follow from an earlier one, and the others."""
    found: list[str] = []
    ranks: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        rank = rankdata(column)
        rank = (rank - rank.mean()) / rank.std()
        twin = next((other for other, r in ranks.items() if abs(np.mean(rank * r)) > 1 - SAME_RANKS), None)
        if twin is None:
            ranks[name] = rank
        else:
            found.append(_sentence(name, [twin]))
    return found, {name: columns[name] for name in ranks}


def _sums(columns: dict[str, np.ndarray]) -> list[str]:
    """A sentence for each column that is a linear function of columns before it."""
    names, found = list(columns), []
    kept: list[str] = []
    for name in names:
        used = [*kept, name]
        scaled = np.stack([(columns[n] - columns[n].mean()) / columns[n].std() for n in used], axis=1)
        values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        if len(used) > 1 and values[0] < SMALLEST_SPREAD**2:
            others = [n for n, v in zip(kept, vectors[:-1, 0], strict=True) if abs(v) > LEAST_COEFFICIENT]
            found.append(_sentence(name, others))
        else:
            kept.append(name)
    return found


def _sentence(name: str, others: list[str]) -> str:
    if all(entry.startswith("parameter") for entry in (name, *others)):
        return (
            f"The {name} follows from {' and '.join(others)} in all events, so their effects cannot be told apart: "
            "simulate other combinations, or leave one of them out of theta."
        )
    dropped = name if name.startswith("observable") else next(n for n in others if n.startswith("observable"))
    return (
        f"The {name} follows from {' and '.join(others)}, so the density of both is infinite on a surface: leave "
        f"{dropped.removeprefix('observable ')} out."
    )
