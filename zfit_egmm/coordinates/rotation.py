"""Rotation: observables mixed onto the eigenvectors of their covariance, which takes out strong correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from zfit_egmm.coordinates.projection import Projection, build_projection
from zfit_egmm.coordinates.steps import Stepped
from zfit_egmm.observables import LATENT_LIMIT, Observable

FARTHEST = 6.0
"""Largest normal score of an event; beyond lies a probability of 1e-9, counted as the end of the range."""

ARRAYS = ("knots_x", "knots_u", "slopes")


@dataclass(frozen=True)
class Rotation:
    """Rotate observables onto the eigenvectors of their covariance before a density is learned.

    What is rotated are normal scores, which know no ends: all hard limits of the observables stay exact.

    Args:
        names: The observables to mix, at least two continuous ones.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        names = (self.names,) if isinstance(self.names, str) else tuple(self.names)
        object.__setattr__(self, "names", names)
        if len(set(names)) < max(2, len(names)):
            raise ValueError(f"a rotation needs at least two different observables, got {list(names)}")

    def fitted(self, observables: Sequence[Observable], x: np.ndarray, weights: np.ndarray) -> Rotated:
        """The rotation of some events.

        Args:
            observables: The axes.
            x: Events, shape ``(n_events, n_observables)``.
            weights: Event weights, shape ``(n_events,)``.

        Raises:
            ValueError: If an observable is unknown or discrete.
        """
        known = [observable.name for observable in observables]
        unknown = [name for name in self.names if name not in known]
        if unknown:
            raise ValueError(f"{self}: no observable {unknown[0]!r}; there are: {', '.join(known)}")
        axes = tuple(sorted(known.index(name) for name in self.names))
        discrete = [known[axis] for axis in axes if observables[axis].is_discrete]
        if discrete:
            raise ValueError(f"{self}: {discrete[0]} is discrete and cannot be rotated")
        projections = tuple(build_projection(observables[axis], x[:, axis], weights) for axis in axes)
        scores = np.stack(
            [_score(p.latent(tf.constant(x[:, axis]))[0]).numpy() for axis, p in zip(axes, projections, strict=True)]
        )
        _, vectors = np.linalg.eigh(np.atleast_2d(np.cov(scores, aweights=np.maximum(weights, 0.0))))
        # Largest spread first, and signs that do not depend on the library.
        matrix = vectors[:, ::-1].T
        matrix = matrix * np.sign(matrix[np.arange(len(matrix)), np.abs(matrix).argmax(axis=1)])[:, np.newaxis]
        return Rotated(tuple(observables), axes, projections, matrix)


@dataclass(frozen=True, eq=False)
class Rotated:
    """The rotation of some observables, with its numbers.

    Args:
        observables: The observables of the user.
        axes: Positions of those that are mixed, increasing.
        projections: Their maps to an axis on which events are spread nearly evenly.
        matrix: Orthogonal, shape ``(n_axes, n_axes)``.

    Raises:
        ValueError: If the numbers do not fit each other.
    """

    observables: tuple[Observable, ...]
    axes: tuple[int, ...]
    projections: tuple[Projection, ...]
    matrix: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.axes)
        is_known = all(0 <= axis < len(self.observables) for axis in self.axes) and len(set(self.axes)) == n
        if len(self.projections) != n or self.matrix.shape != (n, n) or not is_known:
            raise ValueError("the axes, projections and matrix of a rotation do not fit each other")
        if not np.allclose(self.matrix @ self.matrix.T, np.eye(n), atol=1e-9):
            raise ValueError("the matrix of a rotation is not orthogonal")

    @cached_property
    def target(self) -> tuple[Observable, ...]:
        """The observables in which the density is learned; rotated ones carry numbers instead of names."""
        end = FARTHEST * math.sqrt(len(self.axes))
        return tuple(
            Observable(f"rotated_{self.axes.index(axis)}", -end, end) if axis in self.axes else observable
            for axis, observable in enumerate(self.observables)
        )

    def forward(self, x: tf.Tensor) -> Stepped:
        """New values of events, shape ``(n_events, n_observables)``, with the log of the Jacobian."""
        columns = tf.unstack(x, num=len(self.observables), axis=1)
        found = [p.latent(columns[axis]) for axis, p in zip(self.axes, self.projections, strict=True)]
        scores = tf.stack([_score(u) for u, _ in found], axis=1)
        log_slope = tf.add_n([slope for _, slope in found]) + tf.reduce_sum(
            0.5 * tf.square(scores) + 0.5 * math.log(2 * math.pi) - math.log(2 * LATENT_LIMIT), axis=1
        )
        rotated = tf.unstack(scores @ tf.constant(self.matrix.T), num=len(self.axes), axis=1)
        for axis, values in zip(self.axes, rotated, strict=True):
            columns[axis] = values
        return Stepped(tf.stack(columns, axis=-1), log_slope, tf.ones_like(log_slope, dtype=tf.bool))

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        """Events from new values, both of shape ``(n_events, n_observables)``."""
        columns = tf.unstack(y, num=len(self.observables), axis=1)
        scores = tf.stack([columns[axis] for axis in self.axes], axis=1) @ tf.constant(self.matrix)
        for axis, projection, score in zip(
            self.axes, self.projections, tf.unstack(scores, num=len(self.axes), axis=1), strict=True
        ):
            share = 0.5 * tf.math.erfc(-score * math.sqrt(0.5))
            columns[axis] = projection.physical(LATENT_LIMIT * (2 * share - 1))
        return tf.stack(columns, axis=-1)

    def check(self, x: np.ndarray) -> np.ndarray:
        """New values of events; a rotation is defined for all of them."""
        return self.forward(tf.constant(x, tf.float64)).y.numpy()

    def as_text(self) -> dict[str, Any]:
        """Everything but the arrays as plain data that JSON can hold."""
        return {"axes": list(self.axes)}

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers by name."""
        named = {"matrix": self.matrix}
        for number, projection in enumerate(self.projections):
            named |= {f"projection_{number}_{name}": getattr(projection, name) for name in ARRAYS}
        return named

    @classmethod
    def of_text(
        cls, observables: Sequence[Observable], text: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Rotated:
        """From what :meth:`as_text` and :meth:`arrays` give."""
        axes = tuple(int(axis) for axis in text["axes"])
        projections = tuple(
            Projection("smooth", *(arrays[f"projection_{number}_{name}"] for name in ARRAYS))
            for number in range(len(axes))
        )
        return cls(tuple(observables), axes, projections, arrays["matrix"])


def _score(u: tf.Tensor) -> tf.Tensor:
    """Normal score of a place on the latent axis."""
    smallest = 0.5 * math.erfc(FARTHEST * math.sqrt(0.5))
    share = tf.clip_by_value((u + LATENT_LIMIT) / (2 * LATENT_LIMIT), smallest, 1 - smallest)
    return tf.math.ndtri(share)
