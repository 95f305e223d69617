"""Likelihood: an unbinned zfit loss, compiled once, for many fits of changing data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import zfit

from zfit_egmm.inference.auxiliary import Auxiliary
from zfit_egmm.inference.components import Component, allowed_range, components_of

SMALLEST_DENSITY = 1e-307
"""Below it a density counts as this, as in zfit's own losses."""


class Likelihood:
    """Negative log-likelihood of an unbinned zfit loss, without constants, with exact gradients.

    Terms of a sum whose shape does not change during a fit, such as a background without free shape parameters, or
    everything in a fit of yields, are evaluated once for a data set. The graphs belong to the object: data, auxiliary
    measurements and fixed parameters can change without tracing them again.

    Args:
        loss: ``zfit.loss.UnbinnedNLL`` or ``ExtendedUnbinnedNLL``, also of several channels, with constraints.

    Raises:
        TypeError: If the loss is of another kind.
        ValueError: If it has no free parameter, is extended with a model that is not, or has a ``fit_range``.
    """

    def __init__(self, loss: Any) -> None:
        _check(loss)
        self.loss = loss
        self.is_extended = isinstance(loss, zfit.loss.ExtendedUnbinnedNLL)
        self.parameters = tuple(sorted(loss.get_params(), key=lambda parameter: parameter.name))
        if not self.parameters:
            raise ValueError("the loss has no free parameter: set parameter.floating = True for those to fit")
        self.names = tuple(parameter.name for parameter in self.parameters)
        self._fixed = [entry for entry in loss.get_params(floating=None) if entry.name not in self.names]
        self.models = tuple(loss.model)
        self.auxiliary = Auxiliary(loss.constraints)
        self._components = [components_of(model) for model in self.models]
        self.flat = [(index, one) for index, parts in enumerate(self._components) for one in parts]
        self._functions: dict[tuple[str, frozenset[int]], Callable] = {}
        self._densities: dict[int, Callable] = {}
        self._kept: dict[int, tuple[tuple, tf.Tensor]] = {}
        self.x: list[tf.Tensor] = []
        self.weights: list[tf.Tensor] = []
        self.n_clipped = 0
        """Events without a positive density in the last evaluation: they counted with the smallest one."""
        self.set_data(loss.data)

    def set_data(self, data: Sequence[Any]) -> None:
        """Replace the data.

        Args:
            data: For each model a ``zfit.Data``, or an array of shape ``(n_events, n_observables)`` whose columns are
                in the order of the model's space and whose events all lie inside.
        """
        if len(data) != len(self.models):
            raise ValueError(f"there are {len(self.models)} models, but {len(data)} data sets")
        columns = [_columns(model, one) for model, one in zip(self.models, data, strict=True)]
        self.x, self.weights = [x for x, _ in columns], [weights for _, weights in columns]
        self._kept = {}

    @property
    def n_events(self) -> int:
        """Number of events in all data sets."""
        return sum(int(x.shape[0]) for x in self.x)

    @property
    def values(self) -> dict[str, float]:
        """Current values of the parameters."""
        return {parameter.name: float(parameter.value()) for parameter in self.parameters}

    @property
    def fixed_values(self) -> dict[str, float]:
        """Current values of the parameters that do not float."""
        return {parameter.name: float(parameter.value()) for parameter in self._fixed}

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Limits of the parameters, infinite where there are none."""
        return {parameter.name: allowed_range(parameter) for parameter in self.parameters}

    def set_values(self, values: Mapping[str, float]) -> None:
        """Set parameters; the limits are not checked."""
        unknown = set(values) - set(self.names)
        if unknown:
            raise ValueError(f"no free parameter {sorted(unknown)}; there are {list(self.names)}")
        for parameter in self.parameters:
            if parameter.name in values:
                parameter.assign(values[parameter.name])

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Set the parameters back at the end, whatever happens."""
        before = self.values
        try:
            yield
        finally:
            self.set_values(before)

    def value(self, at: np.ndarray, floating: Sequence[str] | None = None) -> float:
        """Negative log-likelihood.

        Args:
            at: Values of the parameters in the order of ``names``, shape ``(n_parameters,)``.
            floating: Names of the parameters that change from call to call. Default: all.
        """
        value, n_clipped = self._call("value", at, floating)
        self.n_clipped = int(n_clipped)
        return float(value)

    def value_and_gradient(self, at: np.ndarray, floating: Sequence[str] | None = None) -> tuple[float, np.ndarray]:
        """The same with its gradient, shape ``(n_parameters,)``; zero for parameters that do not float."""
        value, n_clipped, gradient = self._call("gradient", at, floating)
        self.n_clipped = int(n_clipped)
        moves = 1.0 if floating is None else np.isin(self.names, list(floating))
        return float(value), gradient.numpy() * moves

    def _call(self, kind: str, at: np.ndarray, floating: Sequence[str] | None) -> Any:
        names = set(self.names if floating is None else floating)
        varying = frozenset(n for n, (_, part) in enumerate(self.flat) if part.shape_parameters & names)
        key = (kind, varying)
        if key not in self._functions:
            self._functions[key] = self._make(kind, varying)
        vector = tf.constant(at, tf.float64)
        still = [self._still_density(n, vector) for n in range(len(self.flat)) if n not in varying]
        return self._functions[key](vector, self.x, self.weights, still)

    def _still_density(self, number: int, vector: tf.Tensor) -> tf.Tensor:
        """Density of a component whose shape does not change, kept for the data and the values of its parameters."""
        index, component = self.flat[number]
        shape = component.shape_parameters
        at = tuple(float(v) for v, n in zip(vector.numpy(), self.names, strict=True) if n in shape)
        at += tuple(float(parameter.numpy()) for parameter in self._fixed if parameter.name in shape)
        if number not in self._kept or self._kept[number][0] != at:
            if number not in self._densities:
                self._densities[number] = self._traced_density(component, index)
            self._kept[number] = (at, self._densities[number](vector, self.x[index]))
        return self._kept[number][1]

    def _traced_density(self, component: Component, index: int) -> Callable:
        space, shape = self.models[index].space, [None, len(self.models[index].obs)]

        @tf.function(autograph=False, input_signature=[_vector(len(self.names)), tf.TensorSpec(shape, tf.float64)])
        def density(vector: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
            self._assign(vector)
            return component.density(_as_data(x, space))

        return density.get_concrete_function()

    def _make(self, kind: str, varying: frozenset[int]) -> Callable:
        signature = [
            _vector(len(self.names)),
            [tf.TensorSpec([None, len(model.obs)], tf.float64) for model in self.models],
            [_vector(None) for _ in self.models],
            [_vector(None) for _ in range(len(self.flat) - len(varying))],
        ]

        @tf.function(autograph=False, input_signature=signature)
        def value(vector: tf.Tensor, x: list, weights: list, still: list) -> tuple[tf.Tensor, tf.Tensor]:
            self._assign(vector)
            return self._nll(x, weights, still, varying)

        @tf.function(autograph=False, input_signature=signature)
        def gradient(vector: tf.Tensor, x: list, weights: list, still: list) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            self._assign(vector)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self.parameters)
                total, n_clipped = self._nll(x, weights, still, varying)
            slopes = tape.gradient(total, self.parameters, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return total, n_clipped, tf.stack(slopes)

        # Concrete functions take half the time to call.
        return (value if kind == "value" else gradient).get_concrete_function()

    def _assign(self, vector: tf.Tensor) -> None:
        for number, parameter in enumerate(self.parameters):
            parameter.assign(vector[number])

    def _nll(self, x: list, weights: list, still: list, varying: frozenset[int]) -> tuple[tf.Tensor, tf.Tensor]:
        """The negative log-likelihood, and the number of events that count with the smallest density."""
        total, n_clipped = self.auxiliary.value(), tf.zeros((), tf.int64)
        numbers = iter(range(len(self.flat)))
        kept = iter(still)
        for model, events, weight, parts in zip(self.models, x, weights, self._components, strict=True):
            data = _as_data(events, model.space)
            intensity = tf.zeros_like(weight)
            for part in parts:
                density = part.density(data) if next(numbers) in varying else next(kept)
                intensity += part.coefficient() * density
            total -= tf.reduce_sum(weight * tf.math.log(tf.maximum(intensity, SMALLEST_DENSITY)))
            n_clipped += tf.math.count_nonzero((intensity <= SMALLEST_DENSITY) & (weight != 0))
            if self.is_extended:
                total += tf.convert_to_tensor(model.get_yield().value(), tf.float64)
            elif model.is_extended:
                # The yield plays no part in a fit that is not extended.
                total += tf.reduce_sum(weight) * tf.math.log(model.get_yield().value())
        return total, n_clipped


def _check(loss: Any) -> None:
    if not isinstance(loss, zfit.loss.UnbinnedNLL | zfit.loss.ExtendedUnbinnedNLL):
        raise TypeError(f"a Likelihood is made of an unbinned zfit loss, got {type(loss).__name__}")
    if any(limits is not None for limits in loss.fit_range):
        raise ValueError("the loss has a fit_range: give that range to the spaces of the PDFs and of the data instead")
    plain = [model.name for model in loss.model if not model.is_extended]
    if isinstance(loss, zfit.loss.ExtendedUnbinnedNLL) and plain:
        raise ValueError(f"the loss is extended, but {', '.join(plain)} has no yield: use create_extended")


def _columns(model: Any, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Events in the order of the model's space, and their weights."""
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
    return x, tf.ones_like(x[:, 0]) if weights is None else tf.convert_to_tensor(weights, tf.float64)


def _as_data(x: tf.Tensor, space: zfit.Space) -> zfit.Data:
    return zfit.Data.from_tensor(obs=space, tensor=x, guarantee_limits=True)


def _vector(n: int | None) -> tf.TensorSpec:
    return tf.TensorSpec([n], tf.float64)
