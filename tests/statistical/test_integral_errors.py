"""Integrals over parts of the box deviate as much as they state, at the number of points where the search stops.

The width of 400 pulls is known to 0.05. Without counting how badly eight scramblings know their spread, or where the
search states the error that made it stop and that is low by chance, it is larger.
"""

from __future__ import annotations

import numpy as np
import pytest
from integral_errors import random_density, scramblings

from zfit_egmm.density.points import N_SCRAMBLINGS, Points
from zfit_egmm.density.region import Region


def test_the_error_of_few_scramblings_gives_pulls_of_width_one():
    points = Points.make((0, 0), 8 * N_SCRAMBLINGS)
    values = np.random.default_rng(1).normal(size=(40_000, len(points)))
    value, error = points.estimate(values)
    assert np.sqrt(np.mean((value / error) ** 2)) == pytest.approx(1, abs=0.02)


def test_integrals_deviate_as_much_as_they_state_where_the_search_stops(monkeypatch):
    def noise(region, points, theta, x):
        """Different at every point, uniform from 0.5 to 1.5."""
        del region, theta, x
        return 0.5 + np.modf(1e4 * (1.5 + np.sin(points.positions @ [129.898, 782.33])))[0]

    monkeypatch.setattr(Region, "_values", noise)
    density = random_density(3, False, seed=1)
    found = []
    for number in range(400):
        with scramblings(number):
            region = Region(density, [-4, -4, 0], [4, 4, 4], tolerance=5e-3)
            found.append(region.integral(np.zeros(0)))
    assert len({one.n_points for one in found}) > 1
    pulls = np.array([(one.value - 1) / one.error for one in found])
    assert 0.9 < np.sqrt(np.mean(pulls**2)) < 1.12
