"""Transformation: the observables of the user and those in which a density is learned, one step after the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.stats import qmc

from zfit_egmm.coordinates.rotation import Rotated, Rotation
from zfit_egmm.coordinates.steps import STEPS, Step, Stepped
from zfit_egmm.observables import Observable, check_observables

CHECK_POINTS, MOST_CORNERS = 4096, 4096
SAME = 1e-9
"""Share of a range that counts as nothing."""


@dataclass(frozen=True)
class Transformation:
    """Maps events to other observables and back, one axis after the other.

    Args:
        observables: The observables of the user.
        steps: What replaces some of them, each at most once; a step needs observables before its own only.

    Raises:
        ValueError: If a step names an observable that is not there, comes later, or is discrete, or is undefined; or
            if the limits of some observable leave no value of another one.
    """

    observables: tuple[Observable, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "observables", check_observables(self.observables))
        object.__setattr__(self, "steps", tuple(self.steps))
        names = [observable.name for observable in self.observables]
        if not self.steps:
            raise ValueError("a transformation needs at least one step, such as Log('mass')")
        for number, step in enumerate(self.steps):
            if not isinstance(step, Step):
                raise TypeError(f"steps are {', '.join(cls.__name__ for cls in STEPS.values())}, got {step!r}")
            for name in (step.name, *step.others):
                if name not in names:
                    raise ValueError(f"{step}: no observable {name!r}; there are: {', '.join(names)}")
            late = [name for name in step.others if names.index(name) >= names.index(step.name)]
            if late:
                raise ValueError(f"{step}: {', '.join(late)} must come before {step.name} in the list of observables")
            if self.observables[names.index(step.name)].is_discrete:
                raise ValueError(f"{step}: {step.name} is discrete and cannot be transformed")
            if step.name in [other.name for other in self.steps[:number]]:
                raise ValueError(f"{step.name!r} is replaced by two steps; give one for each observable")
        _ = self.target
        self._check_limits()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the observables of the user."""
        return tuple(observable.name for observable in self.observables)

    @cached_property
    def target(self) -> tuple[Observable, ...]:
        """The observables in which the density is learned."""
        known = {observable.name: observable for observable in self.observables}
        return tuple(
            observable if step is None else step.target(observable, known)
            for observable, step in zip(self.observables, self.by_axis, strict=True)
        )

    @cached_property
    def by_axis(self) -> tuple[Step | None, ...]:
        """The step of each axis, if it has one."""
        return tuple(next((step for step in self.steps if step.name == name), None) for name in self.names)

    def forward(self, x: tf.Tensor) -> Stepped:
        """New values of events, shape ``(n_events, n_observables)``; slopes of all axes together."""
        columns: dict[str, tf.Tensor] = {}
        found: list[Stepped] = []
        for axis, column in enumerate(tf.unstack(x, num=len(self.observables), axis=1)):
            found.append(self.forward_axis(axis, column, columns))
            columns[self.names[axis]] = column
        y, log_slopes, are_valid = zip(*found, strict=True)
        return Stepped(
            tf.stack(y, axis=-1), tf.add_n(list(log_slopes)), tf.reduce_all(tf.stack(are_valid, axis=-1), axis=-1)
        )

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        """Events from new values, both of shape ``(n_events, n_observables)``."""
        columns: dict[str, tf.Tensor] = {}
        for axis, column in enumerate(tf.unstack(y, num=len(self.observables), axis=1)):
            columns[self.names[axis]] = self.inverse_axis(axis, column, columns)
        return tf.stack(list(columns.values()), axis=-1)

    def forward_axis(self, axis: int, x: tf.Tensor, columns: Mapping[str, tf.Tensor]) -> Stepped:
        """New values of one observable, from those of the user's observables before."""
        step = self.by_axis[axis]
        if step is None:
            return Stepped(x, tf.zeros_like(x), tf.ones_like(x, dtype=tf.bool))
        return step.forward(x, self.observables[axis], columns)

    def inverse_axis(self, axis: int, y: tf.Tensor, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Values of one observable of the user, from those before."""
        step = self.by_axis[axis]
        return y if step is None else step.inverse(y, self.observables[axis], columns)

    def allowed(self, axis: int, columns: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor] | None:
        """Range of the new values of one observable, if it is not the same for all events."""
        step = self.by_axis[axis]
        return None if step is None else step.allowed(self.observables[axis], columns)

    def check(self, x: np.ndarray) -> np.ndarray:
        """New values of events, all of which must be valid.

        Raises:
            ValueError: If the transformation is undefined for some events, or they lie beyond its limits.
        """
        y, log_slope, is_valid = (part.numpy() for part in self.forward(tf.constant(x, tf.float64)))
        is_bad = ~(is_valid & np.isfinite(log_slope) & np.isfinite(y).all(axis=1))
        if is_bad.any():
            row = int(np.argmax(is_bad))
            values = ", ".join(f"{name} = {value:g}" for name, value in zip(self.names, x[row], strict=True))
            raise ValueError(
                f"{is_bad.sum()} of {len(x)} events lie beyond the limits of {', '.join(map(str, self.steps))}, the "
                f"first at row {row} with {values}; cut them, or correct the limits"
            )
        return y

    def as_text(self) -> list[dict[str, Any]]:
        """The steps as plain data that JSON can hold."""
        return steps_as_text(self.steps)

    def _check_limits(self) -> None:
        """Check that the limits of no observable leave nothing of another one, on points that fill the box."""
        ends = np.array([observable.limits for observable in self.target])
        n_axes = len(ends)
        unit = qmc.Sobol(n_axes, rng=0).random_base2(int(np.log2(CHECK_POINTS)))
        corners = np.array(list(itertools.islice(itertools.product([SAME, 1 - SAME], repeat=n_axes), MOST_CORNERS)))
        y = ends[:, 0] + np.concatenate([unit, corners]) * (ends[:, 1] - ends[:, 0])
        columns: dict[str, tf.Tensor] = {}
        for axis, (name, column) in enumerate(zip(self.names, y.T, strict=True)):
            limits = self._limits_of(axis, columns)
            if limits is not None:
                low, high = (np.broadcast_to(end.numpy(), len(y)) for end in limits)
                observable = self.observables[axis]
                is_empty = high - low < -SAME * (observable.high - observable.low)
                if is_empty.any():
                    row = int(np.argmax(is_empty))
                    values = ", ".join(f"{other} = {float(columns[other][row]):g}" for other in columns)
                    raise ValueError(
                        f"{self.by_axis[axis]}: no value of {name} is allowed where {values}; limit these observables "
                        "too, for example with Fraction"
                    )
                if self.allowed(axis, columns) is not None:
                    y[:, axis] = np.clip(column, low, high)
            columns[name] = self.inverse_axis(axis, tf.constant(y[:, axis]), columns)

    def _limits_of(self, axis: int, columns: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor] | None:
        step = self.by_axis[axis]
        ends = getattr(step, "ends", None)
        return self.allowed(axis, columns) if ends is None else ends(self.observables[axis], columns)


def steps_as_text(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as plain data that JSON can hold."""
    kinds = {cls: kind for kind, cls in STEPS.items()}
    return [{"kind": kinds[type(step)], **asdict(step)} for step in steps]  # type: ignore[call-overload,index]


def transform_as_text(transform: Sequence[Step] | Rotation) -> list[dict[str, Any]]:
    """What a configuration says of a transformation, as plain data that JSON can hold."""
    if isinstance(transform, Rotation):
        return [{"kind": "rotation", "names": list(transform.names)}]
    return steps_as_text(transform)


def transform_of_text(entries: Sequence[Mapping[str, Any]]) -> tuple[Step, ...] | Rotation:
    """The transformation that a part of a configuration file describes.

    Raises:
        ValueError: If a kind is unknown, or its fields are not those of the step.
    """
    if len(entries) == 1 and entries[0].get("kind") == "rotation":
        return Rotation(tuple(entries[0].get("names", ())))
    return steps_of_text(entries)


def made_of(
    transform: Sequence[Step] | Rotation, observables: Sequence[Observable], x: np.ndarray, weights: np.ndarray
) -> Transformation | Rotated:
    """The transformation that a configuration wants, for some events.

    Args:
        transform: Steps, or a rotation.
        observables: The axes.
        x: Events, shape ``(n_events, n_observables)``.
        weights: Event weights, shape ``(n_events,)``.

    Raises:
        ValueError: If it does not suit the observables.
    """
    if isinstance(transform, Rotation):
        return transform.fitted(observables, x, weights)
    return Transformation(tuple(observables), tuple(transform))


def steps_of_text(entries: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Steps from plain data, such as a part of a file.

    Raises:
        ValueError: If a kind is unknown, or its fields are not those of the step.
    """
    steps = []
    for entry in entries:
        fields = dict(entry)
        kind = fields.pop("kind", None)
        if kind not in STEPS:
            raise ValueError(f"unknown transformation {kind!r}; there are: {', '.join(STEPS)}, and rotation alone")
        try:
            steps.append(STEPS[kind](**fields))
        except TypeError as error:
            raise ValueError(f"transformation {kind}: {str(error).split('__init__() ')[-1]}") from None
    return tuple(steps)
