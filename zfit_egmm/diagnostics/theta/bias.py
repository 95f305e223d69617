"""The bias on theta that a density implies, in units of the statistical error of a measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Finding, Judge, Table, Task, ThetaEntry, Threshold, figures, with_error
from zfit_egmm.diagnostics.entry.findings import N_SIGMA, N_SIGMA_OF_MANY, status_of
from zfit_egmm.diagnostics.entry.json_numbers import by_theta
from zfit_egmm.diagnostics.statistics.means import errors_of, weighted_means
from zfit_egmm.diagnostics.theta.closure import MOST_EVENTS, ClosureFits
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import check_sample, theta_groups
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
        return errors_of(self.covariance)

    @property
    def sigma(self) -> np.ndarray:
        """Statistical error of the measurement, the other parameters free, shape ``(n_groups, n_theta)``."""
        return errors_of(np.linalg.inv(self.information)) / np.sqrt(self.n_expected)

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
    def typical_squared(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean square of :attr:`over_sigma` over all theta, the noise subtracted, with its standard error.

        Both have the shape ``(n_theta,)``; the first may be negative.
        """
        noise = np.square(self.over_sigma_error)
        excess = np.square(self.over_sigma) - noise
        # Variance of the square of a normal variable of mean m and standard deviation e: 2 e^4 + 4 m^2 e^2.
        variance = 2 * np.square(noise).sum(axis=0) + 4 * np.maximum((noise * excess).sum(axis=0), 0.0)
        return excess.mean(axis=0), np.sqrt(variance) / len(excess)

    @property
    def typical(self) -> np.ndarray:
        """Root mean square of :attr:`over_sigma` over all theta, the noise subtracted, shape ``(n_theta,)``."""
        return np.sqrt(np.maximum(self.typical_squared[0], 0.0))


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
        mean, spread = weighted_means(scores[rows], weights)
        centred = scores[rows] - mean
        information = np.einsum("n,ni,nj->ij", weights / weights.sum(), centred, centred)
        if np.linalg.eigvalsh(information).min() <= 0:
            raise ValueError(f"the events at theta = {group.theta} do not determine {list(density.theta_names)}")
        inverse = np.linalg.inv(information)
        shifts.append(inverse @ mean)
        covariances.append(inverse @ spread @ inverse)
        matrices.append(information)
    theta, shift, covariance = np.array([g.theta for g in groups]), np.array(shifts), np.array(covariances)
    if fits is not None:
        if fits.theta.shape != theta.shape or not np.allclose(fits.theta, theta):
            raise ValueError("fits belong to another sample; give closure_fits(density, sample) of this one")
        shift[fits.is_valid], covariance[fits.is_valid] = fits.shift[fits.is_valid], fits.covariance[fits.is_valid]
    return ThetaBias(density.theta_names, theta, float(n_expected), shift, covariance, np.array(matrices))


class BiasEntry(ThetaEntry):
    name = "bias"
    title = "Bias on theta"
    reading = (
        "How far a fit to the expected number of events would be off on average, in units of its statistical error, at "
        "each theta. The bars come from the limited number of held-out events; the band is one statistical error."
    )
    good = "points that scatter about zero as their bars say, and well inside of the band."
    cost = 2.0
    uses = ("closure",)
    is_essential = True
    thresholds = (
        Threshold("theta_bias", 0.3, "bias on a parameter over the statistical error of the measurement", True),
    )
    keys = ("theta_bias_over_sigma", "theta_bias_typical")

    def run(self, task: Task) -> ThetaBias:
        """With fits where they were made of the same events."""
        fits = task.found.get("closure") if len(task.sample) <= MOST_EVENTS else None
        return theta_bias(task.density, task.sample, task.n_expected, fits=fits)

    def findings(self, result: ThetaBias, judge: Judge) -> list[Finding]:
        return [_finding(result, number, judge) for number in range(len(result.theta_names))]

    def numbers(self, result: ThetaBias) -> tuple[list, dict]:
        values = {"over_sigma": result.over_sigma, "error": result.over_sigma_error, "shift": result.shift}
        rows = zip(result.theta_names, result.typical, *result.typical_squared, strict=True)
        typical = {n: {"value": v, "squared": s, "squared_error": e} for n, v, s, e in rows}
        return by_theta(result, {**values, "sigma": result.sigma}), typical

    def content(self, result: ThetaBias) -> Content:
        rows = []
        for number, theta in enumerate(result.theta):
            point = tuple(f"{value:.4g}" for value in theta)
            for column, name in enumerate(result.theta_names):
                at = number, column
                shift = with_error(result.shift[at], result.shift_error[at], sign="+")
                ratio = with_error(result.over_sigma[at], result.over_sigma_error[at], sign="+")
                rows.append((*point, name, shift, f"{result.sigma[at]:.3g}", ratio))
        header = (*result.theta_names, "bias on", "bias", "statistical error", "bias / error")
        return Content(figures=[plot_bias(result)], tables=[Table("At each theta", header, rows)])


def _finding(bias: ThetaBias, number: int, judge: Judge) -> Finding:
    """The bias on one parameter: bad if its mean square is, or that at a single theta for sure."""
    squared, error = (float(values[number]) for values in bias.typical_squared)
    low, middle, high = (math.sqrt(max(squared + k * error, 0.0)) for k in (-N_SIGMA, 0.0, N_SIGMA))
    own, own_error = bias.over_sigma[:, number], bias.over_sigma_error[:, number]
    worst = int(np.argmax(np.abs(own) - N_SIGMA_OF_MANY * own_error))
    limit = judge.limits["theta_bias"]
    status = status_of(squared, error, None if limit is None else limit**2)
    size = "unknown size" if not math.isfinite(squared) else f"{middle:.2f} of the statistical error"
    text = f"The bias on {bias.theta_names[number]} is {size}, {low:.2f} to {high:.2f} with 95 % confidence"
    if len(own) > 1:
        text += f" (root mean square over {len(own)} theta)"
    if limit is not None and abs(own[worst]) - N_SIGMA_OF_MANY * own_error[worst] > limit:
        status = "bad"
        at = ", ".join(f"{n} = {v:.3g}" for n, v in zip(bias.theta_names, bias.theta[worst], strict=True))
        text += f"; it is {own[worst]:+.2f} +- {own_error[worst]:.2f} at {at}"
    elif status == "unclear":
        text += "; " + _events_needed(error, float(limit or 0.0) ** 2)
    return judge.finding("theta_bias", middle, (high - low) / (2 * N_SIGMA), status, f"{text}.")


def _events_needed(error: float, limit: float) -> str:
    """How many more held-out events would show that there is no bias; the error of its square falls as 1/n."""
    factor = N_SIGMA * error / limit if limit > 0 else math.inf
    if 1 < factor < 1000:
        return f"about {math.ceil(factor)} times as many held-out events would tell"
    return "more held-out events would tell"


def plot_bias(bias: ThetaBias) -> figures.Figure:
    """Biases in units of the statistical error of a measurement, with the error from the held-out events."""
    figure, panels, place = figures.panels_of_theta(bias)
    for number, (axes, name) in enumerate(zip(panels, bias.theta_names, strict=True)):
        figures.reference_line(axes, 0.0, band=1.0, label="statistical error of the measurement")
        centre, error = bias.over_sigma[:, number], bias.over_sigma_error[:, number]
        figures.plot_points(axes, place, centre, error, label="bias, from held-out events")
        axes.set_ylabel(rf"bias on {name} / $\sigma$")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", frameon=False, ncols=2, fontsize=9)
    summary = ", ".join(f"{name} {value:.2f}" for name, value in zip(bias.theta_names, bias.typical, strict=True))
    panels[0].set_title(f"{bias.n_expected:g} events: typical bias / $\\sigma$: {summary}", fontsize=10)
    return figure
