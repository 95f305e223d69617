"""EventSample: observables, weights and parameters of simulated or measured events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zfit_egmm.events.root import read_columns
from zfit_egmm.observables import Observable, check_observables

SPLIT_STREAM = 20_231
"""Keeps a split apart from events that were made from random numbers of the same small seed."""

MAX_GRID_POINTS = 2000


class EventSample:
    """Events as columns, checked once so that everything after can trust them.

    Args:
        observables: The axes, in the order of the columns of ``x``.
        x: Values of the observables in their units, shape ``(n_events, n_observables)``.
        theta: Parameters at which each event was generated, shape ``(n_events, n_theta)``. They may
            take a few grid values or differ for every event.
        theta_names: Names of the columns of ``theta``.
        weights: Event weights, shape ``(n_events,)``; negative ones are allowed. Default: all one.

    Raises:
        ValueError: If shapes disagree, values are NaN or infinite, events lie outside the range of
            an observable, a discrete observable is not an integer, or the weights do not sum to a
            positive number.
    """

    def __init__(
        self,
        observables: Sequence[Observable],
        x: np.ndarray,
        *,
        theta: np.ndarray | None = None,
        theta_names: Sequence[str] = (),
        weights: np.ndarray | None = None,
    ) -> None:
        self.observables = check_observables(observables)
        self.theta_names = _check_theta_names(theta_names, theta is not None)
        self.x = _check_x(self.observables, x)
        self.theta = _check_theta(self.theta_names, theta, self.n_events)
        self.weights = _check_weights(weights, self.n_events)
        self.is_weighted = weights is not None

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
        branches = [entry.name for entry in checked] + list(theta.values()) + ([weights] if weights else [])
        columns = read_columns(path, tree, branches, cut=cut)
        return cls(
            checked,
            np.column_stack([columns[entry.name].astype(float) for entry in checked]),
            theta=np.column_stack([columns[b].astype(float) for b in theta.values()]) if theta else None,
            theta_names=tuple(theta),
            weights=columns[weights].astype(float) if weights else None,
        )

    @classmethod
    def concatenate(cls, samples: Sequence[EventSample]) -> EventSample:
        """Join samples of the same observables and theta names, for example of several grid points.

        Raises:
            ValueError: If the samples do not have the same observables and theta names.
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
        return cls(
            first.observables,
            np.concatenate([sample.x for sample in samples]),
            theta=np.concatenate([sample.theta for sample in samples]) if first.theta_names else None,
            theta_names=first.theta_names,
            weights=np.concatenate([s.weights for s in samples]) if any(s.is_weighted for s in samples) else None,
        )

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        names = ", ".join(entry.name for entry in self.observables)
        given = f" given {', '.join(self.theta_names)}" if self.theta_names else ""
        return f"EventSample({self.n_events} events of ({names}){given})"

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.x)

    @property
    def effective_events(self) -> float:
        """Number of unit-weight events with the same statistical power, (sum w)^2 / sum w^2."""
        return float(self.weights.sum() ** 2 / np.square(self.weights).sum())

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

    def select(self, mask: np.ndarray) -> EventSample:
        """Events chosen by a boolean mask or an array of row numbers.

        Raises:
            ValueError: If nothing is left or the weights that are left do not sum to a positive number.
        """
        return EventSample(
            self.observables,
            self.x[mask],
            theta=self.theta[mask] if self.theta_names else None,
            theta_names=self.theta_names,
            weights=self.weights[mask] if self.is_weighted else None,
        )

    def split(self, *fractions: float, seed: int = 0) -> tuple[EventSample, ...]:
        """Split at random into parts that keep the mixture of theta and of the weights' signs.

        Every part holds the same share of each grid value of theta, and of positive and negative
        weights, up to one event. Weights are not changed.

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

    def _rank_within_stratum(self, rng: np.random.Generator) -> np.ndarray:
        """Position in [0, 1) of each event in the shuffled list of events of its theta and sign."""
        stratum = (self.weights < 0).astype(np.int64)
        if self.theta_names:
            points, index = np.unique(self.theta, axis=0, return_inverse=True)
            if len(points) <= MAX_GRID_POINTS:
                stratum = stratum + 2 * index.reshape(-1)
        order = np.lexsort((rng.random(self.n_events), stratum))
        _, start, count = np.unique(stratum[order], return_index=True, return_counts=True)
        position = np.arange(self.n_events) - np.repeat(start, count)
        jitter = np.repeat(rng.random(len(count)), count)
        rank = np.empty(self.n_events)
        rank[order] = (position + jitter) / np.repeat(count, count)
        return rank


def _check_theta_names(theta_names: Sequence[str], has_theta: bool) -> tuple[str, ...]:
    if isinstance(theta_names, str):
        raise ValueError(f"theta_names must be a list of names, got the text {theta_names!r}; write ({theta_names!r},)")
    names = tuple(theta_names)
    if has_theta and not names:
        raise ValueError("theta is given without theta_names; name its columns, for example theta_names=('c_hw',)")
    if names and not has_theta:
        raise ValueError(f"theta_names {names} are given without theta")
    if len(set(names)) != len(names) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"theta_names must be different, non-empty texts, got {names}")
    return names


def _as_floats(values: np.ndarray, what: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be an array of numbers: {error}") from error


def _check_x(observables: tuple[Observable, ...], x: np.ndarray) -> np.ndarray:
    values = _as_floats(x, "x")
    expected = f"expected x of shape (n_events, {len(observables)}), one column per observable"
    if values.ndim != 2:
        hint = "; use x.reshape(-1, 1)" if len(observables) == 1 else ""
        raise ValueError(f"{expected}, got shape {values.shape}{hint}")
    if values.shape[1] != len(observables):
        transposed = "; it looks transposed, use x.T" if values.shape[0] == len(observables) else ""
        raise ValueError(f"{expected}, got shape {values.shape}{transposed}")
    if not len(values):
        raise ValueError("the sample holds no events")
    for column, observable in zip(values.T, observables, strict=True):
        _check_column(observable, column)
    return values


def _check_column(observable: Observable, column: np.ndarray) -> None:
    bad = ~np.isfinite(column)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"observable {observable.name!r}: {bad.sum()} of {len(column)} values are NaN or infinite, "
            f"the first at row {row}; remove these events with a cut"
        )
    outside = observable.outside(column)
    if outside.any():
        row = int(np.argmax(outside))
        unit = f" {observable.unit}" if observable.unit else ""
        raise ValueError(
            f"observable {observable.name!r}: {outside.sum()} of {len(column)} events lie outside "
            f"[{observable.low:g}, {observable.high:g}]{unit}, the first at row {row} with {column[row]:g}; "
            f'widen the range or cut them, for example cut="({observable.name} >= {_number(observable.low)}) & '
            f'({observable.name} <= {_number(observable.high)})"'
        )
    if observable.is_discrete and np.any(column != np.round(column)):
        row = int(np.argmax(column != np.round(column)))
        raise ValueError(
            f"observable {observable.name!r} is discrete, but row {row} holds {column[row]:g}, which is no "
            "integer; use kind='continuous'"
        )


def _number(value: float) -> str:
    """A number with all of its digits."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))


def _check_theta(names: tuple[str, ...], theta: np.ndarray | None, n_events: int) -> np.ndarray:
    if theta is None:
        return np.empty((n_events, 0))
    values = _as_floats(theta, "theta")
    if values.ndim == 1 and len(names) == 1:
        values = values[:, np.newaxis]
    if values.shape != (n_events, len(names)):
        raise ValueError(
            f"expected theta of shape ({n_events}, {len(names)}), one row per event and one column for each of "
            f"{list(names)}, got shape {values.shape}"
        )
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(i[0]) for i in np.nonzero(bad))
        raise ValueError(f"theta {names[column]!r} is NaN or infinite, first at row {row}")
    return values


def _check_weights(weights: np.ndarray | None, n_events: int) -> np.ndarray:
    if weights is None:
        return np.ones(n_events)
    values = _as_floats(weights, "weights")
    if values.shape != (n_events,):
        raise ValueError(f"expected weights of shape ({n_events},), one per event, got shape {values.shape}")
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"{bad.sum()} of {n_events} weights are NaN or infinite, the first at row {int(np.argmax(bad))}"
        )
    if not values.sum() > 0:
        raise ValueError(
            f"the weights sum to {values.sum():g}; a density needs a positive total weight "
            f"({(values < 0).sum()} of {n_events} weights are negative)"
        )
    return values
