"""Asimov samples without bins, for any number of observables: weighted events drawn from a model.

What is left of their statistical noise is removed to first order: the weights are changed, as little as possible, such
that the likelihood is stationary at the parameters that the sample stands for, as it is for the true Asimov data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import zfit

from zfit_egmm.inference.likelihood.components import Component, components_of
from zfit_egmm.inference.likelihood.loss import SMALLEST_DENSITY
from zfit_egmm.zfit_compat import seeded

ASIMOV_EVENTS = 20_000

ROUNDING = 1e-10
"""A derivative of this size, relative to what it is the difference of, is one of a density that does not depend on the
parameter."""


def covering_sample(model: Any, n_events: int, seed: int) -> tuple[zfit.Data, np.ndarray]:
    """Events from all terms of a model, and their weights with which they follow the model.

    They come in equal parts from the model and from all its terms alike. So a signal whose yield is zero is well
    covered too.

    Args:
        model: A zfit PDF, at its current parameters.
        n_events: Events to draw, about.
        seed: Seed. The random numbers of zfit go on afterwards as if nothing had happened.

    Returns:
        Events and weights, not negative, the latter up to a factor, shape ``(n_events,)``.

    Raises:
        ValueError: If the density of the model is negative somewhere.
    """
    parts = components_of(model)
    coefficients = _coefficients(parts)
    counts = np.ceil(0.5 * n_events * (np.maximum(coefficients, 0) + 1 / len(parts))).astype(int)
    with seeded(seed):
        drawn = [part.pdf.sample(int(n)).with_obs(model.obs).value() for part, n in zip(parts, counts, strict=True)]
    events = zfit.Data.from_numpy(obs=model.space, array=np.concatenate(drawn))
    densities = _densities(parts, events)
    total = coefficients @ densities
    check_positive(model, total / (np.abs(coefficients) @ densities), events)
    return events, np.maximum(total / (counts @ densities), 0)


def check_positive(model: Any, relative: np.ndarray, events: zfit.Data) -> None:
    """Check that events can be drawn from a model.

    Args:
        model: A zfit PDF, at its current parameters.
        relative: Its density at events, relative to the sum of the sizes of its terms, shape ``(n_events,)``.
        events: Events, shape ``(n_events, n_observables)``.

    Raises:
        ValueError: If it is negative somewhere.
    """
    is_negative = relative < -ROUNDING
    if not is_negative.any():
        return
    place = events.value().numpy()[int(np.argmin(relative))]
    where = ", ".join(f"{name} = {value:.4g}" for name, value in zip(model.obs, place, strict=True))
    terms = ", ".join(f"{float(part.coefficient()):.4g} {part.pdf.name}" for part in components_of(model))
    raise ValueError(
        f"the density of {model.name} ({terms}) is negative at {is_negative.sum()} of {len(relative)} places, the "
        f"worst at {where}: events cannot be drawn from it; choose parameters, or limits, with which it is positive "
        "everywhere"
    )


def asimov_sample(model: Any, n_expected: float, *, n_events: int = ASIMOV_EVENTS, seed: int = 0) -> zfit.Data:
    """Weighted events that stand for the expectation of a model at its current parameters.

    Args:
        model: A zfit PDF.
        n_expected: Expected number of events, which is the sum of the weights.
        n_events: Events to draw. More of them give less noise and slower fits.
        seed: Seed of the sample.
    """
    events, weights = covering_sample(model, n_events, seed)
    weights = stationary_weights(model, events, n_expected, weights)
    return zfit.Data.from_numpy(obs=model.space, array=events.value().numpy(), weights=weights)


def stationary_weights(
    model: Any, events: zfit.Data, n_expected: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """Weights of events that make the likelihood of a model stationary at its current parameters.

    Their sum is the expected number of events, and ``sum_i w_i d ln p(x_i) / d theta`` vanishes for every floating
    parameter. The likelihood is then stationary whether it is extended or not.

    Args:
        model: A zfit PDF.
        events: Events, shape ``(n_events, n_observables)``.
        n_expected: Expected number of events.
        weights: Weights to start from, up to a factor. Default: equal ones, for events drawn from the model.

    Returns:
        Shape ``(n_events,)``.
    """
    if n_expected == 0:
        # Nothing is expected of a model without any yield, and its density has no meaning.
        return np.zeros(events.value().shape[0])
    parts = components_of(model)
    densities = _densities(parts, events)
    columns = [np.ones(densities.shape[1])]
    for parameter in model.get_params(floating=True):
        column, size = _score(parts, densities, parameter, events)
        if np.abs(column).mean() > ROUNDING * size:
            columns.append(column / np.abs(column).mean())
    scores = np.stack(columns, axis=1)
    first = np.ones(len(scores)) if weights is None else weights
    first = first * (n_expected / first.sum())
    missing = np.append(n_expected, np.zeros(len(columns) - 1)) - first @ scores
    change = np.linalg.lstsq(scores.T @ (first[:, np.newaxis] * scores), missing, rcond=1e-10)[0]
    return first * (1 + scores @ change)


def _score(
    parts: Sequence[Component], densities: np.ndarray, parameter: Any, events: zfit.Data
) -> tuple[np.ndarray, float]:
    """Exact derivative of the log density of events, normalised to one, with respect to a parameter.

    Returns:
        Shape ``(n_events,)``, and the mean size of what it is the difference of, for a comparison with rounding.
    """
    coefficients, slopes = np.transpose([_coefficient_and_slope(part, parameter) for part in parts])
    change = slopes @ densities
    for number, part in enumerate(parts):
        if parameter.name in part.shape_parameters:
            change = change + coefficients[number] * _density_slope(part, parameter, events)
    of_events = change / np.maximum(coefficients @ densities, SMALLEST_DENSITY)
    of_norm = slopes.sum() / coefficients.sum()
    return of_events - of_norm, float(np.abs(of_events).mean() + abs(of_norm))


def _coefficient_and_slope(part: Component, parameter: Any) -> tuple[float, float]:
    with tf.GradientTape() as tape:
        tape.watch(parameter)
        coefficient = part.coefficient()
    slope = tape.gradient(coefficient, parameter, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return float(coefficient), float(slope)


def _density_slope(part: Component, parameter: Any, events: zfit.Data) -> np.ndarray:
    """Derivative of the density of each event: that of a sum over events, differentiated by the weights of the sum."""
    ones = tf.ones(int(events.nevents), tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(ones)
        with tf.GradientTape() as inner:
            inner.watch(parameter)
            total = tf.reduce_sum(ones * part.density(events))
        slope = inner.gradient(total, parameter, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return outer.gradient(slope, ones, unconnected_gradients=tf.UnconnectedGradients.ZERO).numpy()


def _densities(parts: Sequence[Component], events: zfit.Data) -> np.ndarray:
    """Density of every term, shape ``(n_terms, n_events)``."""
    return np.stack([part.density(events).numpy() for part in parts])


def _coefficients(parts: Sequence[Component]) -> np.ndarray:
    """Coefficients of the terms as fractions."""
    values = np.array([float(part.coefficient()) for part in parts])
    if not values.any():
        return np.full(len(values), 1 / len(values))
    return values / abs(values.sum()) if values.sum() else values
