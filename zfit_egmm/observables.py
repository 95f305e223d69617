"""Observables: the axes of a density, with their hard ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal

import numpy as np

LATENT_LIMIT = 5.0
"""Continuous observables are described on the latent axis ``[-LATENT_LIMIT, LATENT_LIMIT]``."""

MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class Observable:
    """One axis of the density, with a hard range: outside of it the density is zero.

    Args:
        name: Name of the observable. For ROOT files it is also the name of the branch.
        low: Lower end of the range, in ``unit``. Lowest integer of a discrete observable.
        high: Upper end of the range, in ``unit``. Highest integer of a discrete observable.
        kind: ``"continuous"``, or ``"discrete"`` for integers ``low..high``. As a zfit axis the
            integer k covers ``[k - 1/2, k + 1/2]``, so that discrete axes also integrate to one.
        unit: Unit for labels, for example ``"GeV"``.
        linear_fraction: Share of the linear part in the map to the latent axis, in (0, 1]: 0.2
            suits steeply falling spectra and narrow peaks, 0.8 suits angles.

    Raises:
        ValueError: If a value makes no sense; the message says which and why.

    Source:
        ``linear_fraction`` is f in eq. 3 of Menary and Price, "Learning to discover".
    """

    name: str
    low: float
    high: float
    kind: Literal["continuous", "discrete"] = field(default="continuous", kw_only=True)
    unit: str = field(default="", kw_only=True)
    linear_fraction: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"an observable needs a non-empty name, got {self.name!r}")
        if self.kind not in ("continuous", "discrete"):
            raise ValueError(f"observable {self.name!r}: kind must be 'continuous' or 'discrete', got {self.kind!r}")
        for end in ("low", "high"):
            value = getattr(self, end)
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise ValueError(f"observable {self.name!r}: {end} must be a number, got {value!r}") from None
            if not math.isfinite(number):
                raise ValueError(
                    f"observable {self.name!r}: {end} must be finite, got {number}; "
                    "choose a range that holds the events, or use the logarithm of a long tail"
                )
            object.__setattr__(self, end, number)
        self._check_range()
        if not isinstance(self.linear_fraction, Real) or not 0.0 < self.linear_fraction <= 1.0:
            raise ValueError(
                f"observable {self.name!r}: linear_fraction must lie in (0, 1], got {self.linear_fraction!r}"
            )

    def _check_range(self) -> None:
        if self.kind == "continuous":
            if not self.low < self.high:
                raise ValueError(
                    f"observable {self.name!r}: the range [{self.low:g}, {self.high:g}] is empty; "
                    "low must be below high"
                )
            return
        if self.low != round(self.low) or self.high != round(self.high) or self.low > self.high:
            raise ValueError(
                f"observable {self.name!r}: a discrete range needs integers low <= high, "
                f"got [{self.low:g}, {self.high:g}]"
            )
        if self.n_categories > MAX_CATEGORIES:
            raise ValueError(
                f"observable {self.name!r}: {self.n_categories} integer values are too many for a "
                f"discrete observable (at most {MAX_CATEGORIES}); use kind='continuous'"
            )

    @property
    def is_discrete(self) -> bool:
        """Whether the observable takes integer values only."""
        return self.kind == "discrete"

    @property
    def n_categories(self) -> int:
        """Number of integer values of a discrete observable."""
        return round(self.high - self.low) + 1

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis as zfit sees it; half a unit wider on each side if discrete."""
        margin = 0.5 if self.is_discrete else 0.0
        return self.low - margin, self.high + margin

    @property
    def label(self) -> str:
        """Name with its unit, for axes of figures and tables."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    def outside(self, values: np.ndarray) -> np.ndarray:
        """Mask of the values that lie outside the range.

        Args:
            values: Any shape, in ``unit``.

        Returns:
            Boolean array of the same shape. NaN counts as outside.
        """
        low, high = self.limits
        return ~((values >= low) & (values <= high))


def check_observables(observables: Sequence[Observable]) -> tuple[Observable, ...]:
    """Check a list of observables and return it as a tuple.

    Raises:
        TypeError: If an entry is not an :class:`Observable`.
        ValueError: If the list is empty or names appear twice.
    """
    result = tuple(observables)
    if not result:
        raise ValueError("at least one observable is needed")
    for entry in result:
        if not isinstance(entry, Observable):
            raise TypeError(
                f"observables must be Observable objects, got {type(entry).__name__}: {entry!r}; "
                "write Observable(name, low, high)"
            )
    names = [entry.name for entry in result]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"observable names must differ, but these appear more than once: {', '.join(twice)}")
    return result
