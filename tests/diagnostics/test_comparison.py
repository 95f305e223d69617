from __future__ import annotations

import numpy as np
import pytest
from gaussian_density import GaussianDensity, events

from zfit_egmm import EventSample, Observable
from zfit_egmm.diagnostics.samples import log_densities, model_events, subsample

DENSITY = GaussianDensity(slope=3.0)


def test_partners_have_the_theta_and_the_share_of_the_weight_of_their_events():
    sample = events(DENSITY, 1000, 0, kind="negative")
    model = model_events(DENSITY, sample, copies=3, seed=1)
    assert len(model) == 3 * len(sample)
    for copy in range(3):
        rows = slice(copy * len(sample), (copy + 1) * len(sample))
        np.testing.assert_array_equal(model.theta[rows], sample.theta)
        np.testing.assert_allclose(model.weights[rows], sample.weights / 3)
    # The first observable follows 3 theta with width one: it was drawn at the theta of its row.
    assert np.corrcoef(model.x[:, 0], model.theta[:, 0])[0, 1] == pytest.approx(0.866, abs=0.03)


def test_the_seed_decides_and_long_samples_are_drawn_in_pieces(monkeypatch):
    monkeypatch.setattr("zfit_egmm.diagnostics.samples.PIECE", 300)
    sample = events(DENSITY, 1000, 0)
    done = []
    first = model_events(DENSITY, sample, seed=1, progress=done.append)
    np.testing.assert_array_equal(first.x, model_events(DENSITY, sample, seed=1).x)
    assert not np.any(first.x == model_events(DENSITY, sample, seed=2).x)
    # The pieces have seeds of their own.
    assert len(np.unique(first.x[:, 1])) == 1000
    assert done == pytest.approx([0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(
        log_densities(DENSITY, sample.x, sample.theta), DENSITY.log_prob(sample.x, sample.theta)
    )


def test_no_theta_and_discrete_observables(mixed_density, mixed_sample, plain_density):
    model = model_events(mixed_density, mixed_sample, seed=1)
    assert set(np.unique(model.x[:, 1])) <= {0.0, 1.0, 2.0, 3.0}
    sample = EventSample([Observable("mass", 0, 10)], np.full((50, 1), 3.0))
    model = model_events(plain_density, sample)
    assert model.theta_names == ()
    assert not model.is_weighted


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (GaussianDensity(n_observables=2), "observables"),
        (GaussianDensity(has_theta=False), "parameters"),
    ],
)
def test_a_sample_of_something_else_is_refused(other, word):
    with pytest.raises(ValueError, match=f"the density has the {word}"):
        model_events(DENSITY, events(other, 100, 0))


def test_other_limits_are_refused():
    sample = EventSample([Observable("mass", 0, 9)], np.ones((5, 1)))
    one = GaussianDensity(n_observables=1, has_theta=False)
    renamed = EventSample([Observable("x0", 0, 9)], np.ones((5, 1)))
    with pytest.raises(ValueError, match="observables"):
        model_events(one, sample)
    with pytest.raises(ValueError, match="limits"):
        model_events(one, renamed)
    with pytest.raises(ValueError, match="at least one"):
        model_events(one, events(one, 10, 0), copies=0)


def test_a_subsample_has_each_event_once():
    sample = events(DENSITY, 1000, 0)
    chosen = subsample(sample, 400, seed=3)
    assert len(np.unique(chosen.x[:, 0])) == 400
    assert subsample(sample, 1000) is sample
