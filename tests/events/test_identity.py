"""Rows of the same simulated event: counted once, never split, drawn together."""

from __future__ import annotations

import numpy as np
import pytest

from zfit_egmm import EventSample, Observable
from zfit_egmm.cli.config import TrainFile
from zfit_egmm.demo import toy
from zfit_egmm.events.root import write_columns
from zfit_egmm.training.checkpoint import Checkpoint
from zfit_egmm.training.config import TrainingConfig
from zfit_egmm.training.ensemble import bootstrapped

X, Y = Observable("x", -5, 5), Observable("y", -5, 5)
JETS = Observable("jets", 0, 3, kind="discrete")
THETA = np.linspace(-1, 1, 9)


def reweighted(n: int = 2000, *, seed: int = 1, observables=(X, Y), **given) -> EventSample:
    """The same events at nine theta, with the likelihood ratio as weight, in random order of the rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).clip(-4.9, 4.9)
    theta = np.repeat(THETA, n)
    x = np.tile(x, (9, 1))
    weights = np.exp(theta * x[:, 0] - 0.5 * theta**2)
    order = rng.permutation(len(x))
    number = np.tile(np.arange(n), 9)[order]
    if given.pop("with_id", False):
        given["event_id"] = number
    return EventSample(observables, x[order], theta=theta[order], theta_names=("c",), weights=weights[order], **given)


@pytest.fixture(params=[False, True], ids=["equal rows", "event_id"])
def sample(request) -> EventSample:
    return reweighted(with_id=request.param)


def _events(sample: EventSample) -> set[float]:
    return set(sample.x[:, 0])


def test_events_at_nine_theta_count_once(sample):
    assert (sample.n_events, sample.n_independent, sample.has_copies) == (18_000, 2000, True)
    assert 1000 < sample.effective_events <= 2000
    total = [sample.weights[sample.x[:, 0] == value].sum() for value in sorted(_events(sample))]
    assert sample.effective_events == pytest.approx(np.sum(total) ** 2 / np.sum(np.square(total)))
    assert repr(sample) == "EventSample(2000 events in 18000 rows of (x, y) given c)"


def test_effective_events_never_exceed_the_events():
    # Cauchy-Schwarz for any weights, of which equal ones reach the limit.
    rng = np.random.default_rng(0)
    for number in range(20):
        copies = rng.integers(1, 6, 300)
        x = np.repeat(rng.normal(size=(300, 1)), copies, axis=0).clip(-5, 5)
        weights = rng.normal(0.5, 1, len(x)) if number else np.repeat(1 / copies, copies)
        found = EventSample([X], x, weights=weights).effective_events
        assert found <= 300 * (1 + 1e-12)
        assert number or found == pytest.approx(300)


@pytest.mark.parametrize("fractions", [(0.85, 0.15), (0.5, 0.3, 0.2)])
def test_a_split_never_separates_the_rows_of_an_event(sample, fractions):
    parts = sample.split(*fractions, seed=3)
    assert sum(map(len, parts)) == len(sample)
    for number, part in enumerate(parts):
        assert part.n_events == 9 * part.n_independent
        assert all(_events(part).isdisjoint(_events(other)) for other in parts[:number])
        assert abs(part.n_independent - fractions[number] * 2000) <= 1
        assert np.unique(part.theta, return_counts=True)[1].tolist() == [part.n_independent] * 9


def test_the_bootstrap_draws_whole_events(sample):
    drawn = bootstrapped(sample, seed=2)
    times = {}
    original = dict(zip(zip(sample.x[:, 0], sample.theta[:, 0], strict=True), sample.weights, strict=True))
    for value, theta, weight in zip(drawn.x[:, 0], drawn.theta[:, 0], drawn.weights, strict=True):
        times.setdefault(value, []).append(weight / original[value, theta])
    assert all(len(entry) == 9 and np.ptp(entry) < 1e-9 for entry in times.values())
    assert sum(round(entry[0]) for entry in times.values()) == 2000
    assert len(times) / 2000 == pytest.approx(1 - np.exp(-1), abs=0.04)
    assert drawn.n_independent == len(times)


def test_the_training_knows_how_many_events_there_are(sample):
    prepared = TrainingConfig(seed=4).settings.prepare(sample, TrainingConfig(seed=4))
    assert len(prepared.training) == 9 * 1700
    assert prepared.effective_events <= 1700
    assert prepared.rows_per_event == pytest.approx(9)
    values, held = (set(events.arrays[0][:, 0].tolist()) for events in (prepared.training, prepared.validation))
    assert not values & held


def test_a_projection_is_that_of_the_events_not_of_their_copies():
    once = reweighted().select(reweighted().theta[:, 0] == 0)
    nine = EventSample([X, Y], np.tile(once.x, (9, 1)), theta=np.repeat(THETA, len(once)), theta_names=("c",))
    config = TrainingConfig(validation_fraction=0.0)
    first, second = (config.settings.prepare(entry, config).projections[0] for entry in (once.split(0.9, 0.1)[0], nine))
    assert abs(len(first.knots_x) - len(second.knots_x)) < 0.2 * len(first.knots_x)
    spread = EventSample([X, Y], once.x, theta=np.linspace(-1, 1, 2000), theta_names=("c",))
    alone = config.settings.prepare(spread, config)
    np.testing.assert_allclose(second.knots_u, alone.projections[0].knots_u, atol=1e-9)


def test_independent_keeps_one_row_of_each_event_and_all_theta(sample):
    one = sample.independent(seed=5)
    assert (one.n_events, one.has_copies) == (2000, False)
    assert _events(one) == _events(sample)
    # 2,000 events in nine bins: 222 on average with a standard deviation of 14.
    assert all(abs(count - 2000 / 9) < 70 for count in np.unique(one.theta, return_counts=True)[1])
    assert not np.array_equal(one.theta, sample.independent(seed=6).theta)


def test_selections_and_other_weights_remember_the_events(sample):
    assert sample.n_independent == 2000
    few = sample.select(np.argsort(sample.x[:, 0])[:18])
    assert (few.n_events, few.n_independent) == (18, 2)
    assert sample.with_weights(np.ones(18_000)).effective_events == pytest.approx(2000)


def test_joined_samples_share_events_and_need_the_same_kind_of_id():
    sample = reweighted(with_id=True)
    assert EventSample.concatenate([sample, sample]).n_independent == 2000
    parts = [reweighted().select(reweighted().theta[:, 0] == theta) for theta in THETA]
    assert EventSample.concatenate(parts).n_independent == 2000
    two = EventSample([X, Y], sample.x[:20], theta=sample.theta[:20], theta_names=("c",), event_id=np.ones((20, 2)))
    for other in (reweighted(), two):
        with pytest.raises(ValueError, match=r"event ids of one form to be joined; numbers per event id: \[1, "):
            EventSample.concatenate([sample, other])


def test_two_numbers_name_an_event():
    run, event = np.repeat([1, 2], 50), np.tile(np.arange(50), 2)
    x = np.random.default_rng(0).normal(size=(100, 1)).clip(-5, 5)
    assert EventSample([X], x, event_id=event).n_independent == 50
    assert EventSample([X], x, event_id=np.stack([run, event], axis=1)).n_independent == 100
    assert EventSample([X], x, event_id=np.uint64(2**63) + event.astype(np.uint64)).n_independent == 50


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.arange(9), r"expected event_id of shape \(10,\).*got shape \(9,\)"),
        (np.zeros((10, 0)), r"got shape \(10, 0\)"),
        (np.arange(10) + 0.5, "event_id must hold integers, got 0.5 in row 0"),
        (np.full(10, 1e17), "event_id must hold integers, got 1e\\+17 in row 0"),
        (np.full(10, np.nan), "event_id must hold integers, got nan in row 0"),
        (["a"] * 10, "event_id must hold integers, got the type <U1; number texts with"),
    ],
)
def test_bad_event_ids(ids, message):
    with pytest.raises(ValueError, match=message):
        EventSample([X], np.zeros((10, 1)), event_id=ids)


def test_event_ids_from_a_file(tmp_path):
    rng = np.random.default_rng(3)
    columns = {
        "x": rng.normal(size=300).clip(-5, 5).astype(np.float32),
        "run": np.repeat([1, 2, 3], 100).astype(np.int32),
        "event": np.tile(2**60 + np.arange(100), 3),
    }
    write_columns(tmp_path / "events.root", "events", columns)
    file = str(tmp_path / "events.root")
    for branches, expected in (("event", 100), (["run", "event"], 300), (None, 300)):
        assert EventSample.from_root(file, "events", [X], event_id=branches).n_independent == expected
        content = {"input": {"files": file, "tree": "events"}, "observables": [{"name": "x", "low": -5, "high": 5}]}
        content["input"] |= {"event_id": branches} if branches else {}
        assert TrainFile.model_validate(content).sample().n_independent == expected


@pytest.mark.parametrize("step", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_rounded_values_that_agree_are_no_copies(step, shape):
    rng = np.random.default_rng(7)
    x = getattr(rng, shape)(size=(20_000, 1))
    sample = EventSample([Observable("x", -20, 20)], step * np.round(x / step))
    assert not sample.has_copies
    assert sample.effective_events == 20_000


def test_default_values_and_discrete_observables_are_no_copies():
    rng = np.random.default_rng(8)
    x = np.stack([rng.normal(size=5000), rng.integers(0, 4, 5000)], axis=1).clip(-5, 5)
    x[:2000] = -5, 0
    assert not EventSample([X, JETS], x).has_copies
    assert not EventSample([JETS], x[:, 1:]).has_copies
    assert not EventSample([JETS], np.ones((50, 1))).has_copies
    assert not EventSample([X], np.ones((50, 1))).has_copies


def test_single_precision_and_simulated_samples_have_no_copies(h4l_events, mixed_sample):
    x = np.random.default_rng(9).normal(size=(300_000, 1)).clip(-5, 5).astype(np.float32)
    assert len(np.unique(x)) < len(x)
    for sample in (EventSample([X], x), h4l_events.signal, h4l_events.background, mixed_sample, toy.grid_sample(200)):
        assert not sample.has_copies
    mass = h4l_events.signal.observables[:1]
    assert not EventSample(mass, h4l_events.signal.x[:, :1]).has_copies


def test_rows_that_stand_twice_in_some_files_are_found():
    x = np.random.default_rng(10).normal(size=(20_000, 2)).clip(-5, 5)
    sample = EventSample([X, Y], np.concatenate([x, x[:1000]]))
    assert sample.n_independent == 20_000


def test_a_checkpoint_belongs_to_the_events_as_they_are_told_apart(tmp_path):
    sample, config = reweighted(100), TrainingConfig()
    other = reweighted(100, event_id=np.arange(900))
    same = reweighted(100)
    prints = [Checkpoint(tmp_path / "c", entry, config).fingerprint for entry in (sample, same, other)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("is_selected", [False, True])
def test_numbers_in_any_order_change_nothing_for_events_that_stand_once(is_selected):
    rng = np.random.default_rng(11)
    theta = np.repeat([0.0, 1.0, 2.0], [100, 200, 700])
    x = rng.normal(size=(1000, 1)).clip(-5, 5)
    plain = EventSample([X], x, theta=theta, theta_names=("c",))
    ids = rng.permutation(1000)
    sample = EventSample([X], x, theta=theta, theta_names=("c",), event_id=None if is_selected else ids)
    if is_selected:
        assert not sample.has_copies
        sample, plain = sample.select(ids), EventSample([X], x[ids], theta=theta[ids], theta_names=("c",))
    for part, other in zip(sample.split(0.8, 0.2, seed=1), plain.split(0.8, 0.2, seed=1), strict=True):
        np.testing.assert_array_equal(part.x, other.x)
    np.testing.assert_array_equal(bootstrapped(sample, seed=2).weights, bootstrapped(plain, seed=2).weights)
