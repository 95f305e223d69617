"""Axes: what a density is a density of, and given what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from zfit_egmm.observables import Observable, check_observables


@dataclass(frozen=True)
class Axes:
    """Observables with their hard ranges, and parameters with the ranges in which they were trained.

    Args:
        observables: The axes, in the order of the columns of ``x``.
        theta_names: Names of the parameters, in the order of the columns of ``theta``.
        theta_range: Lowest and highest trained value of each parameter.

    Raises:
        TypeError: If an observable is none.
        ValueError: If names appear twice, or a range of a parameter is missing or empty.
    """

    observables: tuple[Observable, ...]
    theta_names: tuple[str, ...] = ()
    theta_range: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "observables", check_observables(self.observables))
        object.__setattr__(self, "theta_names", tuple(self.theta_names))
        object.__setattr__(self, "theta_range", tuple((float(low), float(high)) for low, high in self.theta_range))
        if len(set(self.theta_names)) < len(self.theta_names):
            raise ValueError(f"names of parameters appear twice: {list(self.theta_names)}")
        if len(self.theta_range) != len(self.theta_names):
            raise ValueError(f"{len(self.theta_range)} theta_range for {len(self.theta_names)} theta_names")
        for name, (low, high) in zip(self.theta_names, self.theta_range, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"the trained range [{low:g}, {high:g}] of {name!r} is empty or not finite")

    @classmethod
    def of_text(cls, manifest: Mapping[str, Any]) -> Axes:
        """From what :meth:`as_text` gives."""
        observables = tuple(Observable(**entry) for entry in manifest["observables"])
        return cls(observables, tuple(manifest["theta_names"]), tuple(map(tuple, manifest["theta_range"])))

    def as_text(self) -> dict[str, Any]:
        """As plain data that JSON can hold."""
        return {
            "observables": [asdict(observable) for observable in self.observables],
            "theta_names": list(self.theta_names),
            "theta_range": [list(pair) for pair in self.theta_range],
        }

    def __str__(self) -> str:
        given = f" | {', '.join(self.theta_names)}" if self.theta_names else ""
        return f"{', '.join(self.names)}{given}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return tuple(observable.name for observable in self.observables)

    @property
    def box(self) -> np.ndarray:
        """Lower and upper ends of the axes, shape ``(2, n_observables)``; half a unit wider if discrete."""
        return np.array([observable.limits for observable in self.observables]).T

    def inside(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Which events are inside, and the events with those outside moved to the middle of the box."""
        low, high = self.box
        is_inside = tf.reduce_all((x >= low) & (x <= high), axis=-1)
        return is_inside, tf.where(is_inside[:, tf.newaxis], x, tf.constant(0.5 * (low + high)))

    def checked_x(self, x: ArrayLike) -> np.ndarray:
        """Events as an array of shape ``(n_events, n_observables)``.

        Raises:
            ValueError: If the shape is another one, or values are NaN.
        """
        events = np.asarray(x, dtype=float)
        if events.ndim != 2 or events.shape[1] != len(self.observables):
            raise ValueError(
                f"expected x of shape (n_events, {len(self.observables)}) with columns ({', '.join(self.names)}), "
                f"got {events.shape}"
            )
        is_nan = np.isnan(events).any(axis=1)
        if is_nan.any():
            raise ValueError(f"{is_nan.sum()} of {len(events)} events hold NaN, the first at row {np.argmax(is_nan)}")
        return events

    def checked_inside(self, x: ArrayLike) -> np.ndarray:
        """Events as an array, all of them inside the box.

        Raises:
            ValueError: If the shape is another one, or an event lies outside; the message says which.
        """
        events = self.checked_x(x)
        for column, observable in zip(events.T, self.observables, strict=True):
            outside = observable.outside(column)
            if outside.any():
                raise ValueError(
                    f"observable {observable.name!r}: {outside.sum()} of {len(events)} values are outside "
                    f"[{observable.low:g}, {observable.high:g}], the first at row {int(np.argmax(outside))}"
                )
        return events

    def checked_theta(self, theta: ArrayLike | None, n_events: int) -> np.ndarray:
        """Parameters of shape ``(n_theta,)``, or ``(n_events, n_theta)``.

        Raises:
            ValueError: If they are missing, not finite, or have another shape.
        """
        names = self.theta_names
        if theta is None:
            if names:
                raise ValueError(f"this density depends on {', '.join(names)}; pass theta with {len(names)} value(s)")
            return np.empty(0)
        point = np.atleast_1d(np.asarray(theta, dtype=float))
        if point.shape not in ((len(names),), (n_events, len(names))):
            raise ValueError(
                f"expected theta of shape ({len(names)},) or ({n_events}, {len(names)}) for {list(names)}, "
                f"got {point.shape}"
            )
        if not np.isfinite(point).all():
            raise ValueError("theta holds NaN or infinite values")
        return point

    def positions(self, names: Sequence[str]) -> tuple[int, ...]:
        """Positions of some observables, in the order of the names.

        Raises:
            ValueError: If there are none, or one is unknown or appears twice.
        """
        names = list(names)
        if not names or len(set(names)) < len(names) or not set(names) <= set(self.names):
            raise ValueError(f"names must be some of {list(self.names)}, each once, got {names}")
        return tuple(self.names.index(name) for name in names)
