"""What a training says of its events, before and after it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from zfit_egmm import EventSample, Observable, TrainingConfig, train
from zfit_egmm.diagnostics.report import evaluation
from zfit_egmm.diagnostics.report.summary import provenance
from zfit_egmm.diagnostics.shapes.classifier import classifier_test
from zfit_egmm.training import check_sample
from zfit_egmm.training.config import resolve
from zfit_egmm.training.ensemble import train_ensemble
from zfit_egmm.training.sample_checks import gap_error, runaway

QUICK = TrainingConfig.preset("fast", seed=1, epochs=1)
X = Observable("x", -5, 5)


def _copied(n: int = 800) -> EventSample:
    """The same events at three theta, with their weights."""
    x = np.tile(np.random.default_rng(1).normal(size=n).clip(-4.9, 4.9), 3)
    theta = np.repeat([-0.5, 0.0, 0.5], n)
    return EventSample([X], x[:, None], theta=theta, theta_names=("c",), weights=np.exp(theta * x - theta**2 / 2))


@pytest.fixture(scope="module")
def sample() -> EventSample:
    return _copied()


@pytest.fixture(scope="module")
def density(sample):
    return train(sample, QUICK, progress=False)


TOLD = "The 2400 rows are 800 simulated events, as their equal observables show; each counts once."


def test_doubts_are_a_warning_or_lines_before_the_training_and_in_the_verdict(sample, density, monkeypatch, capsys):
    assert density.training["summary"]["doubts"] == [TOLD]
    assert TOLD in density.training["summary"]["verdict"]

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("zfit_egmm.families.egmm.settings.MixtureModel", stop)
    with pytest.warns(UserWarning, match=TOLD), pytest.raises(KeyboardInterrupt):
        train(sample, QUICK, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            train(sample, QUICK)
    assert f"Doubtful: {TOLD}" in capsys.readouterr().err


def test_members_of_an_ensemble_name_the_doubts_of_the_whole_sample(sample):
    with pytest.warns(UserWarning, match="Doubtful") as told:
        ensemble = train_ensemble(sample, QUICK, 2, progress=False)
    assert len(told) == 1
    for member in ensemble.members:
        assert member.training["summary"]["doubts"] == [TOLD]


def test_the_network_fits_the_number_of_events():
    # 12,000 independent events would have a larger one.
    copied, config = _copied(4000), TrainingConfig()
    events = config.settings.prepare(copied, config)
    one = _copied(4000).independent()
    expected = resolve(config, len(one), one.effective_events).model
    assert resolve(config, len(events.training), events.effective_events).model == expected
    assert resolve(config, len(events.training), len(events.training)).model != expected


def test_held_out_comparisons_use_one_row_of_each_event(density, monkeypatch):
    monkeypatch.setattr(evaluation, "ENTRIES", evaluation.ENTRIES[:1])
    held = _copied(600)
    with pytest.raises(ValueError, match=r"the 1800 rows of the sample are 600 simulated events.*sample.independent"):
        classifier_test(density, held)
    result = evaluation.evaluate(density, held, max_events=300, progress=False)
    assert result.n_given == 1800
    assert len(set(result.sample.x[:, 0])) == len(result.sample) == 300
    assert TOLD in provenance(result)["training"][0]


def test_the_error_of_the_gap_is_that_of_weighted_events():
    # Root of twice the variance of a weighted mean, here from many samples of events with weights of both signs.
    rng = np.random.default_rng(3)
    losses = rng.normal(1, 0.5, (2000, 400))
    weights = rng.choice([-1.0, 1.0, 2.0], 400, p=[0.2, 0.5, 0.3])
    spread = np.sqrt(2) * np.std(losses @ weights / weights.sum())
    assert gap_error(losses[0], weights, 1.0) == pytest.approx(spread, rel=0.1)
    assert gap_error(losses[0], weights, 4.0) == pytest.approx(2 * spread, rel=0.1)


def test_a_loss_that_ran_away_is_told_from_a_good_one_and_from_outliers():
    rng = np.random.default_rng(4)
    losses, weights = rng.exponential(1, 5000), np.ones(5000)
    weights[:300] = -1
    assert runaway(losses, weights) is None
    losses[:250] = 200.0
    assert "lower by 10 nats per event because the density vanishes at 250 events" in runaway(losses, weights)
    assert runaway(losses, np.ones(5000)) is None


def test_a_training_whose_loss_runs_away_says_that_and_not_over_fitting(monkeypatch):
    # The check before the training is switched off: at c = 1 the weights sum to a negative number.
    monkeypatch.setattr(check_sample, "check_weights", lambda _: None)
    rng = np.random.default_rng(4)
    theta = rng.choice([-1.0, 0.0, 1.0], 12_000)
    x = rng.normal(0.5 * theta, 1).clip(-4.9, 4.9)
    weights = np.where((theta == 1) & (rng.random(12_000) < 0.6), -1.0, 1.0)
    events = EventSample([X], x[:, None], theta=theta, theta_names=("c",), weights=weights)
    verdict = train(events, TrainingConfig.preset("fast", seed=1, epochs=8), progress=False).training["summary"][
        "verdict"
    ]
    assert verdict.startswith("The loss ran away: it is lower by")
    assert "Over-fitting" not in verdict
    assert "converged" not in verdict
