from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from zfit_egmm import Density, EventSample, MixtureSettings, Observable, SmoothNetwork, TrainingConfig, train
from zfit_egmm.archive import ModelFileError
from zfit_egmm.training import steps
from zfit_egmm.training.interruption import Interrupted, Interruption
from zfit_egmm.training.record import History, PartState, summarise

CHILD = """
import signal
import sys
import numpy as np
# A job in the background of a shell inherits that interrupts are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {here!r})
from training_case import case
from zfit_egmm import train
sample, config = case()
train(sample, config, checkpoint=sys.argv[1])
print("finished")
"""

CASE = """
import numpy as np
from zfit_egmm import EventSample, Observable, TrainingConfig

def case():
    rng = np.random.default_rng(0)
    theta = rng.choice([-1.0, 0.0, 1.0], 8000)
    x = np.clip(rng.normal(0.3 * theta, 0.7), -3, 3)
    y = np.clip(rng.normal(0.5 * x, 0.5), -3, 3)
    sample = EventSample([Observable("x", -3, 3), Observable("y", -3, 3)], np.stack([x, y], 1),
                         theta=theta, theta_names=("t",))
    return sample, TrainingConfig.preset("fast", epochs=6, batch_size=64, seed=4)
"""


def _gauss_sample(n=4000, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    x = np.clip(rng.normal(0, 1, (n, 1)), -4, 4)
    return EventSample([Observable("x", -4, 4)], x, **kwargs)


def test_learns_a_gaussian_given_its_mean():
    # The log density of the truth is known; 0.0085 nats per event would be a width wrong by 10 %.
    rng = np.random.default_rng(1)
    theta = rng.uniform(-1, 1, 30_000)
    x = rng.normal(theta, 0.5)
    inside = np.abs(x) < 4
    sample = EventSample([Observable("x", -4, 4)], x[inside, None], theta=theta[inside], theta_names=("mean",))
    density = train(sample, TrainingConfig.preset("fast", seed=1), progress=False)
    for mean in (-0.7, 0.1, 0.7):
        fresh = rng.normal(mean, 0.5, 20_000)[:, None]
        truth = -0.5 * ((fresh[:, 0] - mean) / 0.5) ** 2 - np.log(0.5 * np.sqrt(2 * np.pi))
        assert (truth - density.log_prob(fresh, [mean])).mean() < 0.005


def test_weights_count_and_negative_ones_subtract():
    rng = np.random.default_rng(2)
    uniform = rng.uniform(0, 1, 20_000)
    removed = rng.uniform(0, 0.5, 5_000)
    x = np.concatenate([uniform, removed])[:, None]
    weights = np.concatenate([np.ones(20_000), -np.ones(5_000)])
    sample = EventSample([Observable("x", 0, 1)], x, weights=weights)
    density = train(sample, TrainingConfig.preset("fast", seed=1), progress=False)
    share = (density.sample(50_000, seed=1) < 0.5).mean()
    assert share == pytest.approx(5_000 / 15_000, abs=0.015)


def test_same_seed_same_density_and_other_seed_another_one():
    sample = _gauss_sample()
    config = TrainingConfig.preset("fast", epochs=2, seed=3)
    first, second = (train(sample, config, progress=False) for _ in range(2))
    other = train(sample, TrainingConfig.preset("fast", epochs=2, seed=4), progress=False)
    x = np.linspace(-3, 3, 50)[:, None]
    assert np.array_equal(first.log_prob(x), second.log_prob(x))
    assert not np.allclose(first.log_prob(x), other.log_prob(x), atol=1e-4)


def test_history_and_summary_tell_what_happened(toy_density):
    rows, summary = toy_density.training["history"], toy_density.training["summary"]
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(len(row["training"]) == len(row["validation"]) == 4 for row in rows)
    assert sum(rows[-1]["validation"]) < sum(rows[0]["validation"])
    best = np.min([row["validation"] for row in rows], axis=0)
    assert np.allclose(list(summary["validation_loss"].values()), best)
    assert summary["n_weights"] == toy_density.n_weights
    assert "epochs" in summary["verdict"]
    assert summary["doubts"] == []
    assert toy_density.training["config"]["seed"] == 1


def test_the_best_weights_of_every_factor_are_kept(toy_density, toy_sample):
    config = TrainingConfig.preset("fast", seed=1, epochs=6)
    held = toy_sample.split(0.85, 0.15, seed=1)[1]
    _, log_jacobian = toy_density.latent(held.x)
    latent = -(toy_density.log_prob(held.x, held.theta) - log_jacobian.numpy()).mean()
    assert latent == pytest.approx(sum(toy_density.training["summary"]["validation_loss"].values()), abs=1e-4)
    assert len(config.settings.prepare(toy_sample, config).validation) == held.n_events


def test_time_budget_is_kept_and_reported():
    start = time.monotonic()
    density = train(_gauss_sample(40_000), TrainingConfig(epochs=100_000, batch_size=64, time_budget=4), progress=False)
    assert time.monotonic() - start < 20
    summary = density.training["summary"]
    assert summary["stopped"] == {"x": "time"} or summary["stopped"] == {"x": "patience"}
    assert summary["seconds"] < 12


def test_a_hopeless_time_budget_still_gives_a_density():
    density = train(_gauss_sample(), TrainingConfig(time_budget=1e-6), progress=False)
    assert np.all(np.isfinite(density.log_prob([[0.0]])))
    assert "time budget" in density.training["summary"]["verdict"]


def test_over_fitting_and_lack_of_time_are_said_in_words():
    history = History(("x",))
    for loss in np.linspace(2, 1, 20):
        history.add(1.0, 1e-3, [loss - 0.1], [loss])
    text = summarise(
        history,
        states=[PartState(best_loss=1.0, best_epoch=20, stopped="time")],
        training_loss=[0.9],
        gap_error=0.01,
        seconds=20,
        planned_epochs=30,
        n_events=1000,
        n_weights=9,
    )["verdict"]
    assert "time budget ended the training after 20 of 30 epochs" in text
    assert "more epochs or time would help" in text
    assert "Over-fitting" in text


@pytest.mark.parametrize(("planned", "verdict"), [(25, "It has converged."), (100, "More time would probably help.")])
def test_a_flat_loss_is_no_convergence_if_most_of_the_epochs_are_missing(planned, verdict):
    history = History(("x",))
    for _ in range(20):
        history.add(1.0, 1e-3, [1.0], [1.0])
    factors = [PartState(best_loss=1.0, best_epoch=20, stopped="time")]
    summary = summarise(
        history,
        states=factors,
        training_loss=[1.0],
        gap_error=0.01,
        seconds=20,
        planned_epochs=planned,
        n_events=1000,
        n_weights=9,
    )
    assert verdict in summary["verdict"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_training_goes_on_from_its_checkpoint(tmp_path, how, monkeypatch):
    (tmp_path / "training_case.py").write_text(CASE)
    checkpoint = tmp_path / "run.checkpoint"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(here=str(tmp_path)), str(checkpoint)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(how)
    out, err = child.communicate(timeout=60)
    assert "finished" not in out
    assert checkpoint.exists(), err
    if how == signal.SIGINT:
        assert "continues from there" in err

    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("training_case", None)
    from training_case import case

    sample, config = case()
    resumed = train(sample, config, progress=False, checkpoint=checkpoint)
    direct = train(sample, config, progress=False)
    assert not checkpoint.exists()
    x = resumed.sample(500, [0.5], seed=1)
    assert np.abs(resumed.log_prob(x, [0.5]) - direct.log_prob(x, [0.5])).max() < 1e-5
    assert len(resumed.training["history"]) == len(direct.training["history"])


def test_an_interrupt_waits_for_the_end_of_a_step_and_a_second_one_does_not():
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted):
            interruption.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, earlier)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    density = train(_gauss_sample(), TrainingConfig.preset("fast", epochs=1), progress=False)
    foreign = density.save(tmp_path / "model.egmm")
    with pytest.raises(ModelFileError, match="not a 'checkpoint'"):
        train(_gauss_sample(), TrainingConfig.preset("fast", epochs=1), progress=False, checkpoint=foreign)
    assert Density.load(foreign).n_weights == density.n_weights


def test_a_loss_that_is_not_finite_is_explained():
    config = TrainingConfig.preset("fast", learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"not finite in epoch 1.*learning rate.*lower learning_rate"):
        train(_gauss_sample(), config, progress=False)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (_gauss_sample(50), "50 events.*at least"),
        (_gauss_sample(4000, theta=np.full(4000, 2.0), theta_names=("c",)), "'c' takes the single value 2"),
        (_gauss_sample(4000, weights=np.r_[1e6, np.ones(3999)]), "statistical power of 1 "),
    ],
)
def test_samples_that_cannot_be_learned_are_refused(sample, message):
    with pytest.raises(ValueError, match=message):
        train(sample, TrainingConfig.preset("fast"), progress=False)


def test_a_network_far_too_large_for_the_sample_is_refused():
    config = TrainingConfig.preset("fast", model=MixtureSettings(SmoothNetwork((3000,))))
    with pytest.raises(ValueError, match=r"weights for .* effective training events"):
        train(_gauss_sample(400), config, progress=False)


def test_something_else_than_a_sample_is_refused():
    with pytest.raises(TypeError, match="EventSample"):
        train(np.zeros((10, 2)))


def test_two_thousand_events_do_not_over_fit():
    # The held-out likelihood must not be worse than that of a Gaussian fitted to the same events, which is the truth.
    rng = np.random.default_rng(5)
    cov = np.array([[1, 0.6, 0], [0.6, 1, 0.3], [0, 0.3, 1]])
    x = np.clip(rng.multivariate_normal(np.zeros(3), cov, 2000), -5, 5)
    fresh = np.clip(rng.multivariate_normal(np.zeros(3), cov, 50_000), -5, 5)
    density = train(EventSample([Observable(n, -5, 5) for n in "abc"], x), TrainingConfig(seed=1), progress=False)
    fitted, mean = np.cov(x.T), x.mean(axis=0)
    pull = fresh - mean
    gauss = -0.5 * np.einsum("ni,ij,nj->n", pull, np.linalg.inv(fitted), pull) - 0.5 * np.log(
        np.linalg.det(2 * np.pi * fitted)
    )
    assert gauss.mean() - density.log_prob(fresh).mean() < 0.05


def test_the_number_of_threads_does_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(5)
    observables = [Observable(name, -5, 5) for name in ("x", "y", "z")]
    sample = EventSample(observables, rng.normal(size=(2000, 3)).clip(-4.9, 4.9))
    config = TrainingConfig(epochs=2, model=MixtureSettings(SmoothNetwork((6,), 3)))
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(steps, "_n_threads", lambda threads=threads: threads)
        found.append(train(sample, config, progress=False).weights)
    for one, three in zip(*found, strict=True):
        assert all(np.array_equal(one[name], three[name]) for name in one)


def test_the_number_of_threads_follows_what_tensorflow_was_told(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    assert steps._n_threads() == 7
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "all")
    assert steps._n_threads() >= 1
