from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from zfit_egmm import EventSample, MixtureSettings, Observable, TrainingConfig, train
from zfit_egmm.families.egmm import model as model_module
from zfit_egmm.families.egmm.kinks import KinkSearch
from zfit_egmm.families.egmm.networks import PaperNetwork, SmoothNetwork
from zfit_egmm.families.egmm.theta_inputs import theta_inputs
from zfit_egmm.training.progress import TrainingProgress
from zfit_egmm.training.steps import Optimiser

VALUES = np.array([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])
WIDTH = 0.5


def _inputs(values, **options):
    return theta_inputs(np.array(values, dtype=float)[:, np.newaxis], **({"has_bends": True} | options))


# Inputs made of theta


def test_an_even_grid_stays_straight_and_may_bend_where_two_values_lie_on_each_side():
    scaling = _inputs(np.repeat(VALUES, 3))
    assert scaling.stretches == ()
    assert [(bend.value, bend.radius) for bend in scaling.bends] == [(v, pytest.approx(0.015)) for v in (-0.5, 0, 0.5)]
    assert _inputs(VALUES, has_bends=False).bends == ()
    assert _inputs([-1, 0, 1, 2]).bends == ()


@pytest.mark.parametrize("values", [[-8, -4, -2, -1, 0, 1, 2, 4, 8], [0, 1, 2, 4, 8, 16], [1e-6, 2e-6, 4e-6, 1e-5]])
def test_steps_of_an_uneven_grid_become_like_the_square_roots_of_what_they_were(values):
    scaling = _inputs(values)
    (inputs,) = scaling(np.array(values, dtype=float)[:, np.newaxis]).numpy().T[:1]
    assert inputs[[0, -1]] == pytest.approx([-2, 2])
    steps, wanted = np.diff(inputs), np.sqrt(np.diff(values))
    np.testing.assert_allclose(steps / steps.sum(), wanted / wanted.sum(), rtol=0.15)


def test_values_that_differ_by_rounding_are_one_value():
    rng = np.random.default_rng(0)
    rounded = np.repeat(VALUES, 4) + rng.uniform(-1e-9, 1e-9, 28)
    scaling = _inputs(rounded)
    assert scaling.stretches == ()
    assert [round(bend.value, 6) for bend in scaling.bends] == [-0.5, 0, 0.5]
    assert min(bend.radius for bend in scaling.bends) == pytest.approx(0.015)


def test_continuous_parameters_and_the_published_network_take_theta_as_it_is():
    rng = np.random.default_rng(0)
    assert dataclasses.astuple(_inputs(rng.normal(size=100)))[1:] == ((), ())
    sample = _events(lambda theta: theta, 2000)
    scaling = _prepared(sample, TrainingConfig(model=MixtureSettings(PaperNetwork()))).scaling
    assert dataclasses.astuple(scaling)[1:] == ((), ())


# Trainings


def _events(slope, n: int, seed: int = 0) -> EventSample:
    """x1 follows x0 with a slope that depends on theta."""
    rng = np.random.default_rng(seed)
    theta = np.resize(VALUES, n)
    x0 = rng.uniform(-1, 1, n)
    x1 = np.clip(slope(theta) * x0 + WIDTH * rng.normal(size=n), -4, 4)
    observables = [Observable("x0", -1, 1), Observable("x1", -4, 4)]
    return EventSample(observables, np.stack([x0, x1], axis=1), theta=theta[:, np.newaxis], theta_names=("c",))


def _error_of_slope(density, slope, theta: float) -> float:
    """Error of the mean of x1 at x0 = 0.8, in units of its width."""
    x1 = np.linspace(-4, 4, 801)
    p = np.exp(density.log_prob(np.column_stack([np.full(801, 0.8), x1]), [theta]))
    return (np.sum(p * x1) / np.sum(p) - 0.8 * slope(theta)) / WIDTH


NETWORK = SmoothNetwork(hidden=(32,) * 3, n_components=6)
CONFIG = TrainingConfig(seed=1, model=MixtureSettings(NETWORK), epochs=20, batch_size=128)


@pytest.fixture
def few_may_bend(monkeypatch):
    """Let samples of the size of a test bend."""
    monkeypatch.setattr(model_module, "MANY_EVENTS", 1e4)


@pytest.mark.statistical
def test_a_kink_is_found_and_followed_between_the_simulated_values(few_may_bend):
    def slope(theta):
        return 1.5 * np.abs(theta)

    density = train(_events(slope, 50_000), CONFIG, progress=False)
    summary = density.training["summary"]
    assert summary["kinks"] == {"c": [0.0]}
    assert "The events show kinks, which the density follows: in c at 0." in summary["verdict"]
    assert [bend.value for bend in density.scaling.bends] == [0]
    # A parabola through the simulated values would be off by 0.22.
    assert max(abs(_error_of_slope(density, slope, theta)) for theta in (-0.125, 0.125)) < 0.15


def _prepared(sample: EventSample, config: TrainingConfig = CONFIG) -> model_module.MixtureModel:
    return config.settings.prepare(sample, config)


def _search(sample: EventSample) -> np.ndarray:
    model = _prepared(sample)
    assert {bend.value for bend in model.scaling.bends} == {-0.5, 0, 0.5}
    optimiser = Optimiser(model, model.initial_weights(np.random.default_rng(1)), use_xla=False)
    with TrainingProgress(is_enabled=False, title="") as progress:
        return KinkSearch(model, CONFIG, optimiser, progress).thresholds()


@pytest.mark.statistical
def test_no_kink_is_made_of_a_curve(few_may_bend):
    thresholds = _search(_events(np.square, 50_000))
    assert thresholds.shape == (2, 3)
    assert np.isinf(thresholds).all()


@pytest.mark.statistical
def test_a_kink_belongs_to_its_parameter_also_in_the_first_observable(few_may_bend):
    # x0 depends on the absolute value of the first parameter; its single layer would use bends of the second as well.
    rng = np.random.default_rng(0)
    n = 100_000
    theta = np.stack([np.repeat(VALUES, 7), np.tile(VALUES, 7)], axis=1)[np.arange(n) % 49]
    x0 = np.clip(1.5 * np.abs(theta[:, 0]) + 0.3 * theta[:, 1] + WIDTH * rng.normal(size=n), -4, 6)
    sample = EventSample([Observable("x0", -4, 6)], x0[:, np.newaxis], theta=theta, theta_names=("c", "d"))
    bends = [(bend.parameter, bend.value) for bend in _prepared(sample).scaling.bends]
    (is_open,) = np.isfinite(_search(sample))
    assert [bend for bend, is_kink in zip(bends, is_open, strict=True) if is_kink] == [(0, 0)]


def test_too_few_events_beside_those_left_out_end_the_search(few_may_bend):
    # Left out are -0.5 and 0.5, or -1, 0 and 1; of the other values too few events remain.
    assert np.isinf(_search(_events(np.abs, 13_000))).all()
