from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from zfit_egmm import MixtureSettings, Observable, TrainingConfig
from zfit_egmm.families.egmm.autoregressive import Autoregressive
from zfit_egmm.families.egmm.networks import PaperNetwork, SmoothNetwork
from zfit_egmm.training.config import preset_names, resolve
from zfit_egmm.training.split import validation_fraction

FOUR = tuple(Observable(name, 0, 1) for name in "abcd")


def _n_weights(network, n_theta: int) -> list[int]:
    autoregressive = Autoregressive(FOUR, network, n_theta, ((-4.0, 4.0),) * len(FOUR), (None,) * len(FOUR))
    weights = autoregressive.initial_weights(np.random.default_rng(0))
    return [sum(value.size for value in factor.values()) for factor in weights]


# Presets


def test_the_toy_preset_has_the_published_number_of_weights():
    """18k to 85k trainable parameters for four observables and two parameters, appendix of the paper."""
    assert _n_weights(PaperNetwork(), 2) == [18090, 54770, 68940, 84750]
    assert _n_weights(TrainingConfig.preset("paper-toy").model.network, 2) == [18090, 54770, 68940, 84750]


@pytest.mark.parametrize(
    ("name", "network", "settings"),
    [
        (
            "paper-toy",
            {"n_components": 20, "a1": 50, "a2": 0, "b1": 50, "b2": 20, "n_layers": 2, "head_factor": 3}
            | {"logit_scale": 0.01, "mean_scale": 0.01, "width_scale": 0.01, "width_fraction": 0.25},
            {"batch_size": 500, "rate_patience": 2, "stop_patience": 8, "min_delta": 1e-6, "validation_fraction": 0.4},
        ),
        (
            "paper-ewzjj-4d",
            {"n_components": 30, "a1": 50, "a2": 0, "b1": 50, "b2": 20, "n_layers": 2, "head_factor": 3}
            | {"logit_scale": 0.125, "mean_scale": 0.125, "width_scale": 0.125, "width_fraction": 0.25},
            {"batch_size": 5000, "rate_patience": 3, "stop_patience": 15, "min_delta": 1e-10, "epochs": 200}
            | {"validation_fraction": 0.0},
        ),
        (
            "paper-ewzjj-12d",
            {"n_components": 20, "a1": 200, "a2": 0, "b1": 200, "b2": 50, "n_layers": 3, "head_factor": 3}
            | {"logit_scale": 0.01, "mean_scale": 0.01, "width_scale": 0.01, "width_fraction": 0.5},
            {"batch_size": 1000, "rate_patience": 3, "stop_patience": 12, "epochs": 400, "validation_fraction": 0.0},
        ),
    ],
)
def test_published_presets(name, network, settings):
    """Tables 6, 5 and 3 of Menary and Price, and the text around them."""
    config = TrainingConfig.preset(name)
    assert config.model == MixtureSettings(PaperNetwork(**network), projection="linear")
    assert {key: getattr(config, key) for key in settings} == settings
    assert (config.schedule, config.learning_rate) == ("plateau", 1e-3)
    assert config.average_decay == 0


def test_own_presets():
    assert TrainingConfig.preset("standard") == TrainingConfig()
    for name in ("fast", "standard", "thorough"):
        config = TrainingConfig.preset(name)
        assert config.quality == name
        assert (config.epochs, config.time_budget, config.schedule) == (None, None, "cosine")
        assert config.model == MixtureSettings(network=None, projection="smooth")


@pytest.mark.parametrize("name", preset_names())
def test_presets_can_be_changed(name):
    settings = MixtureSettings(SmoothNetwork(hidden=(4,)))
    config, unchanged = TrainingConfig.preset(name, seed=7, time_budget=60, model=settings), TrainingConfig.preset(name)
    assert (config.seed, config.time_budget, config.model) == (7, 60, settings)
    assert unchanged.seed == 0
    assert config.validation_fraction == unchanged.validation_fraction


def test_unknown_preset():
    with pytest.raises(
        ValueError,
        match="no preset 'quick'; there are: fast, standard, thorough, paper-ewzjj-12d, paper-ewzjj-4d, paper-toy",
    ):
        TrainingConfig.preset("quick")


def test_unknown_field():
    with pytest.raises(ValueError, match=r"no training field epoch, lr; there are: .*epochs, .*learning_rate"):
        TrainingConfig.preset("fast", epoch=3, lr=0.1)


# Values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quality": "best"}, "quality must be one of fast, standard, thorough, got 'best'"),
        ({"schedule": "step"}, "schedule must be 'cosine' or 'plateau', got 'step'"),
        ({"model": "flow"}, "no model 'flow'; there are: egmm"),
        ({"model": SmoothNetwork()}, r"model must be one of egmm, or settings such as MixtureSettings\(\), got Smooth"),
        ({"time_budget": 0}, r"time_budget must be positive.*, got 0"),
        ({"time_budget": float("nan")}, r"time_budget must be positive.*, got nan"),
        ({"epochs": 0}, r"epochs must be positive.*, got 0"),
        ({"batch_size": -5}, r"batch_size must be positive.*, got -5"),
        ({"learning_rate": -1e-3}, r"learning_rate must be positive.*, got -0.001"),
        ({"rate_patience": 0}, r"rate_patience must be positive.*, got 0"),
        ({"stop_patience": 0}, r"stop_patience must be positive.*, got 0"),
        ({"validation_fraction": 1.0}, r"validation_fraction must lie in \[0, 1\), got 1.0"),
        ({"validation_fraction": -0.1}, r"validation_fraction must lie in \[0, 1\), got -0.1"),
        ({"validation_fraction": float("nan")}, r"validation_fraction must lie in \[0, 1\), got nan"),
        ({"average_decay": 1.0}, r"average_decay must lie in \[0, 1\), got 1.0"),
        ({"seed": -1}, "seed must be a non-negative integer, got -1"),
        ({"seed": 1.5}, "seed must be a non-negative integer, got 1.5"),
        ({"seed": None}, "seed must be a non-negative integer, got None"),
        ({"epochs": 2.5}, "epochs must be .*integer, got 2.5"),
        ({"batch_size": 100.0}, "batch_size must be .*integer, got 100.0"),
        ({"epochs": "10"}, "epochs must be .*, got '10'"),
        ({"learning_rate": float("inf")}, "learning_rate must be .*, got inf"),
        ({"min_delta": float("nan")}, "min_delta must .*, got nan"),
    ],
    ids=str,
)
def test_invalid_values(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**changes)
    with pytest.raises(ValueError, match=message):
        TrainingConfig.preset("paper-toy", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"projection": "cubic"}, "projection must be 'smooth' or 'linear', got 'cubic'"),
        ({"network": "smooth"}, "network must be a SmoothNetwork or a PaperNetwork, got 'smooth'"),
    ],
    ids=str,
)
def test_invalid_settings_of_the_mixture(changes, message):
    with pytest.raises(ValueError, match=message):
        MixtureSettings(**changes)


def test_a_model_is_named_or_described_by_its_settings():
    assert TrainingConfig().model == TrainingConfig(model="egmm").model == MixtureSettings()
    for settings in (MixtureSettings(), MixtureSettings(PaperNetwork(a1=30), projection="linear")):
        text = json.loads(json.dumps(settings.as_text()))
        assert MixtureSettings.of_text(text) == settings
        assert TrainingConfig(model=settings).as_text()["model"] == {"name": "egmm", **settings.as_text()}


def test_integers_of_numpy_are_integers():
    config = TrainingConfig(seed=np.int64(3), epochs=np.int32(4))
    assert (config.seed, config.epochs) == (3, 4)


def test_configurations_are_values():
    assert TrainingConfig(seed=1) == TrainingConfig.preset("standard", seed=1)
    with pytest.raises(FrozenInstanceError):
        TrainingConfig().seed = 1


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (SmoothNetwork, {"hidden": ()}, r"hidden must list at least one positive layer width, got \(\)"),
        (SmoothNetwork, {"hidden": (8, 0)}, r"hidden must list at least one positive layer width, got \(8, 0\)"),
        (SmoothNetwork, {"n_components": 0}, "SmoothNetwork: n_components must be positive, got 0"),
        (SmoothNetwork, {"width_fraction": -1}, "SmoothNetwork: width_fraction must be positive, got -1"),
        (PaperNetwork, {"n_components": -3}, "PaperNetwork: n_components must be positive, got -3"),
        (PaperNetwork, {"mean_scale": float("nan")}, "PaperNetwork: mean_scale must be positive, got nan"),
        (PaperNetwork, {"b2": -1}, "a1, a2, b1, b2 and n_layers must not be negative"),
    ],
)
def test_invalid_networks(network, changes, message):
    with pytest.raises(ValueError, match=message):
        network(**changes)


# Choices made from the sample


def test_explicit_settings_are_kept():
    network = SmoothNetwork(hidden=(5,))
    config = TrainingConfig(
        model=MixtureSettings(network), epochs=3, batch_size=77, learning_rate=0.5, stop_patience=2, average_decay=0.25
    )
    settings = resolve(config, 10_000, 10_000.0)
    found = (
        settings.model.network,
        settings.epochs,
        settings.batch_size,
        settings.learning_rate,
        settings.stop_patience,
    )
    assert found == (network, 3, 77, 0.5, 2)
    assert settings.average_decay == 0.25


@pytest.mark.parametrize("n", [80, 1000, 30_000, 1_000_000, 30_000_000])
def test_automatic_settings_are_usable(n):
    better = [resolve(TrainingConfig(quality=quality), n, n) for quality in ("fast", "standard", "thorough")]
    assert better[0].epochs < better[1].epochs <= better[2].epochs
    for settings in better:
        assert 1 <= settings.batch_size <= min(n, 4096)
        assert 2 <= settings.epochs <= 160
        assert settings.stop_patience >= 8
        assert 0 <= settings.average_decay <= 0.999


def test_large_samples_hold_out_a_limited_number_of_events():
    assert validation_fraction(TrainingConfig(), 1000) == 0.15
    assert validation_fraction(TrainingConfig(), 10**7) * 10**7 == 1e5
    assert validation_fraction(TrainingConfig(validation_fraction=0.3), 10**7) == 0.3


def test_deep_networks_train_for_a_limited_number_of_epochs():
    epochs = [resolve(TrainingConfig(), n, n).epochs for n in (499_999, 500_000, 4_000_000)]
    assert epochs == [80, 26, 10]
    # Longer trainings were worse between simulated values of theta.
    sizes = (499_999, 500_000, 4_000_000, 10_000_000)
    thorough = [resolve(TrainingConfig(quality="thorough"), n, n).epochs for n in sizes]
    assert thorough == [160, 26, 10, 10]


def test_a_batch_is_never_larger_than_the_sample():
    assert resolve(TrainingConfig.preset("paper-ewzjj-4d"), 900, 900).batch_size == 900


def test_the_network_grows_with_the_events_that_count():
    sizes = [resolve(TrainingConfig(), 10**6, events).model.network for events in (1e3, 1e4, 5e4, 2e5, 1e6)]
    components = [network.n_components for network in sizes]
    assert components == sorted(set(components))
    areas = [sum(width**2 for width in network.hidden) for network in sizes]
    assert areas == sorted(set(areas))
    # A larger one for more time learned no more: see docs/explanation/training_choices.md.
    assert resolve(TrainingConfig(quality="thorough"), 10**6, 1e6).model.network == sizes[-1]
