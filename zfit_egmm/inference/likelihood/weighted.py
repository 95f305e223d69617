"""Weighted events: errors that hold the fluctuations of the weights, and likelihood ratios that follow from them.

A weighted likelihood is none: with all weights 100, it is as narrow as if there were 100 times the events. Its best fit
is right, and fluctuates with the covariance ``H^-1 B H^-1``, the sandwich formula. ``H`` are the second derivatives of
the negative log-likelihood, and ``B`` is the covariance of its first ones. An event with the weight w adds ``w^2 g
g^T``, where g is the slope of the log of its expected density of events: the number of events is a Poisson number, so
nothing is subtracted, and the sum of the weights fluctuates by the root of the sum of their squares. Without an
extended term, g is that of the probability density. Auxiliary measurements of constraints have no weights and add
their second derivatives.

The likelihood ratio of one parameter, times the ratio of both variances, then follows a chi-square distribution, and so
does that of several parameters, times the ratio of both quadratic forms in the direction from the best fit.

Sources:
    Langenbruch, Eur. Phys. J. C 82 (2022) 393, on the covariance; Chandler and Bate, Biometrika 94 (2007) 167, on the
    likelihood ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zfit_egmm.inference.likelihood.loss import Likelihood

STEP = 0.02
"""Step of the differences that give slopes, in units of the error."""

NOT_CORRECTED = (
    "the events are weighted, and the second derivatives at the best fit are not positive definite, so that likelihood "
    "ratios cannot be corrected for the weights; fix parameters that the data do not determine, or resample the events "
    "with their weights (bootstrap)"
)
INSTEAD = (
    "resample the events with their weights (bootstrap), or run ToyFit with a source that returns weighted zfit.Data"
)
"""What helps where weights cannot be corrected for."""


def sandwich(
    likelihood: Likelihood, values: Mapping[str, float], errors: Mapping[str, float], inverse_hessian: np.ndarray
) -> np.ndarray:
    """Covariance of the best fit to weighted events.

    Args:
        likelihood: The likelihood.
        values: All parameters, at a minimum.
        errors: Rough errors of the parameters that float, for the size of the differences.
        inverse_hessian: Inverse of the second derivatives, shape ``(n, n)``, in the order of ``errors``.

    Returns:
        Shape ``(n, n)``.
    """
    middle = _information_of_constraints(likelihood, values, list(errors))
    for slopes, weights in zip(_slopes(likelihood, values, errors), likelihood.weights, strict=True):
        weighted = slopes * weights.numpy()
        middle += weighted @ weighted.T
    return inverse_hessian @ middle @ inverse_hessian


def _information_of_constraints(
    likelihood: Likelihood, values: Mapping[str, float], names: Sequence[str]
) -> np.ndarray:
    parameters = [parameter for name in names for parameter in likelihood.parameters if parameter.name == name]
    with likelihood.restored():
        likelihood.set_values(values)
        return likelihood.auxiliary.information(parameters)


def _slopes(likelihood: Likelihood, values: Mapping[str, float], errors: Mapping[str, float]) -> list[np.ndarray]:
    """Slopes of the log density of the events of each model, shapes ``(n_parameters, n_events)``."""
    centre, limits = np.array([values[name] for name in likelihood.names]), likelihood.limits
    rows = []
    for name, error in errors.items():
        number, ends = likelihood.names.index(name), []
        for sign in (-1, 1):
            at = centre.copy()
            at[number] = np.clip(centre[number] + sign * STEP * error, *limits[name])
            ends.append((at[number], likelihood.log_densities(at, list(errors))))
        (low, below), (high, above) = ends
        rows.append([(one - other) / (high - low) for one, other in zip(above, below, strict=True)])
    return [np.stack(one) for one in zip(*rows, strict=True)]


@dataclass(frozen=True, eq=False)
class Covariances:
    """Two covariances of a best fit, shapes ``(n, n)``.

    Args:
        names: The parameters.
        plain: Inverse of the second derivatives: that of events of weight one.
        full: The right one.
    """

    names: tuple[str, ...]
    plain: np.ndarray
    full: np.ndarray

    def scale(self, offsets: Mapping[str, float]) -> float:
        """What a likelihood ratio is multiplied by to follow a chi-square distribution; one for unweighted events.

        Args:
            offsets: Distance of the tested parameters from their best fit.
        """
        rows = [self.names.index(name) for name in offsets]
        plain, full = (matrix[np.ix_(rows, rows)] for matrix in (self.plain, self.full))
        if len(rows) == 1:
            return float(plain[0, 0] / full[0, 0])
        delta = np.array(list(offsets.values()))
        wanted, given = (delta @ np.linalg.solve(matrix, delta) for matrix in (full, plain))
        return float(wanted / given) if given > 0 else 1.0


def note_on_weights(scale: float | None = None) -> str:
    """What the reader of a result from weighted events should know.

    Args:
        scale: What the likelihood ratio is multiplied by, if that is one number.
    """
    factor = "by the ratio of" if scale is None else f"by {scale:.3g}, the ratio of"
    return (
        f"The events are weighted: -2 Delta ln L is multiplied {factor} the variances without and with the "
        "fluctuations of the weights (sandwich formula). That holds for many events; with few large weights, compare "
        "with resampled events (bootstrap)."
    )


def notes_on_data(likelihood: Likelihood, values: Mapping[str, float], floating: Sequence[str]) -> list[str]:
    """Sentences on events that count for nothing.

    Args:
        likelihood: The likelihood.
        values: All parameters.
        floating: Those that floated.
    """
    at, notes = np.array([values[name] for name in likelihood.names]), []
    for number, rows in enumerate(likelihood.without_density(at, floating)):
        if len(rows):
            model, x = likelihood.models[number], likelihood.x[number].numpy()
            first = ", ".join(f"{name} = {value:.6g}" for name, value in zip(model.obs, x[rows[0]], strict=True))
            notes.append(
                f"{len(rows)} of {len(x)} events have no density in {model.name} at the best fit, the first is event "
                f"{rows[0]} with {first}: they change neither yields nor shapes. Leave them out on purpose, or add a "
                "component that describes them."
            )
    return notes


def check_unweighted(likelihood: Likelihood) -> None:
    """Check that toys of the models fluctuate as the data do.

    Raises:
        ValueError: If events are weighted.
    """
    if likelihood.data.is_weighted:
        raise ValueError(
            "toys are events of equal weight, and say nothing about the fluctuations of weighted data; use unweighted "
            f"events, or {INSTEAD}"
        )


def check_unweighted_loss(loss: Any, instead: str) -> None:
    """Check that the events of a zfit loss count equally.

    Raises:
        ValueError: If they do not.
    """
    for data in loss.data:
        if data.has_weights and np.any(np.asarray(data.weights) != 1):
            raise ValueError(
                f"the events of {data.name} are weighted, and likelihood ratios of weighted events do not follow the "
                f"distributions that hepstats compares them with: {instead}"
            )
