"""Likelihood: an unbinned zfit loss, compiled once, for many fits of changing data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import zfit

from zfit_egmm.inference.likelihood.components import Component, components_of
from zfit_egmm.inference.likelihood.constraints import Auxiliary
from zfit_egmm.inference.likelihood.event_data import EventData, has_changed, read_data
from zfit_egmm.pdf.limits_in_graphs import allowed_range, lifted_limits

Names = tuple[str, ...]

SMALLEST_DENSITY = 1e-307
"""Below it a density counts as this, as in zfit's own losses."""


class Likelihood:
    """Negative log-likelihood of an unbinned zfit loss, without constants, with exact gradients.

    Terms of a sum whose shape does not change during a fit, such as a background without free shape parameters, or
    everything in a fit of yields, are evaluated once for a data set. The graphs belong to the object: data, auxiliary
    measurements, limits and fixed parameters can change without tracing them again.

    It follows what is changed between two fits: limits, values and ``floating`` of parameters, the constraints of the
    loss with their observations, and the data of the loss, unless :meth:`set_data` has given it others. Step sizes of
    parameters are not used.

    Args:
        loss: ``zfit.loss.UnbinnedNLL`` or ``ExtendedUnbinnedNLL``, also of several channels, with constraints.
        is_expectation: Whether weighted events of the loss stand for what unweighted data are on average, as simulated
            events scaled to a luminosity do: errors and intervals are then those of such data. Default: weighted events
            are data, whose errors hold the fluctuations of the weights.

    Raises:
        TypeError: If the loss is of another kind.
        ValueError: If it has no free parameter, is extended with a model that is not, or has a ``fit_range``.
    """

    def __init__(self, loss: Any, *, is_expectation: bool = False) -> None:
        _check(loss)
        self.loss = loss
        self.is_extended = isinstance(loss, zfit.loss.ExtendedUnbinnedNLL)
        self.models = tuple(loss.model)
        self._components = [components_of(model) for model in self.models]
        self.flat = [(index, one) for index, parts in enumerate(self._components) for one in parts]
        self._densities: dict[tuple[int, Names], Callable] = {}
        self._is_expectation = is_expectation
        self.n_clipped, self.n_undescribed = 0, 0
        """Of the last evaluation: events with a density that is cut off, and events that no term describes."""
        self._read_loss()
        self._check_parameters()
        self._read_data()

    def _read_loss(self) -> None:
        """Take over the parameters and the constraints of the loss."""
        everything = self.loss.get_params(floating=None)
        self._independent = tuple(sorted(everything, key=lambda parameter: parameter.name))
        self.auxiliary = Auxiliary(self.loss.constraints)
        self._functions: dict[tuple[str, Names, frozenset[int]], Callable] = {}

    def _read_data(self) -> None:
        """Take over the data of the loss."""
        data = read_data(self.models, self.loss.data, is_expectation=self._is_expectation, follows=True)
        self.set_data(data)

    def follow(self) -> None:
        """Take over what has changed in the loss and its parameters; every fit, scan and limit does it by itself.

        Raises:
            ValueError: If no parameter floats any more, or a fixed one lies outside its limits.
        """
        if not self.auxiliary.is_of(self.loss.constraints):
            self._read_loss()
        self.auxiliary.follow()
        self._check_parameters()
        if self.data.source and has_changed(self.data, self.loss.data):
            self._read_data()

    def set_data(self, data: EventData | Sequence[Any], *, is_expectation: bool = False) -> None:
        """Replace the data; those of the loss are followed no longer.

        Args:
            data: For each model a ``zfit.Data``, or an array of shape ``(n_events, n_observables)`` whose columns are
                in the order of the model's space and whose events all lie inside. Or what ``data`` was before, to go
                back to it.
            is_expectation: Whether weighted events stand for what unweighted data are on average.
        """
        if not isinstance(data, EventData):
            data = read_data(self.models, data, is_expectation=is_expectation, follows=False)
        self.data = data
        self._kept: dict[int, tuple[dict[str, float], tf.Tensor]] = {}

    @property
    def x(self) -> list[tf.Tensor]:
        """Events of each model, shapes ``(n_events, n_observables)``."""
        return self.data.x

    @property
    def weights(self) -> list[tf.Tensor]:
        """Weights of the events of each model, shapes ``(n_events,)``."""
        return self.data.weights

    @property
    def n_events(self) -> int:
        """Number of events in all data sets."""
        return sum(int(x.shape[0]) for x in self.x)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The parameters that float, in the order of their names."""
        return tuple(parameter for parameter in self._independent if parameter.floating)

    @property
    def names(self) -> Names:
        """Names of the parameters that float."""
        return tuple(parameter.name for parameter in self._independent if parameter.floating)

    @property
    def values(self) -> dict[str, float]:
        """Current values of the parameters."""
        return {parameter.name: float(parameter.value()) for parameter in self.parameters}

    @property
    def fixed_values(self) -> dict[str, float]:
        """Current values of the parameters that do not float."""
        return {entry.name: float(entry.value()) for entry in self._independent if not entry.floating}

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
        value, counts = self._call("value", at, floating)
        self.n_clipped, self.n_undescribed = counts.numpy().tolist()
        return float(value)

    def value_and_gradient(self, at: np.ndarray, floating: Sequence[str] | None = None) -> tuple[float, np.ndarray]:
        """The same with its gradient, shape ``(n_parameters,)``; zero for parameters that do not float."""
        value, counts, gradient = self._call("gradient", at, floating)
        self.n_clipped, self.n_undescribed = counts.numpy().tolist()
        moves = 1.0 if floating is None else np.isin(self.names, list(floating))
        return float(value), gradient.numpy() * moves

    def log_densities(self, at: np.ndarray, floating: Sequence[str] | None = None) -> list[np.ndarray]:
        """Log of what each event contributes, without its weight, for each model of shape ``(n_events,)``.

        That is the expected density of events, or, of a likelihood that is not extended, the probability density.
        """
        return [one.numpy() for one in self._call("events", at, floating)]

    def without_density(self, at: np.ndarray, floating: Sequence[str] | None = None) -> list[np.ndarray]:
        """For each model the rows of events where its density is zero, or below what a likelihood can count."""
        return [np.flatnonzero(one) for one in self._call("empty", at, floating)]

    def _call(self, kind: str, at: np.ndarray, floating: Sequence[str] | None) -> Any:
        own = self.names
        if len(at) != len(own):
            raise ValueError(f"expected values of {', '.join(own)}, which float now; got {len(at)} values")
        names = set(own if floating is None else floating)
        varying = frozenset(n for n, (_, part) in enumerate(self.flat) if part.shape_parameters & names)
        key = (kind, own, varying)
        if key not in self._functions:
            self._functions[key] = self._make(kind, varying)
        vector = tf.constant(at, tf.float64)
        still = [self._still_density(n, vector) for n in range(len(self.flat)) if n not in varying]
        return self._functions[key](vector, self.x, self.weights, still)

    def _still_density(self, number: int, vector: tf.Tensor) -> tf.Tensor:
        """Density of a component whose shape does not change, kept for the data and the values of its parameters."""
        index, component = self.flat[number]
        floating = dict(zip(self.names, vector.numpy(), strict=True))
        at = {
            parameter.name: float(floating[parameter.name] if parameter.floating else parameter.numpy())
            for parameter in self._independent
            if parameter.name in component.shape_parameters
        }
        if number not in self._kept or self._kept[number][0] != at:
            key = (number, self.names)
            if key not in self._densities:
                self._densities[key] = self._traced_density(component, index)
            self._kept[number] = (at, self._densities[key](vector, self.x[index]))
        return self._kept[number][1]

    def _traced_density(self, component: Component, index: int) -> Callable:
        space, shape = self.models[index].space, [None, len(self.models[index].obs)]

        @tf.function(autograph=False, input_signature=[_vector(len(self.names)), tf.TensorSpec(shape, tf.float64)])
        def density(vector: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
            self._assign(vector)
            return component.density(_as_data(x, space))

        with lifted_limits(self._independent):
            return density.get_concrete_function()

    def _make(self, kind: str, varying: frozenset[int]) -> Callable:
        signature = [
            _vector(len(self.names)),
            [tf.TensorSpec([None, len(model.obs)], tf.float64) for model in self.models],
            [_vector(None) for _ in self.models],
            [_vector(None) for _ in range(len(self.flat) - len(varying))],
        ]
        parameters = self.parameters

        @tf.function(autograph=False, input_signature=signature)
        def value(vector: tf.Tensor, x: list, weights: list, still: list) -> tuple[tf.Tensor, tf.Tensor]:
            self._assign(vector)
            return self._nll(x, weights, still, varying)

        @tf.function(autograph=False, input_signature=signature)
        def gradient(vector: tf.Tensor, x: list, weights: list, still: list) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            self._assign(vector)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(parameters)
                total, counts = self._nll(x, weights, still, varying)
            slopes = tape.gradient(total, parameters, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return total, counts, tf.stack(slopes)

        @tf.function(autograph=False, input_signature=signature)
        def events(vector: tf.Tensor, x: list, weights: list, still: list) -> list[tf.Tensor]:
            del weights
            self._assign(vector)
            return self._log_densities(x, still, varying)

        @tf.function(autograph=False, input_signature=signature)
        def empty(vector: tf.Tensor, x: list, weights: list, still: list) -> list[tf.Tensor]:
            del weights
            self._assign(vector)
            return [total <= SMALLEST_DENSITY for total, _ in self._intensities(x, still, varying)]

        function = {"value": value, "gradient": gradient, "events": events, "empty": empty}[kind]
        # Concrete functions take half the time to call.
        with lifted_limits(self._independent):
            return function.get_concrete_function()

    def _assign(self, vector: tf.Tensor) -> None:
        for number, parameter in enumerate(self.parameters):
            parameter.assign(vector[number])

    def _nll(self, x: list, weights: list, still: list, varying: frozenset[int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Negative log-likelihood, and the counts of ``n_clipped`` and ``n_undescribed``."""
        total, counts = self.auxiliary.value(), tf.zeros((2,), tf.int64)
        intensities = self._intensities(x, still, varying)
        for model, weight, (intensity, is_described) in zip(self.models, weights, intensities, strict=True):
            total -= tf.reduce_sum(weight * _log(intensity))
            is_empty = (intensity <= SMALLEST_DENSITY) & (weight != 0)
            counts += tf.stack(
                [tf.math.count_nonzero(is_empty & is_described), tf.math.count_nonzero(is_empty & ~is_described)]
            )
            if self.is_extended:
                total += _yield_of(model)
            elif model.is_extended:
                # The yield plays no part in a fit that is not extended.
                total += tf.reduce_sum(weight) * tf.math.log(_yield_of(model))
        return total, counts

    def _log_densities(self, x: list, still: list, varying: frozenset[int]) -> list[tf.Tensor]:
        result = []
        for model, (intensity, _) in zip(self.models, self._intensities(x, still, varying), strict=True):
            norm = _yield_of(model) if model.is_extended and not self.is_extended else tf.ones((), tf.float64)
            result.append(_log(intensity) - tf.math.log(norm))
        return result

    def _intensities(self, x: list, still: list, varying: frozenset[int]) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Sums of coefficients times densities of the events of each model, and whether any of the terms is there."""
        numbers, kept, result = iter(range(len(self.flat))), iter(still), []
        for model, events, parts in zip(self.models, x, self._components, strict=True):
            data = _as_data(events, model.space)
            intensity, is_described = tf.zeros_like(events[:, 0]), tf.zeros_like(events[:, 0], dtype=tf.bool)
            for part in parts:
                density = part.density(data) if next(numbers) in varying else next(kept)
                intensity += part.coefficient() * density
                is_described |= density > SMALLEST_DENSITY
            result.append((intensity, is_described))
        return result

    def _check_parameters(self) -> None:
        if not self.names:
            raise ValueError("the loss has no free parameter: set parameter.floating = True for those to fit")
        for parameter in self._independent:
            value, (low, high) = float(parameter.numpy()), allowed_range(parameter)
            if not parameter.floating and not low <= value <= high:
                raise ValueError(
                    f"{parameter.name} is fixed at {value:g}, outside its limits [{low:g}, {high:g}], into which zfit "
                    "moves it; set its value, or widen the limits"
                )


def _check(loss: Any) -> None:
    if not isinstance(loss, zfit.loss.UnbinnedNLL | zfit.loss.ExtendedUnbinnedNLL):
        raise TypeError(f"a Likelihood is made of an unbinned zfit loss, got {type(loss).__name__}")
    if any(limits is not None for limits in loss.fit_range):
        raise ValueError("the loss has a fit_range: give that range to the spaces of the PDFs and of the data instead")
    plain = [model.name for model in loss.model if not model.is_extended]
    if isinstance(loss, zfit.loss.ExtendedUnbinnedNLL) and plain:
        raise ValueError(f"the loss is extended, but {', '.join(plain)} has no yield: use create_extended")


def _log(density: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.maximum(density, SMALLEST_DENSITY))


def _yield_of(model: Any) -> tf.Tensor:
    return tf.convert_to_tensor(model.get_yield().value(), tf.float64)


def _as_data(x: tf.Tensor, space: zfit.Space) -> zfit.Data:
    return zfit.Data.from_tensor(obs=space, tensor=x, guarantee_limits=True)


def _vector(n: int | None) -> tf.TensorSpec:
    return tf.TensorSpec([n], tf.float64)
