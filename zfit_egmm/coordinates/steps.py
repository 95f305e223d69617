"""Steps: replace one observable by a function of it and of observables before it, with a limit that depends on these.

Each step is increasing in its observable. Where the limits of an observable depend on others, as in ``pt2 < pt1`` or
``mz1 + mz2 < m4l``, the density is zero beyond them exactly.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import tensorflow as tf

from zfit_egmm.observables import Observable

Columns = Mapping[str, tf.Tensor]
"""Values of observables by name, each of shape ``(n_events,)``, physical units."""

TINY = 1e-300


class Stepped(NamedTuple):
    """Values after a step, each of shape ``(n_events,)``.

    Args:
        y: The new values; those of events that are not valid are somewhere inside the range.
        log_slope: Log of the derivative.
        is_valid: Whether the density may be positive there.
    """

    y: tf.Tensor
    log_slope: tf.Tensor
    is_valid: tf.Tensor


class Step(ABC):
    """Function of one observable and others before it."""

    name: str
    has_own_limits: ClassVar[bool] = False
    """Whether the range of the new values differs from event to event, see :meth:`allowed`."""

    @property
    @abstractmethod
    def others(self) -> tuple[str, ...]:
        """Names of the observables before that it needs."""

    @abstractmethod
    def target(self, observable: Observable, others: Mapping[str, Observable]) -> Observable:
        """What the observable is replaced by.

        Raises:
            ValueError: If the step is undefined in these ranges; the message says why.
        """

    @abstractmethod
    def forward(self, x: tf.Tensor, observable: Observable, others: Columns) -> Stepped:
        """The new values of events."""

    @abstractmethod
    def inverse(self, y: tf.Tensor, observable: Observable, others: Columns) -> tf.Tensor:
        """The old values of events."""

    def allowed(self, observable: Observable, others: Columns) -> tuple[tf.Tensor, tf.Tensor] | None:
        """Range of the new values at given others, if it is not the same for all events."""
        del observable, others
        return None


@dataclass(frozen=True)
class Log(Step):
    """The logarithm of an observable, for spectra that span decades.

    Args:
        name: The observable.
        offset: Subtracted before; below the range of the observable.
    """

    name: str
    offset: float = 0.0

    @property
    def others(self) -> tuple[str, ...]:
        """None."""
        return ()

    def target(self, observable: Observable, others: Mapping[str, Observable]) -> Observable:
        """See :meth:`Step.target`."""
        del others
        if observable.low <= self.offset:
            raise ValueError(
                f"the logarithm of {self.name} - {self.offset:g} is undefined at the lower end {observable.low:g} of "
                "its range; raise the range or lower the offset"
            )
        low, high = (float(tf.math.log(tf.constant(end - self.offset, tf.float64))) for end in observable.limits)
        return _like(observable, f"log({self.name})", low, high)

    def forward(self, x: tf.Tensor, observable: Observable, others: Columns) -> Stepped:
        """See :meth:`Step.forward`."""
        del observable, others
        y = tf.math.log(x - self.offset)
        return Stepped(y, -y, tf.ones_like(y, dtype=tf.bool))

    def inverse(self, y: tf.Tensor, observable: Observable, others: Columns) -> tf.Tensor:
        """See :meth:`Step.inverse`."""
        del others
        return tf.clip_by_value(self.offset + tf.exp(y), *observable.limits)


@dataclass(frozen=True)
class Fraction(Step):
    """Place of an observable between limits that depend on others, from 0 to 1: diagonal boundaries become hard ends.

    Args:
        name: The observable.
        low: Lower limit beside that of the range, such as ``"20"`` or ``"pt3"``; empty for none.
        high: Upper limit beside that of the range, a sum of observables and numbers such as ``"m4l - mz1"`` or
            ``"0.5 * mass - 10"``; empty for none.

    Raises:
        ValueError: If a limit is no such sum, or both are missing.
    """

    name: str
    low: str = ""
    high: str = ""

    def __post_init__(self) -> None:
        if not (self.low or self.high):
            raise ValueError(f'Fraction of {self.name!r} needs a limit, such as high="m4l - mz1"')
        for text in (self.low, self.high):
            linear_terms(text)

    @property
    def others(self) -> tuple[str, ...]:
        """Observables in the limits."""
        names = [name for text in (self.low, self.high) for name in linear_terms(text)[1]]
        return tuple(dict.fromkeys(names))

    def target(self, observable: Observable, others: Mapping[str, Observable]) -> Observable:
        """See :meth:`Step.target`."""
        del others
        return _like(observable, f"fraction({self.name})", 0.0, 1.0, unit="")

    def forward(self, x: tf.Tensor, observable: Observable, others: Columns) -> Stepped:
        """See :meth:`Step.forward`."""
        low, high = self.ends(observable, others)
        is_valid = (high > low) & (x >= low) & (x <= high)
        width = tf.where(high > low, high - low, tf.ones_like(high))
        y = tf.clip_by_value((x - low) / width, 0.0, 1.0)
        return Stepped(y, -tf.math.log(width) + tf.zeros_like(y), is_valid)

    def inverse(self, y: tf.Tensor, observable: Observable, others: Columns) -> tf.Tensor:
        """See :meth:`Step.inverse`."""
        low, high = self.ends(observable, others)
        return tf.clip_by_value(low + y * (high - low), low, tf.maximum(low, high))

    def ends(self, observable: Observable, others: Columns) -> tuple[tf.Tensor, tf.Tensor]:
        """Lower and upper limit of the observable at given others."""
        low, high = (tf.constant(end, tf.float64) for end in observable.limits)
        if self.low:
            low = tf.maximum(low, _value_of(self.low, others))
        if self.high:
            high = tf.minimum(high, _value_of(self.high, others))
        return low, high


@dataclass(frozen=True)
class _Relative(Step):
    """A function of an observable and one other, with a range of its own if wanted."""

    has_own_limits: ClassVar[bool] = True

    name: str
    other: str
    low: float | None = None
    high: float | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """The other observable."""
        return (self.other,)

    @abstractmethod
    def _function(self, x: tf.Tensor, other: tf.Tensor) -> tf.Tensor: ...

    def target(self, observable: Observable, others: Mapping[str, Observable]) -> Observable:
        """See :meth:`Step.target`."""
        corners = [self._function(a, b) for a in observable.limits for b in others[self.other].limits]
        low, high = min(corners), max(corners)
        low = low if self.low is None else max(low, self.low)
        high = high if self.high is None else min(high, self.high)
        if not low < high:
            raise ValueError(f"the range [{low:g}, {high:g}] of {type(self).__name__}({self.name!r}) is empty")
        return _like(observable, f"{type(self).__name__.lower()}({self.name}, {self.other})", low, high)

    def allowed(self, observable: Observable, others: Columns) -> tuple[tf.Tensor, tf.Tensor] | None:
        """See :meth:`Step.allowed`."""
        low, high = (self._function(tf.constant(end, tf.float64), others[self.other]) for end in observable.limits)
        low = low if self.low is None else tf.maximum(low, self.low)
        return low, high if self.high is None else tf.minimum(high, self.high)

    def _stepped(self, y: tf.Tensor, log_slope: tf.Tensor, observable: Observable, others: Columns) -> Stepped:
        allowed = self.allowed(observable, others)
        assert allowed is not None
        return Stepped(y, log_slope, (y >= allowed[0]) & (y <= allowed[1]))


@dataclass(frozen=True)
class Difference(_Relative):
    """An observable minus another one before it.

    Args:
        name: The observable.
        other: What is subtracted.
        low: Lowest difference; ``low=0`` makes ``name > other`` exact.
        high: Highest difference; ``high=0`` makes ``name < other`` exact.
    """

    def _function(self, x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return x - other

    def forward(self, x: tf.Tensor, observable: Observable, others: Columns) -> Stepped:
        """See :meth:`Step.forward`."""
        y = x - others[self.other]
        return self._stepped(y, tf.zeros_like(y), observable, others)

    def inverse(self, y: tf.Tensor, observable: Observable, others: Columns) -> tf.Tensor:
        """See :meth:`Step.inverse`."""
        return tf.clip_by_value(y + others[self.other], *observable.limits)


@dataclass(frozen=True)
class Ratio(_Relative):
    """An observable over a positive one before it.

    Args:
        name: The observable.
        other: What it is divided by.
        low: Lowest ratio; ``low=1`` makes ``name > other`` exact.
        high: Highest ratio; ``high=1`` makes ``name < other`` exact.
    """

    def _function(self, x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return x / other

    def target(self, observable: Observable, others: Mapping[str, Observable]) -> Observable:
        """See :meth:`Step.target`."""
        if others[self.other].low <= 0:
            raise ValueError(
                f"the ratio {self.name} / {self.other} needs a positive {self.other}, whose range begins at "
                f"{others[self.other].low:g}; use Difference, or raise the range"
            )
        return super().target(observable, others)

    def forward(self, x: tf.Tensor, observable: Observable, others: Columns) -> Stepped:
        """See :meth:`Step.forward`."""
        y = x / others[self.other]
        return self._stepped(y, -tf.math.log(others[self.other]) + tf.zeros_like(y), observable, others)

    def inverse(self, y: tf.Tensor, observable: Observable, others: Columns) -> tf.Tensor:
        """See :meth:`Step.inverse`."""
        return tf.clip_by_value(y * others[self.other], *observable.limits)


STEPS: Mapping[str, type[Log | Fraction | Difference | Ratio]] = {
    "log": Log,
    "fraction": Fraction,
    "difference": Difference,
    "ratio": Ratio,
}
"""Steps as files and configurations name them."""

_TERM = re.compile(r"\s*([+-]?)\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*\*?\s*)?([A-Za-z_][\w.]*)?\s*")


def linear_terms(text: str) -> tuple[float, dict[str, float]]:
    """Constant and coefficients of a sum such as ``"m4l - 0.5 * mz1 + 3"``.

    Raises:
        ValueError: If the text is no such sum.
    """
    constant, position = 0.0, 0
    coefficients: dict[str, float] = {}
    while position < len(text.rstrip()):
        found = _TERM.match(text, position)
        sign, number, name = found.groups() if found else ("", None, None)
        if found is None or (number is None and name is None) or (position > 0 and not sign):
            raise ValueError(
                f"{text!r} is no sum of observables and numbers; write for example m4l - mz1, or 0.5 * mass - 10"
            )
        value = float(f"{sign}{number or 1}")
        if name is None:
            constant += value
        else:
            coefficients[name] = coefficients.get(name, 0.0) + value
        position = found.end()
    return constant, coefficients


def _value_of(text: str, columns: Columns) -> tf.Tensor:
    constant, coefficients = linear_terms(text)
    total = tf.constant(constant, tf.float64)
    for name, coefficient in coefficients.items():
        total += coefficient * columns[name]
    return total


def _like(observable: Observable, name: str, low: float, high: float, unit: str | None = None) -> Observable:
    return Observable(
        name,
        low,
        high,
        unit=observable.unit if unit is None else unit,
        linear_fraction=observable.linear_fraction,
    )
