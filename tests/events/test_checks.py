"""Doubts about a sample: said where there is reason, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from zfit_egmm import EventSample, Observable
from zfit_egmm.demo import toy
from zfit_egmm.events.checks import sample_doubts
from zfit_egmm.events.theta_steps import step_doubts
from zfit_egmm.events.weight_checks import check_weights

WIDE = Observable("x", -1000, 1000)
RESOLUTION = 10.0


def one(column, **kwargs) -> EventSample:
    return EventSample([WIDE], np.asarray(column, dtype=float)[:, None], **kwargs)


def masses(step: float, n: int = 1000, *, share: float = 1.0, seed: int = 1) -> EventSample:
    """A peak at a simulated mass, in steps of so many of its widths, over a flat background."""
    rng = np.random.default_rng(seed)
    mass = np.repeat(np.arange(200, 401, step * RESOLUTION), n)
    x = np.where(rng.random(len(mass)) < share, rng.normal(mass, RESOLUTION), rng.uniform(100, 500, len(mass)))
    return one(x, theta=mass, theta_names=("mass",))


@pytest.fixture(params=["toy", "toy at nine values", "signal", "background", "normal", "per event"])
def faultless(request, toy_sample, h4l_events) -> EventSample:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(4000, 3)) * (1, 1, 100)
    axes = [Observable(name, -1000, 1000) for name in "abc"]
    return {
        "toy": lambda: toy_sample,
        "toy at nine values": lambda: toy.grid_sample(200, toy.DENSE),
        "signal": lambda: h4l_events.signal,
        "background": lambda: h4l_events.background,
        "normal": lambda: EventSample(axes, x.astype(np.float32), weights=rng.choice([-1.0, 1.0, 1.0, 1.0], 4000)),
        "per event": lambda: EventSample(axes, x, theta=rng.random(4000), theta_names=("t",)),
    }[request.param]()


def test_no_false_alarm(faultless):
    check_weights(faultless)
    assert sample_doubts(faultless) == ()


def test_no_false_alarm_in_mixed_weights_but_of_its_clipped_events(mixed_sample):
    check_weights(mixed_sample)
    energy, angle = sample_doubts(mixed_sample)
    assert f"{np.sum(mixed_sample.x[:, 0] == 99.9)} events" in energy
    assert "at exactly 99.9" in energy
    assert "at exactly 1.9" in angle


def test_integers_rounding_and_default_values_are_named():
    rng = np.random.default_rng(2)
    x = rng.normal(size=5000)
    (text,) = sample_doubts(one(rng.poisson(2, 5000)))
    assert "holds only integers" in text
    assert "write Observable('x', 0, " in text
    assert 'kind="discrete"' in text
    (text,) = sample_doubts(one(np.round(500 * x.clip(-1.9, 1.9))))
    assert "holds only integers" in text or "clipped" in text
    (text,) = sample_doubts(one(np.round(x, 1)))
    assert "0.1 apart, as if it were rounded" in text
    assert "between -0.05 and 0.05" in text
    x[rng.permutation(5000)[:137]] = -999
    (text,) = sample_doubts(one(x))
    assert "has 137 events (2.7 %) at exactly -999, where" in text
    assert 'cut="x != -999"' in text


@pytest.mark.parametrize("x", [np.round(np.random.default_rng(3).normal(size=5000), 4), np.zeros(5000) + 0.5])
def test_fine_rounding_is_no_rounding_and_a_constant_is_a_constant(x):
    assert all("rounded" not in text and "exactly" not in text for text in sample_doubts(one(x)))


def test_an_atom_in_the_middle_of_a_spectrum_is_found():
    rng = np.random.default_rng(4)
    x = np.where(rng.random(20_000) < 0.003, 80.4, rng.normal(80, 10, 20_000))
    (text,) = sample_doubts(one(x))
    assert f"{np.sum(x == 80.4)} events" in text
    assert "at exactly 80.4" in text


def test_constant_and_dependent_columns_are_named():
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 3000))
    columns = {"a": a, "b": b, "copy": 2 - 3 * a, "cube": a**3, "sum": a + b, "seven": np.full(3000, 7.0)}
    sample = EventSample([Observable(name, -500, 500) for name in columns], np.stack(list(columns.values()), axis=1))
    texts = sample_doubts(sample)
    assert len(texts) == 4
    assert "'seven' is 7 in all 3000 events" in texts[0]
    assert "observable 'copy' follows from observable 'a'" in texts[1]
    assert "observable 'cube' follows from observable 'a'" in texts[2]
    assert "observable 'sum' follows from observable 'a' and observable 'b'" in texts[3]
    assert all("leave" in text for text in texts)


def test_strong_correlations_are_no_dependence():
    rng = np.random.default_rng(7)
    a = rng.normal(size=3000)
    x = np.stack([a, a + 0.01 * rng.normal(size=3000)], axis=1)
    assert sample_doubts(EventSample([Observable("a", -9, 9), Observable("b", -9, 9)], x)) == ()


def test_parameters_on_a_line_and_observables_that_are_parameters_are_named():
    rng = np.random.default_rng(8)
    c = rng.choice([-1.0, 0.0, 1.0], 3000)
    sample = one(rng.normal(size=3000), theta=np.stack([c, 2 * c], axis=1), theta_names=("c", "d"))
    (text,) = sample_doubts(sample)
    assert "parameter 'd' follows from parameter 'c'" in text
    assert "simulate other combinations" in text
    t = rng.random(3000)
    (text,) = sample_doubts(one(5 * t, theta=t, theta_names=("t",)))
    assert text.endswith("leave 'x' out.")


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_steps_in_theta_wider_than_a_peak_are_named(share):
    # A trained density is wrong by 0.4 nats per event between them, with the background by 0.02.
    (text,) = step_doubts(masses(5, 4000, share=share))
    assert "steps in mass are wider than the structures of 'x': at mass = " in text
    assert "Simulate values in between" in text


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
def test_steps_that_a_density_can_follow_are_not(step, share):
    # Trained densities are as good between these as at the simulated values, 0.001 to 0.004 nats per event.
    for seed in range(5):
        assert step_doubts(masses(step, share=share, seed=seed)) == []


def test_copies_of_events_are_told():
    x = np.tile(np.random.default_rng(9).normal(size=500), 3)
    theta = np.repeat([0.0, 1.0, 2.0], 500)
    (text,) = sample_doubts(one(x, theta=theta, theta_names=("c",)))
    assert text == "The 1500 rows are 500 simulated events, as their equal observables show; each counts once."
    (text,) = sample_doubts(one(x, theta=theta, theta_names=("c",), event_id=np.tile(np.arange(500), 3)))
    assert "1500 rows are 500 simulated events by their event ids; each counts once" in text


def test_event_numbers_that_start_anew_are_told():
    x = np.random.default_rng(10).normal(size=1500)
    (text,) = sample_doubts(one(x, event_id=np.tile(np.arange(500), 3)))
    assert "though 1000 rows differ in their observables from others of the same id" in text
    assert "name a second branch" in text
