"""How theta enters the networks, chosen from the values at which events were simulated."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from zfit_egmm.coordinates.theta import Bend, Stretch, ThetaScaling

MOST_VALUES = 15
"""Parameters with more values than this are taken as continuous: neither stretched nor bent."""

SAME_VALUE = 1e-6
EVEN = 1.1

# A kink cannot be told from a curve with fewer simulated values than these on each of its sides.
VALUES_BESIDE = 2
RADIUS = 0.03


def theta_inputs(theta: np.ndarray, *, has_bends: bool) -> ThetaScaling:
    """Inputs of the networks made of theta.

    A parameter whose simulated values are spaced unevenly is stretched, such that its steps become nearly as large as
    the square roots of what they were: values are chosen densely where the density changes fast. At simulated values
    there may be bends, which a training uses only if the events ask for them, see :mod:`zfit_egmm.families.egmm.kinks`.

    Args:
        theta: Simulated values, shape ``(n_events, n_theta)``.
        has_bends: Whether there are bends; few events cannot tell a kink.
    """
    linear = ThetaScaling.from_values(theta)
    grids = [grid_values(column) for column in theta.T]
    stretches = tuple(_stretch(values) for values in grids)
    bends = [bend for number, values in enumerate(grids) for bend in _bends(number, values)]
    return ThetaScaling(linear.trained_range, stretches if any(stretches) else (), tuple(bends) if has_bends else ())


def _bends(number: int, values: np.ndarray) -> list[Bend]:
    steps = np.diff(values)
    inner = range(VALUES_BESIDE, len(values) - VALUES_BESIDE)
    return [Bend(number, float(values[k]), RADIUS * float(min(steps[k - 1], steps[k]))) for k in inner]


def grid_values(column: np.ndarray) -> np.ndarray:
    """Values of a parameter in ascending order, none if they are too many to be a grid."""
    values = np.unique(column)
    if len(values) > 1:
        values = values[np.diff(values, prepend=-np.inf) > SAME_VALUE * np.ptp(values)]
    return values if len(values) <= MOST_VALUES else np.empty(0)


def _stretch(values: np.ndarray) -> Stretch | None:
    steps = np.diff(values)
    if len(steps) < 2 or steps.max() < EVEN * steps.min():
        return None
    span = float(np.ptp(values))
    wanted = np.cumsum(np.sqrt(steps)) / np.sqrt(steps).sum()

    def excess(point: np.ndarray) -> np.ndarray:
        places = np.arcsinh((values - point[0]) / (span * np.exp(point[1])))
        return (places[1:] - places[0]) / np.ptp(places) - wanted

    closest = int(steps.argmin())
    start = np.array([0.5 * (values[closest] + values[closest + 1]), np.log(0.2)])
    limits = ([values[0], np.log(0.5 * steps.min() / span)], [values[-1], np.log(10.0)])
    centre, log_width = least_squares(excess, start, bounds=limits).x
    return Stretch(float(centre), span * float(np.exp(log_width)))
