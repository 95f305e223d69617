"""The data of a likelihood: events and weights, and what the weights mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
import zfit


@dataclass(frozen=True, eq=False)
class EventData:
    """Events of every model of a likelihood, as its graphs take them.

    Args:
        x: Events of each model, shapes ``(n_events, n_observables)``.
        weights: Their weights, shapes ``(n_events,)``.
        is_expectation: Whether weighted events stand for what unweighted data are on average, as an Asimov sample does,
            so that errors are those of unweighted data.
        source: The data of the loss as they were when they were read; empty for data from elsewhere.
    """

    x: list[tf.Tensor]
    weights: list[tf.Tensor]
    is_expectation: bool = False
    source: tuple[tuple[Any, ...], ...] = ()

    @cached_property
    def is_weighted(self) -> bool:
        """Whether some events count more than others, or all of them more or less than one."""
        return any(bool(tf.reduce_any(weights != 1)) for weights in self.weights)

    @property
    def has_weighted_errors(self) -> bool:
        """Whether errors differ from those of unweighted data."""
        return self.is_weighted and not self.is_expectation

    @cached_property
    def unit(self) -> float:
        """Typical weight: differences of the negative log-likelihood count in this unit, one for unweighted data."""
        if not self.has_weighted_errors:
            return 1.0
        weights = np.concatenate([weights.numpy() for weights in self.weights])
        if not np.any(weights):
            return 1.0
        return float(np.sum(np.square(weights)) / np.sum(np.abs(weights)))


def read_data(models: Sequence[Any], data: Sequence[Any], *, is_expectation: bool, follows: bool) -> EventData:
    """Events in the order of the models' spaces, and their weights.

    Args:
        models: zfit PDFs.
        data: For each model a ``zfit.Data``, or an array of shape ``(n_events, n_observables)`` whose columns are in
            the order of the model's space.
        is_expectation: See :class:`EventData`.
        follows: Whether these data are the loss's own, which are read again when they change.

    Raises:
        ValueError: If numbers of models and data sets, or shapes, do not match, or a weight is not finite.
    """
    if len(data) != len(models):
        raise ValueError(f"there are {len(models)} models, but {len(data)} data sets")
    columns = [_columns(model, one) for model, one in zip(models, data, strict=True)]
    source = tuple(_state(one) for one in data) if follows else ()
    return EventData([x for x, _ in columns], [weights for _, weights in columns], is_expectation, source)


def has_changed(events: EventData, data: Sequence[Any]) -> bool:
    """Whether the data of a loss are others than those that were read from it."""
    return len(data) != len(events.source) or not all(map(_is_same, events.source, data))


def _state(data: Any) -> tuple[Any, ...]:
    """A data set, and what of it can change in place."""
    if isinstance(data, zfit.data.SamplerData):
        weights = data.weights.numpy() if data.has_weights else None
        return data, data.value().numpy(), weights
    return data, None, data.weights


def _is_same(state: tuple[Any, ...], data: Any) -> bool:
    before, x, weights = state
    if before is not data:
        return False
    _, now, weights_now = _state(data)
    if x is None:
        return weights is weights_now
    return np.array_equal(x, now) and (weights is None or np.array_equal(weights, weights_now))


def _columns(model: Any, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
    weights = None
    if isinstance(data, zfit.Data):
        weights = data.weights if data.has_weights else None
        data = data.with_obs(model.obs).value()
    x = tf.convert_to_tensor(data, tf.float64)
    if x.shape.ndims != 2 or x.shape[1] != len(model.obs):
        raise ValueError(
            f"{model.name} describes {len(model.obs)} observables ({', '.join(model.obs)}), "
            f"but the data has the shape {tuple(x.shape)}"
        )
    if weights is None:
        return x, tf.ones_like(x[:, 0])
    weights = tf.convert_to_tensor(weights, tf.float64)
    bad = np.flatnonzero(~np.isfinite(weights.numpy()))
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(x)} events of {model.name} have a weight that is not finite, the first is event "
            f"{bad[0]} with {weights.numpy()[bad[0]]:g}; leave them out"
        )
    return x, weights
