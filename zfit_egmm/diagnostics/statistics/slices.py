"""Slices of theta, to see where in theta a density is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfit_egmm.events.sample import EventSample

MOST_VALUES = 12
N_SLICES = 5


@dataclass(frozen=True)
class ThetaSlice:
    """Part of the events by one parameter.

    Args:
        name: The parameter.
        low: Its lowest value.
        high: Its highest value; the same as ``low`` for a value of a grid.
        mask: Which events are in the slice, shape ``(n_events,)``.
    """

    name: str
    low: float
    high: float
    mask: np.ndarray

    @property
    def label(self) -> str:
        """The slice in words."""
        return (
            f"{self.name} = {self.low:g}" if self.low == self.high else f"{self.name} {self.low:.3g} to {self.high:.3g}"
        )


def theta_slices(sample: EventSample) -> tuple[ThetaSlice, ...]:
    """Slices of every parameter: the values of a grid, or five slices with equally many events.

    Slices in which the weights do not sum to a positive number are left out.
    """
    slices = []
    for name, column in zip(sample.theta_names, sample.theta.T, strict=True):
        values = np.unique(column)
        if len(values) <= MOST_VALUES:
            masks = [column == value for value in values]
        else:
            number = np.searchsorted(np.quantile(column, np.arange(1, N_SLICES) / N_SLICES), column, side="right")
            masks = [number == k for k in range(N_SLICES)]
        slices += [
            ThetaSlice(name, float(column[mask].min()), float(column[mask].max()), mask)
            for mask in masks
            if sample.weights[mask].sum() > 0
        ]
    return tuple(slices)


def scaled_to_spread(theta: np.ndarray) -> tuple[np.ndarray, int]:
    """Points of theta in units of their spread, and the number of the one nearest to their middle.

    Args:
        theta: Shape ``(n_points, n_theta)``.
    """
    scaled = (theta - theta.mean(axis=0)) / np.maximum(theta.std(axis=0), np.finfo(float).tiny)
    return scaled, int(np.argmin(np.sum(scaled**2, axis=1)))
