"""TrainingConfig: everything that decides how a density is trained, and the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal

from zfit_egmm import registry
from zfit_egmm.coordinates.rotation import Rotation
from zfit_egmm.coordinates.steps import Step
from zfit_egmm.coordinates.transformation import transform_as_text
from zfit_egmm.training.model import ModelSettings

Quality = Literal["fast", "standard", "thorough"]


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Everything left at ``None`` is chosen from the size of the sample.

    Args:
        quality: ``"fast"``, ``"standard"`` or ``"thorough"``: what the automatic choices aim for. From half a million
            to four million effective events, the last two are the same, since longer trainings drift between simulated
            values of theta; an ensemble, :func:`zfit_egmm.training.ensemble.train_ensemble`, is the better use of the
            time.
        seed: Seed of the split, the initial weights and the order of events.
        time_budget: Seconds that the training may take. The learning-rate schedule is compressed to
            end in time; results then depend on the speed of the machine.
        model: Name of the model, or its settings, for example
            :class:`~zfit_egmm.families.egmm.settings.MixtureSettings`. Default: ``"egmm"``, the Gaussian mixture.
        transform: What the density is learned in instead of the observables themselves: steps such as
            ``[Fraction("mz2", high="m4l - mz1"), Log("pt")]``, see :mod:`zfit_egmm.coordinates.steps`, or a
            :class:`~zfit_egmm.coordinates.rotation.Rotation`. The density keeps the observables of the sample.
        epochs: Most passes over the training events.
        batch_size: Events per step.
        learning_rate: Largest learning rate of Adam. Default: 0.01; a model may scale it for some of its parts.
        schedule: ``"cosine"`` (short warm-up, then a cosine to almost zero) or ``"plateau"``
            (halved after ``rate_patience`` epochs without improvement, per part of the model).
        rate_patience: See ``schedule``.
        stop_patience: Epochs without improvement of the validation loss after which the training of a part stops.
        min_delta: Improvement that counts, nats per event.
        validation_fraction: Share of the events held out to choose the best weights. Zero uses
            the training loss instead. Default: 15 %, but at most 100 thousand events.
        average_decay: Decay per step of the running average of the weights, in [0, 1); zero
            switches it off.
        weight_decay: Decay of the networks' kernels per step, in units of the learning rate. A model may increase it
            for some of its parts.

    Raises:
        ValueError: If a value makes no sense; the message says which.
    """

    quality: Quality = "standard"
    seed: int = 0
    time_budget: float | None = None
    model: str | ModelSettings = "egmm"
    transform: tuple[Step, ...] | Rotation = ()
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    schedule: Literal["cosine", "plateau"] = "cosine"
    rate_patience: int = 3
    stop_patience: int | None = None
    min_delta: float = 0.0
    validation_fraction: float | None = None
    average_decay: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        if self.quality not in _BUDGET:
            raise ValueError(f"quality must be one of {', '.join(_BUDGET)}, got {self.quality!r}")
        if self.schedule not in ("cosine", "plateau"):
            raise ValueError(f"schedule must be 'cosine' or 'plateau', got {self.schedule!r}")
        object.__setattr__(self, "model", _settings_of(self.model))
        object.__setattr__(self, "transform", _checked_transform(self.transform))
        for name in ("epochs", "batch_size", "rate_patience", "stop_patience"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Integral) and int(value) > 0):
                raise ValueError(f"{name} must be positive and an integer, got {value!r}")
        for name in ("time_budget", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and 0 < float(value) < math.inf):
                raise ValueError(f"{name} must be positive and finite, got {value!r}")
        for name, most in (
            ("min_delta", math.inf),
            ("weight_decay", math.inf),
            ("validation_fraction", 1),
            ("average_decay", 1),
        ):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and 0 <= float(value) < most):
                raise ValueError(f"{name} must lie in [0, {most:g}), got {value!r}")
        if not (isinstance(self.seed, Integral) and self.seed >= 0):
            raise ValueError(f"seed must be a non-negative integer, got {self.seed!r}")
        object.__setattr__(self, "seed", int(self.seed))

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TrainingConfig:
        """A named configuration.

        Args:
            name: ``"fast"``, ``"standard"``, ``"thorough"``, or a published configuration of a model, such as
                ``"paper-toy"``.
            changes: Fields to change, for example ``seed=1`` or ``time_budget=600``.

        Raises:
            ValueError: If there is no such preset or field.
        """
        if name not in preset_names():
            raise ValueError(f"no preset {name!r}; there are: {', '.join(preset_names())}")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(f"no training field {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
        chosen: TrainingConfig = cls(quality=name) if name in _BUDGET else registry.find("PRESETS", name)  # type: ignore[arg-type]
        return replace(chosen, **changes)

    @property
    def settings(self) -> ModelSettings:
        """Settings of the model."""
        assert not isinstance(self.model, str)
        return self.model

    def as_text(self) -> dict[str, Any]:
        """Everything as plain data that JSON can hold."""
        return _as_text(self, self.settings)


def _as_text(choices: TrainingConfig | Settings, model: ModelSettings) -> dict[str, Any]:
    plain = {field.name: getattr(choices, field.name) for field in fields(choices)}
    if isinstance(choices, TrainingConfig):
        plain["transform"] = transform_as_text(choices.transform)
    return {**plain, "model": {"name": model.name, **model.as_text()}}


def _checked_transform(transform: Any) -> tuple[Step, ...] | Rotation:
    if isinstance(transform, Rotation):
        return transform
    steps = (transform,) if isinstance(transform, Step) else tuple(transform or ())
    wrong = [step for step in steps if not isinstance(step, Step)]
    if wrong:
        raise ValueError(f"transform must be a Rotation or steps such as Log('pt'), got {wrong[0]!r}")
    return steps


def preset_names() -> list[str]:
    """Names that :meth:`TrainingConfig.preset` accepts."""
    return [*QUALITIES, *registry.names("PRESETS")]


def _settings_of(model: Any) -> ModelSettings:
    """Settings of a model that is given by its name or by themselves."""
    if isinstance(model, str):
        if model not in registry.names("MODELS"):
            raise ValueError(f"no model {model!r}; there are: {', '.join(registry.names('MODELS'))}")
        return registry.find("MODELS", model)()
    if not hasattr(model, "prepare") or not hasattr(model, "resolved"):
        raise ValueError(
            f"model must be one of {', '.join(registry.names('MODELS'))}, or settings such as MixtureSettings(), "
            f"got {model!r}"
        )
    return model


# Training events to process in total, and the limits of the number of epochs.
_BUDGET: Mapping[str, tuple[float, int, int]] = {
    "fast": (6e6, 2, 16),
    "standard": (4e7, 5, 80),
    "thorough": (1e8, 10, 160),
}
QUALITIES = tuple(_BUDGET)

# The fewer events, the more the kernels are held back: measured on 2,000, 65 thousand and two million events.
MOST_DECAY, DECAY_EVENTS = 1.0, 1.3e4
FEW_EVENTS, EPOCHS_OF_FEW = 1e4, 20

# Deep networks drift between simulated values of theta in long trainings: measured on 500 thousand events.
MANY_EVENTS, EPOCHS_OF_MANY, BUDGET_OF_MANY = 5e5, 26, 4e7


@dataclass(frozen=True)
class Settings:
    """The choices that a configuration leaves open, made; same meaning as in :class:`TrainingConfig`."""

    model: ModelSettings
    epochs: int
    batch_size: int
    learning_rate: float
    stop_patience: int
    average_decay: float
    weight_decay: float

    def as_text(self) -> dict[str, Any]:
        """Everything as plain data that JSON can hold."""
        return _as_text(self, self.model)


def resolve(config: TrainingConfig, n_train: int, effective_events: float) -> Settings:
    """Make the choices that the configuration leaves open.

    Args:
        config: The configuration.
        n_train: Number of training events.
        effective_events: The same, reduced for unequal weights.
    """
    events, fewest, most = _BUDGET[config.quality]
    most = min(most, EPOCHS_OF_FEW) if effective_events < FEW_EVENTS else most
    if effective_events >= MANY_EVENTS:
        events, most = min(events, BUDGET_OF_MANY), min(most, EPOCHS_OF_MANY)
    epochs = config.epochs or int(min(max(events / n_train, fewest), most))
    batch_size = config.batch_size or 2 ** int(min(max(round(math.log2(n_train / 100)), 6), 12))
    batch_size = min(batch_size, n_train)
    steps = epochs * (n_train // batch_size)
    return Settings(
        model=config.settings.resolved(effective_events),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=config.learning_rate or 1e-2,
        stop_patience=config.stop_patience or max(8, epochs // 3),
        average_decay=min(0.999, max(0.0, 1 - 50 / max(steps, 50)))
        if config.average_decay is None
        else config.average_decay,
        weight_decay=min(MOST_DECAY, DECAY_EVENTS / effective_events)
        if config.weight_decay is None
        else config.weight_decay,
    )
