"""The benchmark of weighted events: its weights stand for the events that were drawn."""

from __future__ import annotations

import numpy as np
import pytest
import weighted as benchmark


@pytest.mark.parametrize("name", benchmark.SCENARIOS)
def test_weights_keep_the_expected_number_of_events(name):
    weigh, _ = benchmark.SCENARIOS[name]
    rng = np.random.default_rng(1)
    x = rng.uniform(benchmark.LOW, benchmark.HIGH, 200_000)
    kept, weights = weigh(x, rng)
    assert not np.all(weights == weights[0])
    for part, every in ((kept < 3, x < 3), (kept >= 3, x >= 3)):
        error = np.sqrt(np.sum(weights[part] ** 2) + every.sum())
        assert abs(weights[part].sum() - every.sum()) < 3 * error
        # A tenth too many or too few would be seen.
        assert 3 * error < 0.1 * every.sum()
