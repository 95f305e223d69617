"""Asimov samples without bins, for any number of observables: weighted events drawn from a model.

What is left of their statistical noise is removed to first order: the weights are changed, as little as possible, such
that the likelihood is stationary at the parameters that the sample stands for, as it is for the true Asimov data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zfit

from zfit_egmm.inference.components import Component, components_of
from zfit_egmm.pdf.limits_in_graphs import allowed_range

ASIMOV_EVENTS = 20_000

STEP = 1e-4
"""Step of the differences that give derivatives, in units of the range of a parameter."""

SMALLEST_CHANGE = 1e-10
"""Of the log density in a step; a parameter with less is one that the density does not depend on."""


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
    """
    parts = components_of(model)
    coefficients = _coefficients(parts)
    counts = np.ceil(0.5 * n_events * (np.maximum(coefficients, 0) + 1 / len(parts))).astype(int)
    generator = zfit.z.random.get_prng()
    before = generator.state.numpy()
    generator.reset_from_seed(seed)
    try:
        drawn = [part.pdf.sample(int(n)).with_obs(model.obs).value() for part, n in zip(parts, counts, strict=True)]
    finally:
        generator.reset(before)
    events = zfit.Data.from_numpy(obs=model.space, array=np.concatenate(drawn))
    densities = _densities(parts, events)
    return events, np.maximum(coefficients @ densities / (counts @ densities), 0)


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
    parts = components_of(model)
    densities = _densities(parts, events)
    columns = [np.ones(densities.shape[1])]
    for parameter in model.get_params(floating=True):
        column = _score(parts, densities, parameter, events)
        size = np.abs(column).mean()
        if size > SMALLEST_CHANGE:
            columns.append(column / size)
    scores = np.stack(columns, axis=1)
    first = np.ones(len(scores)) if weights is None else weights
    first = first * (n_expected / first.sum())
    missing = np.append(n_expected, np.zeros(len(columns) - 1)) - first @ scores
    change = np.linalg.lstsq(scores.T @ (first[:, np.newaxis] * scores), missing, rcond=1e-10)[0]
    return first * (1 + scores @ change)


def _score(parts: Sequence[Component], densities: np.ndarray, parameter: Any, events: zfit.Data) -> np.ndarray:
    """Derivative of the log density of events with respect to a parameter, in units of a step."""
    centre, low, high = float(parameter.value()), *allowed_range(parameter)
    step = STEP * (high - low if np.isfinite(high - low) else max(abs(centre), 1.0))
    if low <= centre - step and centre + step <= high:
        offsets = {-step: -0.5, step: 0.5}
    else:
        # At a limit from one side, exact to the same order.
        step = step if centre + 2 * step <= high else -step
        offsets = {0.0: -1.5 * np.sign(step), step: 2.0 * np.sign(step), 2 * step: -0.5 * np.sign(step)}
    total = np.zeros(densities.shape[1])
    for offset, factor in offsets.items():
        with parameter.set_value(centre + offset):
            total += factor * _log_density(parts, _densities(parts, events, parameter.name, densities))
    return total


def _densities(
    parts: Sequence[Component], events: zfit.Data, changed: str = "", before: np.ndarray | None = None
) -> np.ndarray:
    """Density of every term, shape ``(n_terms, n_events)``, from those before one parameter was changed if known."""
    return np.stack(
        [
            part.density(events).numpy() if before is None or changed in part.shape_parameters else before[number]
            for number, part in enumerate(parts)
        ]
    )


def _coefficients(parts: Sequence[Component]) -> np.ndarray:
    """Coefficients of the terms as fractions."""
    values = np.array([float(part.coefficient()) for part in parts])
    return values / values.sum() if values.sum() > 0 else np.full(len(values), 1 / len(values))


def _log_density(parts: Sequence[Component], densities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(_coefficients(parts) @ densities, 1e-300))
