"""The pieces of the coverage benchmark that need no learned density."""

from __future__ import annotations

import coverage as benchmark
import numpy as np
import pytest

from zfit_egmm.demo import toy
from zfit_egmm.inference import coverage, run_toys


def test_the_true_fit_finds_the_lowest_point_of_the_square():
    row = benchmark.TrueFit().run({"cx": 0.0, "cy": 0.8}, np.random.SeedSequence(4))
    (x,) = benchmark.truth_source({"cx": 0.0, "cy": 0.8}, np.random.default_rng(np.random.SeedSequence(4)))
    assert len(x) == benchmark.N_EVENTS
    best = toy.log_prob(x, np.array([row["cx"], row["cy"]])).sum()
    grid = [(a, b) for a in np.linspace(-0.5, 0.5, 41) for b in np.linspace(0.5, 1.1, 25)]
    values = np.array([toy.log_prob(x, np.array(point)).sum() for point in grid])
    assert values.max() - 1e-6 <= best <= values.max() + 0.5
    assert row["q"] == pytest.approx(2 * (best - toy.log_prob(x, np.array([0.0, 0.8])).sum()))


def test_starts_are_mirrored_where_a_parameter_is_zero():
    assert benchmark.mirrored({"cx": 0.8, "cy": -0.8}) == []
    assert benchmark.mirrored({"cx": 0.0, "cy": 0.8}) == [{"cx": -0.3, "cy": 0.8}, {"cx": 0.3, "cy": 0.8}]
    assert len(benchmark.mirrored({"cx": 0.0, "cy": 0.0})) == 4


def test_truth_coverage_far_from_the_kink_is_as_stated():
    """With 60 toys, a coverage that is off by 0.2 fails."""
    results = run_toys(benchmark.TrueFit, 60, points=[{"cx": 0.8, "cy": 0.8}], seed=2, progress=False)
    found = coverage(results).overall.region[0.6827]
    assert abs(found.value - 0.6827) < 3.3 * found.error
    assert found.error < 0.065
