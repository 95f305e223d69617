"""The benchmark of limits and toys: its comparisons see what is wrong."""

from __future__ import annotations

import limits as benchmark
import numpy as np
import pytest

from zfit_egmm.inference.hypotheses.limits import Limits


def limits_at(scale=1.0):
    return Limits(
        parameter="n_s",
        values=np.arange(3.0),
        observed=np.array([1.0, 0.3, 0.01]),
        expected=np.ones((5, 3)),
        errors=None,
        level=0.95,
        observed_limit=20.0 * scale,
        expected_limits=np.array([6.0, 8.0, 11.0, 16.0, 23.0]) * scale,
        limit_errors=None,
        method="asymptotic",
        notes=(),
    )


def test_ratios_of_limits():
    theirs = {"observed": 20.0, "expected": 11.0, "expected_m1": 8.0, "expected_p1": 16.0, "expected_p2": 23.0}
    theirs["expected_m2"] = None
    found = benchmark.limit_ratios(limits_at(1.03), theirs)
    assert set(found) == set(benchmark.BANDS) - {"expected_m2"}
    assert list(found.values()) == pytest.approx([1.03] * 5)


def test_too_few_toys_for_the_processes():
    with pytest.raises(SystemExit):
        benchmark.main(["--toys", "3"])
