"""Trainings of ensembles: bootstrap, checkpoints, and a spread that covers the difference to the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from zfit_egmm import EventSample, Observable, TrainingConfig, train
from zfit_egmm.archive import ModelFileError
from zfit_egmm.training import ensemble as module
from zfit_egmm.training.ensemble import bootstrapped, train_ensemble
from zfit_egmm.training.train import train_checked

OBSERVABLES = (Observable("x", -4, 4), Observable("y", -4, 4))
QUICK = TrainingConfig.preset("fast", seed=3, epochs=1)


def _sample(n, seed=0):
    """Two correlated Gaussians, the first with mean theta / 2, on a grid of theta."""
    rng = np.random.default_rng(seed)
    theta = rng.choice([-1.0, 0.0, 1.0], n)
    x = stats.truncnorm.rvs(-4 - 0.5 * theta, 4 - 0.5 * theta, loc=0.5 * theta, random_state=rng)
    y = stats.truncnorm.rvs((-4 - 0.5 * x) / 0.7, (4 - 0.5 * x) / 0.7, 0.5 * x, 0.7, random_state=rng)
    return EventSample(OBSERVABLES, np.stack([x, y], axis=1), theta=theta, theta_names=("t",))


def _log_truth(x, theta):
    a, b = (-4 - 0.5 * theta, 4 - 0.5 * theta)
    first = stats.truncnorm.logpdf(x[:, 0], a, b, loc=0.5 * theta)
    middle = 0.5 * x[:, 0]
    return first + stats.truncnorm.logpdf(x[:, 1], (-4 - middle) / 0.7, (4 - middle) / 0.7, middle, 0.7)


@pytest.mark.statistical
def test_spread_covers_the_difference_to_the_truth():
    # Root mean squares over the events; the spread of four members is itself uncertain by 40 % at a single place, but
    # by much less on average. A spread of one tenth, or that of the mean of infinitely many members, would fail.
    sample = _sample(4000, seed=1)
    ensemble = train_ensemble(sample, TrainingConfig.preset("fast", seed=1), 4, progress=False)
    fresh = _sample(20_000, seed=2)
    for theta in (-1.0, 0.0, 1.0):
        x = fresh.x[fresh.theta[:, 0] == theta]
        difference = ensemble.log_prob(x, [theta]) - _log_truth(x, theta)
        ratio = np.sqrt(np.mean(ensemble.spread(x, [theta]) ** 2) / np.mean(difference**2))
        assert 0.5 < ratio < 2


def test_bootstrap_keeps_the_number_of_events_at_every_theta():
    sample = _sample(3000)
    drawn = bootstrapped(sample, seed=5)
    for point in (-1.0, 0.0, 1.0):
        assert drawn.weights[drawn.theta[:, 0] == point].sum() == (sample.theta[:, 0] == point).sum()
    times = np.bincount(drawn.weights.astype(int), minlength=4) / sample.n_events
    assert times[1:4] == pytest.approx(stats.poisson.pmf([1, 2, 3], 1), abs=0.04)
    assert drawn.n_events / sample.n_events == pytest.approx(1 - np.exp(-1), abs=0.04)
    assert np.array_equal(drawn.weights, bootstrapped(sample, seed=5).weights)
    other = bootstrapped(sample, seed=6)
    assert other.n_events != drawn.n_events or not np.array_equal(other.x, drawn.x)


def test_bootstrap_keeps_weights_and_takes_continuous_or_no_theta():
    rng = np.random.default_rng(1)
    x, weights = rng.uniform(-1, 1, (1500, 1)), rng.choice([-0.5, 2.0], 1500)
    for theta in (None, rng.random(1500)):
        names = () if theta is None else ("t",)
        sample = EventSample([Observable("x", -1, 1)], x, theta=theta, theta_names=names, weights=weights)
        drawn = bootstrapped(sample, seed=2)
        rows = np.searchsorted(np.sort(x[:, 0]), drawn.x[:, 0])
        times = drawn.weights / weights[np.argsort(x[:, 0])][rows]
        assert times.sum() == 1500
        assert np.array_equal(times, np.round(times))
        assert drawn.n_events / 1500 == pytest.approx(1 - np.exp(-1), abs=0.05)
        if theta is not None:
            assert np.array_equal(drawn.theta[:, 0], theta[np.argsort(x[:, 0])][rows])


def test_members_differ_and_repeat_with_the_seed():
    sample = _sample(1500)
    x = sample.x[:200]
    three = train_ensemble(sample, QUICK, 3, progress=False)
    two = train_ensemble(sample, QUICK, 2, progress=False)
    values, again = three.member_log_probs(x, [0.3]), two.member_log_probs(x, [0.3])
    assert np.array_equal(values[:2], again)
    assert all(np.abs(values[a] - values[b]).max() > 1e-3 for a, b in ((0, 1), (0, 2), (1, 2)))
    plain = train(sample, QUICK, progress=False)
    assert {member.n_weights for member in three.members} == {plain.n_weights}
    without = train_ensemble(sample, QUICK, 2, progress=False, bootstrap=False)
    assert without.members[0].training["summary"]["n_events"] > three.members[0].training["summary"]["n_events"]


def test_an_interrupted_ensemble_goes_on(tmp_path, monkeypatch):
    sample, folder = _sample(1500), tmp_path / "members"
    fresh = train_ensemble(sample, QUICK, 3, progress=False)
    trained = []

    def interrupted(*args, **kwargs):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(kwargs["checkpoint"].name)
        return train_checked(*args, **kwargs)

    monkeypatch.setattr(module, "train_checked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_ensemble(sample, QUICK, 3, progress=False, checkpoint=folder)
    assert sorted(path.name for path in folder.glob("*.egmm")) == ["member_0.egmm", "member_1.egmm"]
    for other, bootstrap in ((_sample(1500, seed=9), True), (sample, False)):
        with pytest.raises(ModelFileError, match="another sample"):
            train_ensemble(other, QUICK, 3, progress=False, checkpoint=folder, bootstrap=bootstrap)
    trained.clear()
    resumed = train_ensemble(sample, QUICK, 3, progress=False, checkpoint=folder)
    assert trained == ["member_2.checkpoint"]
    assert not folder.exists()
    assert all(member.source is None for member in resumed.members)
    assert np.array_equal(resumed.log_prob(sample.x[:50], [0.1]), fresh.log_prob(sample.x[:50], [0.1]))


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="n_members"):
        train_ensemble(_sample(1500), QUICK, 0, progress=False)
    with pytest.raises(TypeError, match="EventSample"):
        train_ensemble(np.zeros((5, 2)), QUICK, 2, progress=False)
