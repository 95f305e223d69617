"""EventSample: observables, weights and parameters of simulated or measured events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zfit_egmm.events import columns
from zfit_egmm.events.arrays import check_same_rows
from zfit_egmm.events.identity import as_event_id, numbers_from_ids, numbers_from_rows, with_patterns
from zfit_egmm.events.root import read_columns
from zfit_egmm.observables import Observable, check_observables

SPLIT_STREAM = 20_231
"""Keeps a split apart from events that were made from random numbers of the same small seed."""

MAX_GRID_POINTS = 2000
EVENTS_PER_PATTERN = 10


class EventSample:
    """Events as columns, checked once so that everything after can trust them.

    The same simulated event may stand in several rows, for example once for each theta for which it has a weight. Rows
    of one event are not independent: splits keep them together, and they count once.

    Args:
        observables: The axes, in the order of the columns of ``x``.
        x: Values of the observables in their units, shape ``(n_events, n_observables)``. Of a data frame, or an array
            with fields, the columns with the names of the observables are taken.
        theta: Parameters at which each event was generated, shape ``(n_events, n_theta)``. They may
            take a few grid values or differ for every event. Data frames as for ``x``.
        theta_names: Names of the columns of ``theta``.
        weights: Event weights, shape ``(n_events,)``; negative ones are allowed. Default: all one.
        event_id: Integers that are equal for rows of the same simulated event, shape ``(n_events,)``, or
            ``(n_events, k)`` such as run and event number. Default: rows with equal observables are the same event,
            unless so many agree by chance, as those of rounded or discrete observables do.

    Raises:
        ValueError: If shapes disagree, values are NaN, infinite or masked, events lie outside the range of
            an observable, a discrete observable is not an integer, the weights do not sum to a
            positive number, or ``event_id`` holds no integers.
    """

    def __init__(
        self,
        observables: Sequence[Observable],
        x: np.ndarray,
        *,
        theta: np.ndarray | None = None,
        theta_names: Sequence[str] = (),
        weights: np.ndarray | None = None,
        event_id: np.ndarray | None = None,
    ) -> None:
        self.observables = check_observables(observables)
        self.theta_names = columns.checked_theta_names(theta_names, theta is not None)
        check_same_rows(x=x, theta=theta, weights=weights, event_id=event_id)
        self.x = columns.checked_x(self.observables, x)
        self.theta = columns.checked_theta(self.theta_names, theta, self.n_events)
        self.weights = columns.checked_weights(weights, self.n_events)
        self.is_weighted = weights is not None
        self.event_id = None if event_id is None else as_event_id(event_id, self.n_events)
        self._event_numbers: np.ndarray | None = None

    @classmethod
    def from_root(
        cls,
        path: str | Path | Sequence[str | Path],
        tree: str,
        observables: Sequence[Observable],
        *,
        theta: Mapping[str, str] | Sequence[str] | None = None,
        weights: str | None = None,
        cut: str | None = None,
        event_id: str | Sequence[str] | None = None,
    ) -> EventSample:
        """Read events from ROOT files; only the branches that are needed are read.

        Args:
            path: A file, a glob pattern, an address such as ``root://...``, or a list of these. A file that is
                matched twice is read once.
            tree: Name of the tree.
            observables: The observables; their names are the branches.
            theta: ``{"parameter name": "branch name"}``, or the names if branches have the same.
            weights: Branch of the event weights, or an expression such as ``"w_gen * w_pileup"``.
            cut: Selection as an expression of branches, for example ``"(m4l > 105) & (mz2 < 65)"``. Functions are
                those of NumPy, such as ``sqrt``, ``abs``, ``where`` and ``maximum``.
            event_id: Branch whose integers tell the simulated events apart, or several such as ``["run", "event"]``.
                Default: found from equal rows, see :class:`EventSample`.

        Returns:
            The events that pass the cut.

        Raises:
            FileNotFoundError: If no file matches ``path``.
            KeyError: If the tree or a branch is missing; near names are listed.
            ValueError: If the events are not usable, see :class:`EventSample`.
        """
        checked = check_observables(observables)
        if not isinstance(theta, Mapping):
            theta = {name: name for name in ([theta] if isinstance(theta, str) else theta or ())}
        ids = [event_id] if isinstance(event_id, str) else list(event_id or ())
        branches = [entry.name for entry in checked] + list(theta.values()) + ([weights] if weights else []) + ids
        read = read_columns(path, tree, branches, cut=cut)
        return cls(
            checked,
            np.column_stack([read[entry.name].astype(float) for entry in checked]),
            theta=np.column_stack([read[b].astype(float) for b in theta.values()]) if theta else None,
            theta_names=tuple(theta),
            weights=read[weights].astype(float) if weights else None,
            event_id=np.concatenate([as_event_id(read[b], len(read[b])) for b in ids], axis=1) if ids else None,
        )

    @classmethod
    def concatenate(cls, samples: Sequence[EventSample]) -> EventSample:
        """Join samples of the same observables and theta names, for example of several grid points.

        Raises:
            ValueError: If the samples do not have the same observables and theta names, or only some have event ids.
        """
        if not samples:
            raise ValueError("there is no sample to concatenate")
        first = samples[0]
        for number, other in enumerate(samples):
            if other.observables != first.observables or other.theta_names != first.theta_names:
                raise ValueError(
                    f"sample {number} has other observables or theta names than sample 0: "
                    f"{[o.name for o in other.observables]} given {list(other.theta_names)} against "
                    f"{[o.name for o in first.observables]} given {list(first.theta_names)}"
                )
        ids = [sample.event_id for sample in samples if sample.event_id is not None]
        if ids and (len(ids) < len(samples) or len({entry.shape[1] for entry in ids}) > 1):
            shapes = [None if sample.event_id is None else sample.event_id.shape[1] for sample in samples]
            raise ValueError(f"samples need event ids of one form to be joined; numbers per event id: {shapes}")
        return cls(
            first.observables,
            np.concatenate([sample.x for sample in samples]),
            theta=np.concatenate([sample.theta for sample in samples]) if first.theta_names else None,
            theta_names=first.theta_names,
            weights=np.concatenate([s.weights for s in samples]) if any(s.is_weighted for s in samples) else None,
            event_id=np.concatenate(ids) if ids else None,
        )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        names = ", ".join(entry.name for entry in self.observables)
        given = f" given {', '.join(self.theta_names)}" if self.theta_names else ""
        rows = f" in {self.n_events} rows" if self.has_copies else ""
        return f"EventSample({self.n_independent} events{rows} of ({names}){given})"

    @property
    def n_events(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def event_numbers(self) -> np.ndarray:
        """Number of the simulated event of every row, from 0, shape ``(n_events,)``; equal for copies of an event."""
        if self._event_numbers is None:
            if self.event_id is None:
                self._event_numbers = numbers_from_rows(self.observables, self.x)
            else:
                self._event_numbers = numbers_from_ids(self.event_id)
        return self._event_numbers

    @property
    def n_independent(self) -> int:
        """Number of different simulated events."""
        return int(self.event_numbers.max()) + 1

    @property
    def has_copies(self) -> bool:
        """Whether a simulated event stands in more than one row."""
        return self.n_independent < self.n_events

    @property
    def effective_events(self) -> float:
        """Number of unit-weight events with the same statistical power, (sum w)^2 / sum w^2.

        With w the sum of the weights of all rows of an event.
        """
        weights = np.bincount(self.event_numbers, self.weights) if self.has_copies else self.weights
        return float(weights.sum() ** 2 / np.square(weights).sum())

    @property
    def theta_range(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest value of each parameter."""
        return tuple((float(c.min()), float(c.max())) for c in self.theta.T)

    def column(self, name: str) -> np.ndarray:
        """Values of one observable, shape ``(n_events,)``.

        Raises:
            KeyError: If there is no such observable.
        """
        names = [entry.name for entry in self.observables]
        if name not in names:
            raise KeyError(f"no observable {name!r}; there are: {', '.join(names)}")
        return self.x[:, names.index(name)]

    def merged(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Values of an observable with their weights; copies of an event as one, so that they count as one."""
        column = self.column(name)
        if not self.has_copies:
            return column, self.weights
        values, index = np.unique(column, return_inverse=True)
        return values, np.bincount(index.reshape(-1), self.weights)

    def select(self, mask: np.ndarray) -> EventSample:
        """Events chosen by a boolean mask or an array of row numbers.

        Raises:
            ValueError: If nothing is left or the weights that are left do not sum to a positive number.
        """
        part = EventSample(
            self.observables,
            self.x[mask],
            theta=self.theta[mask] if self.theta_names else None,
            theta_names=self.theta_names,
            weights=self.weights[mask] if self.is_weighted else None,
            event_id=None if self.event_id is None else self.event_id[mask],
        )
        if self.event_id is None and self._event_numbers is not None:
            part._event_numbers = numbers_from_ids(self._event_numbers[mask][:, np.newaxis])
        return part

    def with_weights(self, weights: np.ndarray) -> EventSample:
        """The same events with other weights, shape ``(n_events,)``."""
        other = EventSample(
            self.observables,
            self.x,
            theta=self.theta if self.theta_names else None,
            theta_names=self.theta_names,
            weights=weights,
            event_id=self.event_id,
        )
        other._event_numbers = self._event_numbers
        return other

    def independent(self, *, seed: int = 0) -> EventSample:
        """One row of each simulated event, chosen at random: what tests of independent events need.

        Every theta keeps its distribution of the observables and its weights, and a share of its events.
        """
        if not self.has_copies:
            return self
        order = np.random.default_rng([SPLIT_STREAM, seed, 1]).permutation(self.n_events)
        _, first = np.unique(self.event_numbers[order], return_index=True)
        return self.select(np.sort(order[first]))

    def transformed(self, observables: Sequence[Observable], x: np.ndarray) -> EventSample:
        """The same events in other observables.

        Args:
            observables: The new axes.
            x: Values of the same events, shape ``(n_events, n_observables)``.
        """
        return EventSample(
            observables,
            x,
            theta=self.theta if self.theta_names else None,
            theta_names=self.theta_names,
            weights=self.weights if self.is_weighted else None,
            event_id=self.event_numbers if self.has_copies else None,
        )

    def split(self, *fractions: float, seed: int = 0) -> tuple[EventSample, ...]:
        """Split at random into parts that keep the mixture of theta and of the weights' signs.

        Every part holds the same share of each grid value of theta, and of positive and negative
        weights, up to one event. Weights are not changed. All rows of a simulated event go to the same part.

        Args:
            fractions: Shares of the parts, for example ``0.8, 0.2``. They must sum to one.
            seed: Seed of the split.

        Returns:
            One sample per fraction.

        Raises:
            ValueError: If the fractions do not sum to one or a part would be empty.
        """
        shares = np.asarray(fractions, dtype=float)
        if len(shares) < 2 or not np.all(shares > 0) or abs(shares.sum() - 1) > 1e-9:
            raise ValueError(f"fractions must be positive and sum to one, got {fractions}; for example 0.8, 0.2")
        rank = self._rank_within_stratum(np.random.default_rng([SPLIT_STREAM, seed]))
        part = np.searchsorted(np.cumsum(shares)[:-1], rank, side="right")
        for number in range(len(shares)):
            if not np.any(part == number):
                raise ValueError(
                    f"part {number} with fraction {shares[number]:g} of {self.n_events} events would be empty"
                )
        return tuple(self.select(part == number) for number in range(len(shares)))

    def theta_patterns(self, *, most_points: int, by_sign: bool = False) -> np.ndarray:
        """Groups of simulated events that stand at the same theta.

        Args:
            most_points: Most points of a grid; of more, theta makes no difference.
            by_sign: Whether events with other signs of their weights are other groups.

        Returns:
            Integers, equal within a group, shape ``(n_independent,)``. Of an event that stands in several rows all
            theta count; if too few events have the same, all events are one group.
        """
        group = (self.weights < 0).astype(np.int64) * by_sign
        if self.theta_names:
            points, index = np.unique(self.theta, axis=0, return_inverse=True)
            if len(points) <= most_points:
                group = group + 2 * index.reshape(-1)
        if not self.has_copies:
            return group
        patterns = with_patterns(self.event_numbers, group)
        is_grid = patterns.max() < min(most_points, self.n_independent // EVENTS_PER_PATTERN)
        return patterns if is_grid else np.zeros_like(patterns)

    def _rank_within_stratum(self, rng: np.random.Generator) -> np.ndarray:
        """Position in [0, 1) of each event in the shuffled list of events of its theta and sign, for every row."""
        stratum = self.theta_patterns(most_points=MAX_GRID_POINTS, by_sign=True)
        n_events = self.n_independent
        order = np.lexsort((rng.random(n_events), stratum))
        _, start, count = np.unique(stratum[order], return_index=True, return_counts=True)
        position = np.arange(n_events) - np.repeat(start, count)
        jitter = np.repeat(rng.random(len(count)), count)
        rank = np.empty(n_events)
        rank[order] = (position + jitter) / np.repeat(count, count)
        return rank[self.event_numbers]
