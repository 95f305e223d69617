"""Fits of theta to all held-out events of each theta: do they come back to where the events were simulated?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry import Content, Finding, Judge, Task, ThetaEntry, Threshold, by_theta, figures
from zfit_egmm.diagnostics.statistics.means import errors_of, weighted_means
from zfit_egmm.diagnostics.theta.derivatives import Derivatives
from zfit_egmm.diagnostics.theta.groups import ThetaGroup, check_sample, tests_of, theta_groups
from zfit_egmm.events.sample import EventSample

MOST_EVENTS = 100_000  # events that are fitted: every step of a fit evaluates the density at all of them

MARGIN = 0.25  # how far a fit may leave the trained range, in units of its width
GRADIENT_TOLERANCE = 1e-3
"""Gradient at the end of a fit, in units in which a shift by one standard deviation has a gradient of one."""


@dataclass(frozen=True, eq=False)
class ClosureFits:
    """Best fits of theta to the held-out events of each theta, minus the theta they were simulated with.

    Args:
        theta_names: Names of the parameters.
        theta: Simulated values, shape ``(n_groups, n_theta)``.
        shift: Best fit minus simulated value, same shape.
        covariance: Of the best fit, shape ``(n_groups, n_theta, n_theta)``, from the spread of the scores and the
            curvature, so that it holds for a density that is not exactly right, too.
        is_valid: Whether a minimum was found within the allowed range, shape ``(n_groups,)``.
        p_values: Probability of a shift at least as large without a bias, shape ``(n_groups,)``; NaN if not valid.
        p_value: The same for all valid groups together; NaN if there is none.
    """

    theta_names: tuple[str, ...]
    theta: np.ndarray
    shift: np.ndarray
    covariance: np.ndarray
    is_valid: np.ndarray
    p_values: np.ndarray
    p_value: float

    @property
    def error(self) -> np.ndarray:
        """Standard error of the best fit, shape ``(n_groups, n_theta)``."""
        return errors_of(self.covariance)

    @property
    def pull(self) -> np.ndarray:
        """Shift over its error, shape ``(n_groups, n_theta)``."""
        return self.shift / self.error


def closure_fits(density: Density, sample: EventSample) -> ClosureFits:
    """Fit theta to all held-out events of each theta.

    Values of theta between those that the density was trained at are the hardest test. Where theta differs from
    event to event, a common shift of all of them is fitted in each cell.

    Args:
        density: The density.
        sample: Events that the density was not trained on, with their theta; weights may be negative.

    Returns:
        Shifts with their covariance and p-values. Fits may leave the trained range by a quarter of its width.

    Raises:
        ValueError: If the sample does not match the density, a theta has fewer than 50 events, or the density
            does not depend on a parameter.

    Source:
        H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50 (1982), for the
        covariance.
    """
    check_sample(density, sample)
    groups = theta_groups(sample)
    derivatives = Derivatives(density)
    found = [_fit(density, derivatives, sample, group) for group in groups]
    shifts, covariances, valid = zip(*found, strict=True)
    is_valid = np.array(valid)
    p_values, p_value = np.full(len(groups), np.nan), float("nan")
    if is_valid.any():
        pairs = [(shift, covariance) for shift, covariance, valid in found if valid]
        p_values[is_valid], p_value = tests_of(pairs)
    theta = np.array([group.theta for group in groups])
    return ClosureFits(density.theta_names, theta, np.array(shifts), np.array(covariances), is_valid, p_values, p_value)


def _fit(
    density: Density, derivatives: Derivatives, sample: EventSample, group: ThetaGroup
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Shift, covariance and whether they are valid."""
    x, theta, weights = sample.x[group.rows], sample.theta[group.rows], sample.weights[group.rows]
    effective = weights * weights.sum() / np.square(weights).sum()
    start, scores = derivatives.log_prob_and_score(x, theta)
    information = (effective @ scores**2) / effective.sum()
    if np.any(information <= 0):
        name = density.theta_names[int(np.argmin(information))]
        raise ValueError(f"the density does not depend on {name!r} at theta = {group.theta}: it cannot be fitted")
    unit = 1 / np.sqrt(effective.sum() * information)

    def objective(position: np.ndarray) -> tuple[float, np.ndarray]:
        values, slopes = derivatives.log_prob_and_score(x, theta + position * unit)
        return float(effective @ (start - values)), -(effective @ slopes) * unit

    low, high = np.array(density.theta_range).T
    margin = MARGIN * (high - low)
    # A simulated value that lies outside the trained range by more than the margin is still a place to start from.
    lower = np.minimum(low - margin - theta.min(axis=0), -unit)
    upper = np.maximum(high + margin - theta.max(axis=0), unit)
    bounds = np.stack([lower, upper], axis=1) / unit[:, np.newaxis]
    options = {"gtol": GRADIENT_TOLERANCE, "ftol": 1e-12, "maxiter": 100}
    minimum = minimize(objective, np.zeros(len(unit)), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    shift = minimum.x * unit
    is_inside = np.all((minimum.x > bounds[:, 0]) & (minimum.x < bounds[:, 1]))
    covariance = _sandwich(derivatives, x, theta + shift, weights)
    return shift, covariance, bool(minimum.success and is_inside and np.isfinite(covariance).all())


def _sandwich(derivatives: Derivatives, x: np.ndarray, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Covariance of the best fit; NaN where the likelihood has no maximum."""
    _, spread = weighted_means(derivatives.scores(x, theta), weights)
    curvature = np.einsum("n,nij->ij", weights / weights.sum(), derivatives.curvatures(x, theta))
    if np.linalg.eigvalsh(curvature).min() <= 0:
        return np.full_like(curvature, np.nan)
    inverse = np.linalg.inv(curvature)
    return inverse @ spread @ inverse


class ClosureEntry(ThetaEntry):
    name = "closure"
    title = "Closure fits"
    reading = "Fits of theta to all held-out events of each theta, minus the theta of the simulation."
    good = "about two thirds of the bars reach zero, and all fits are valid."
    cost = 6.0
    thresholds = (Threshold("closure_p_value", None, "smallest p-value of the closure fits"),)
    keys = ("closure_p_value", "closure")

    def run(self, task: Task) -> ClosureFits:
        """With part of the events if there are many."""
        return closure_fits(task.density, task.events(MOST_EVENTS))

    def findings(self, result: ClosureFits, judge: Judge) -> list[Finding]:
        valid = f"; {result.is_valid.sum()} of {len(result.is_valid)} fits are valid"
        return [judge.p_value("closure_p_value", result.p_value, "the closure fits", valid)]

    def numbers(self, result: ClosureFits) -> tuple[float, list[dict]]:
        values = {"shift": result.shift, "error": result.error}
        return result.p_value, by_theta(result, values, is_valid=result.is_valid, p_value=result.p_values)

    def content(self, result: ClosureFits) -> Content:
        return Content(figures=[plot_closure(result)])


def plot_closure(fits: ClosureFits) -> figures.Figure:
    """Best fits minus simulated theta; fits that are not valid are marked."""
    figure, panels, place = figures.panels_of_theta(fits)
    good = fits.is_valid
    for number, (axes, name) in enumerate(zip(panels, fits.theta_names, strict=True)):
        figures.reference_line(axes, 0)
        shift, error = fits.shift[:, number], fits.error[:, number]
        figures.plot_points(axes, place[good], shift[good], error[good])
        axes.plot(place[~good], shift[~good], "x", color=figures.SIMULATION, label="not valid")
        axes.set_ylabel(f"best fit - simulated {name}")
        if not good.all():
            axes.legend(frameon=False, fontsize=9)
    panels[0].set_title(f"fits to all held-out events: joint p-value {fits.p_value:.2g}", fontsize=10)
    return figure
