"""The benchmark of limits and toys: its comparisons see what is wrong, and it runs from end to end."""

from __future__ import annotations

import json

import limits as benchmark
import numpy as np
import pytest

from zfit_egmm.inference.limits import Limits


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


def test_from_end_to_end(toy_density, tmp_path, capsys, monkeypatch):
    quick = {"toys": 12, "peer_toys": 5, "cls_toys": 12, "asimov_events": 500, "events": 0}
    monkeypatch.setattr(benchmark, "QUICK", quick)
    monkeypatch.setattr(benchmark, "N_SCAN", 5)
    path = str(toy_density.save(tmp_path / "toy.egmm"))
    benchmark.main(["--quick", "--load", path, "--workers", "1"])
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    ratios = found["cls_ratio_to_hepstats"]
    for kind in ("one_dimension", "learned"):
        # With 500 events the Asimov sample is rough.
        assert [ratios[kind][name] for name in ("observed", "expected")] == pytest.approx([1, 1], abs=0.1)
    ratio, error = ratios["toys"]["ratio"]
    assert abs(ratio - 1) < 4 * error
    assert found["toy_rate_per_s"] > found["hepstats_toy_rate_per_s"]
    assert found["toy_rate_ratio_to_hepstats"][0] == pytest.approx(
        found["toy_rate_per_s"] / found["hepstats_toy_rate_per_s"], rel=0.01
    )
    assert found["start_s"]["zfit_egmm"] > 0
    assert found["n_toys"] == 12
