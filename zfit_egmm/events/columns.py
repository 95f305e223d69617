"""The columns of a sample, checked: shapes, ranges, integers, and finite numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfit_egmm.events.arrays import as_floats, in_order
from zfit_egmm.observables import Observable


def checked_theta_names(theta_names: Sequence[str], has_theta: bool) -> tuple[str, ...]:
    """Names of the parameters as a tuple.

    Raises:
        ValueError: If they are no different texts, or given without theta, or theta without them.
    """
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


def checked_x(observables: tuple[Observable, ...], x: np.ndarray) -> np.ndarray:
    """Values of the observables, shape ``(n_events, n_observables)``.

    Raises:
        ValueError: If shapes disagree, values are not finite, or lie outside of a range; the message says which.
    """
    values = as_floats(in_order(x, [entry.name for entry in observables], "x"), "x")
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


def checked_theta(names: tuple[str, ...], theta: np.ndarray | None, n_events: int) -> np.ndarray:
    """Parameters of every event, shape ``(n_events, n_theta)``.

    Raises:
        ValueError: If shapes disagree or values are not finite.
    """
    if theta is None:
        return np.empty((n_events, 0))
    values = as_floats(in_order(theta, names, "theta"), "theta")
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


def checked_weights(weights: np.ndarray | None, n_events: int) -> np.ndarray:
    """Event weights, shape ``(n_events,)``; ones if there are none.

    Raises:
        ValueError: If shapes disagree, values are not finite, or their sum is not positive.
    """
    if weights is None:
        return np.ones(n_events)
    values = as_floats(weights, "weights")
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
