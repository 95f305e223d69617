"""The loop trains any model: here a Gaussian whose mean is a straight line in theta, registered from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

from zfit_egmm import Density, EventSample, Observable, TrainingConfig, load_density, registry, train, train_ensemble
from zfit_egmm.density.axes import Axes
from zfit_egmm.density.state import State
from zfit_egmm.training.model import Batch, Model
from zfit_egmm.training.split import split_sample

LOW, HIGH = -10.0, 10.0


class Line(Density, kind="line of a test"):
    """Gaussian of one observable, cut off so far outside that it integrates to one."""

    def __init__(self, axes, intercept, slope, width, training=None):
        super().__init__(axes, training)
        self.numbers = np.array([intercept, slope, width])

    def _log_prob(self, x, theta):
        mean = self.numbers[0] + self.numbers[1] * theta[..., 0]
        pull = (x[:, 0] - mean) / self.numbers[2]
        return -0.5 * tf.square(pull) - np.log(self.numbers[2] * np.sqrt(2 * np.pi))

    def state(self):
        return State(arrays={"numbers": self.numbers})

    @classmethod
    def from_state(cls, axes, state, training):
        return cls(axes, *state.arrays["numbers"], training)


class LineModel(Model):
    def __init__(self, sample, config):
        split = split_sample(sample, config)
        self.sample = sample
        batches = [
            Batch((s.x.astype(np.float32), s.theta.astype(np.float32)), s.weights.astype(np.float32))
            for s in (split.training, split.validation)
        ]
        super().__init__(["line"], *batches, split)

    def initial_weights(self, rng):
        return [{"bias": rng.normal(size=2).astype(np.float32), "slope": np.zeros((1, 1), np.float32)}]

    def losses(self, weights, arrays, only=None):
        assert only in (None, (0,))
        x, theta = arrays
        own = weights[0]
        mean = own["bias"][0] + theta[:, 0] * own["slope"][0, 0]
        log_width = own["bias"][1]
        return [0.5 * tf.square((x[:, 0] - mean) / tf.exp(log_width)) + log_width + 0.5 * np.log(2 * np.pi)]

    def density(self, weights, training):
        own = weights[0]
        axes = Axes(self.sample.observables, self.sample.theta_names, self.sample.theta_range)
        return Line(axes, own["bias"][0], own["slope"][0, 0], np.exp(own["bias"][1]), training)


@dataclass(frozen=True)
class LineSettings:
    name: ClassVar[str] = "line of a test"

    def resolved(self, effective_events):
        assert effective_events > 0
        return self

    def prepare(self, sample, config):
        return LineModel(sample, config)

    def as_text(self):
        return {}

    @classmethod
    def of_text(cls, text):
        return cls(**text)


@pytest.fixture(scope="module")
def sample() -> EventSample:
    rng = np.random.default_rng(1)
    theta = rng.uniform(-2, 2, (6000, 1))
    x = 0.5 + 1.5 * theta + 0.7 * rng.normal(size=theta.shape)
    return EventSample([Observable("x", LOW, HIGH)], x, theta=theta, theta_names=("t",))


CONFIG = {"seed": 1, "epochs": 12, "weight_decay": 0.0, "learning_rate": 0.05}


def test_a_model_from_outside_is_trained_saved_and_loaded(sample, tmp_path):
    registry.register("MODELS", LineSettings.name, LineSettings)
    density = train(sample, TrainingConfig(model="line of a test", **CONFIG), progress=False)
    assert isinstance(density, Line)
    # Six thousand events know the intercept and the width to 1 %, the slope to half of that.
    assert density.numbers == pytest.approx([0.5, 1.5, 0.7], abs=0.03)
    summary = density.training["summary"]
    assert summary["stopped"].keys() == {"line"}
    assert summary["validation_loss"]["line"] == pytest.approx(np.log(0.7 * np.sqrt(2 * np.pi * np.e)), abs=0.05)
    assert density.training["config"]["model"] == {"name": "line of a test"}
    loaded = load_density(density.save(tmp_path / "line.egmm"))
    assert np.array_equal(loaded.log_prob([[1.0]], [0.5]), density.log_prob([[1.0]], [0.5]))


def test_ensembles_and_checkpoints_know_it_too(sample, tmp_path):
    config = TrainingConfig(model=LineSettings(), **(CONFIG | {"epochs": 3}))
    ensemble = train_ensemble(sample, config, n_members=2, progress=False, checkpoint=tmp_path / "members")
    assert [member.kind for member in ensemble.members] == ["line of a test"] * 2
    assert not np.array_equal(*(member.numbers for member in ensemble.members))
    again = train(sample, config, progress=False, checkpoint=tmp_path / "state")
    assert np.array_equal(again.numbers, train(sample, config, progress=False).numbers)


def test_unknown_models_are_named():
    with pytest.raises(ValueError, match=r"no model 'flow of nobody'; there are: .*egmm"):
        TrainingConfig(model="flow of nobody")
    with pytest.raises(ValueError, match=r"model must be one of .*egmm.*, or settings such as MixtureSettings"):
        TrainingConfig(model=3)
