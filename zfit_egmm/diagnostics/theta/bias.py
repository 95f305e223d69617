"""The bias on theta that a density implies, in units of the statistical error of a measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.theta.closure import ClosureFits
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import (
    check_sample,
    stacked,
    theta_groups,
    weighted_mean,
)
from zfit_egmm.events.sample import EventSample


@dataclass(frozen=True, eq=False)
class ThetaBias:
    """Bias of a measurement of theta with a number of events, as estimated from held-out events.

    Args:
        theta_names: Names of the parameters.
        theta: Values of theta, shape ``(n_groups, n_theta)``.
        n_expected: Number of events of the measurement.
        shift: Expected best fit minus true value, shape ``(n_groups, n_theta)``, in units of theta.
        covariance: Of the shift, from the number of held-out events, shape ``(n_groups, n_theta, n_theta)``.
        information: Fisher information of one event, same shape.
    """

    theta_names: tuple[str, ...]
    theta: np.ndarray
    n_expected: float
    shift: np.ndarray
    covariance: np.ndarray
    information: np.ndarray

    @property
    def shift_error(self) -> np.ndarray:
        """Standard error of the shift, shape ``(n_groups, n_theta)``."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def sigma(self) -> np.ndarray:
        """Statistical error of the measurement, the other parameters free, shape ``(n_groups, n_theta)``."""
        return np.sqrt(np.diagonal(np.linalg.inv(self.information), axis1=1, axis2=2) / self.n_expected)

    @property
    def over_sigma(self) -> np.ndarray:
        """Bias in units of the statistical error, shape ``(n_groups, n_theta)``."""
        return self.shift / self.sigma

    @property
    def over_sigma_error(self) -> np.ndarray:
        """Standard error of :attr:`over_sigma`: about ``sqrt(n_expected / held-out events per theta)``."""
        return self.shift_error / self.sigma

    @property
    def distance(self) -> np.ndarray:
        """Bias of all parameters together in units of the statistical error ellipse, shape ``(n_groups,)``."""
        squared = np.einsum("gi,gij,gj->g", self.shift, self.information, self.shift)
        return np.sqrt(self.n_expected * squared)

    @property
    def distance_of_noise(self) -> np.ndarray:
        """The :attr:`distance` that the limited number of held-out events feigns, root mean square."""
        return np.sqrt(self.n_expected * np.einsum("gij,gji->g", self.information, self.covariance))

    @property
    def typical(self) -> np.ndarray:
        """Root mean square of :attr:`over_sigma` over all theta, the noise subtracted, shape ``(n_theta,)``."""
        squared = np.mean(self.over_sigma**2 - self.over_sigma_error**2, axis=0)
        return np.sqrt(np.maximum(squared, 0.0))


def theta_bias(
    density: Density, sample: EventSample, n_expected: float, *, fits: ClosureFits | None = None
) -> ThetaBias:
    """Bias on theta in a fit to a number of events drawn from the simulation, at every theta.

    With the mean score m and the Fisher information I of one event, a fit is off by ``I^-1 m``, and its statistical
    error is ``(n I)^-1/2``. In units of that error the bias is ``sqrt(n) I^-1/2 m``, :attr:`ThetaBias.distance` its
    length.

    Args:
        density: The density.
        sample: Events that the density was not trained on, with their theta; weights may be negative.
        n_expected: Number of events of the measurement.
        fits: Result of :func:`~zfit_egmm.diagnostics.theta.closure.closure_fits` for the same sample. Its shifts
            then replace the linear ones, as large biases need. A fit that is not valid keeps the linear shift.

    Returns:
        Shifts, and the same in units of the statistical error, with errors.

    Raises:
        ValueError: If the sample does not match the density or the fits, or theta cannot be measured at all.
    """
    check_sample(density, sample)
    if not n_expected > 0:
        raise ValueError(f"n_expected must be a positive number of events, got {n_expected!r}")
    groups = theta_groups(sample)
    scores = Derivatives(density).scores(sample.x, sample.theta)
    shifts, covariances, matrices = [], [], []
    for group in groups:
        rows, weights = group.rows, sample.weights[group.rows]
        mean, spread = weighted_mean(scores[rows], weights)
        centred = scores[rows] - mean
        information = np.einsum("n,ni,nj->ij", weights / weights.sum(), centred, centred)
        if np.linalg.eigvalsh(information).min() <= 0:
            raise ValueError(f"the events at theta = {group.theta} do not determine {list(density.theta_names)}")
        inverse = np.linalg.inv(information)
        shifts.append(inverse @ mean)
        covariances.append(inverse @ spread @ inverse)
        matrices.append(information)
    theta, shift, covariance = stacked([g.theta for g in groups]), stacked(shifts), stacked(covariances)
    if fits is not None:
        if fits.theta.shape != theta.shape or not np.allclose(fits.theta, theta):
            raise ValueError("fits belong to another sample; give closure_fits(density, sample) of this one")
        shift[fits.is_valid], covariance[fits.is_valid] = fits.shift[fits.is_valid], fits.covariance[fits.is_valid]
    return ThetaBias(density.theta_names, theta, float(n_expected), shift, covariance, stacked(matrices))
