"""TrainingConfig: everything that decides how a density is trained, and the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal

from zfit_egmm.density.conditioners import Network, PaperNetwork, SmoothNetwork

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
        network: Conditioners; see :mod:`zfit_egmm.density.conditioners`.
        projection: Map to the latent axis, ``"smooth"`` or the paper's ``"linear"``.
        epochs: Most passes over the training events.
        batch_size: Events per step.
        learning_rate: Largest learning rate of Adam. Default: 0.01, and 0.03 for the first observable if it has kinks.
        schedule: ``"cosine"`` (short warm-up, then a cosine to almost zero) or ``"plateau"``
            (halved after ``rate_patience`` epochs without improvement, per observable).
        rate_patience: See ``schedule``.
        stop_patience: Epochs without improvement of the validation loss after which the training of
            an observable's factor stops.
        min_delta: Improvement that counts, nats per event.
        validation_fraction: Share of the events held out to choose the best weights. Zero uses
            the training loss instead. Default: 15 %, but at most 100 thousand events.
        average_decay: Decay per step of the running average of the weights, in [0, 1); zero
            switches it off.
        weight_decay: Decay of the networks' kernels per step, in units of the learning rate. Factors that learn little
            from theta and the observables before have more, up to ten times and at most 0.25.

    Raises:
        ValueError: If a value makes no sense; the message says which.
    """

    quality: Quality = "standard"
    seed: int = 0
    time_budget: float | None = None
    network: Network | None = None
    projection: Literal["smooth", "linear"] = "smooth"
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
        if self.projection not in ("smooth", "linear"):
            raise ValueError(f"projection must be 'smooth' or 'linear', got {self.projection!r}")
        if self.network is not None and not isinstance(self.network, SmoothNetwork | PaperNetwork):
            raise ValueError(f"network must be a SmoothNetwork or a PaperNetwork, got {self.network!r}")
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
            name: ``"fast"``, ``"standard"``, ``"thorough"``, or the published configurations
                ``"paper-toy"``, ``"paper-ewzjj-4d"`` and ``"paper-ewzjj-12d"``.
            changes: Fields to change, for example ``seed=1`` or ``time_budget=600``.

        Raises:
            ValueError: If there is no such preset or field.

        Source:
            Tables 6, 5 and 3 of Menary and Price, "Learning to discover".
        """
        if name not in PRESETS:
            raise ValueError(f"no preset {name!r}; there are: {', '.join(PRESETS)}")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(changes) - known)
        if unknown:
            raise ValueError(f"no training field {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
        return replace(PRESETS[name], **changes)


# Training events to process in total, and the limits of the number of epochs.
_BUDGET: Mapping[str, tuple[float, int, int]] = {
    "fast": (6e6, 2, 16),
    "standard": (4e7, 5, 80),
    "thorough": (1e8, 10, 160),
}


VALIDATION_FRACTION, MOST_VALIDATION_EVENTS = 0.15, 1e5

# The fewer events, the more the kernels are held back: measured on 2,000, 65 thousand and two million events.
MOST_DECAY, DECAY_EVENTS = 1.0, 1.3e4
FEW_EVENTS, EPOCHS_OF_FEW = 1e4, 20

# Deep networks drift between simulated values of theta in long trainings: measured on 500 thousand events.
MANY_EVENTS, EPOCHS_OF_MANY, BUDGET_OF_MANY = 5e5, 26, 4e7

# Components start with a width of the latent axis over this number: narrower ones learn weak modulations badly.
COMPONENTS_ACROSS = 12


@dataclass(frozen=True)
class Settings:
    """A configuration with every choice made; same meaning as in :class:`TrainingConfig`."""

    network: Network
    epochs: int
    batch_size: int
    learning_rate: float
    stop_patience: int
    average_decay: float
    weight_decay: float


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
        network=config.network or _network(effective_events),
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


def validation_fraction(config: TrainingConfig, n_events: int) -> float:
    """Share of the events to hold out."""
    if config.validation_fraction is not None:
        return config.validation_fraction
    return min(VALIDATION_FRACTION, MOST_VALIDATION_EVENTS / n_events)


def _network(effective_events: float) -> SmoothNetwork:
    """Capacity that the events can determine."""
    sizes = (
        (FEW_EVENTS, (16, 16), 4),
        (3e4, (24, 24), 10),
        (1e5, (32, 32), 12),
        (MANY_EVENTS, (64, 64, 64), 16),
        (math.inf, (64,) * 6, 24),
    )
    _, hidden, n_components = next(size for size in sizes if effective_events < size[0])
    return SmoothNetwork(hidden=hidden, n_components=n_components, width_fraction=_width_fraction(n_components))


def _width_fraction(n_components: int) -> float:
    """Many components start as wide as a few, so that only what the events ask for becomes narrow."""
    return max(n_components / COMPONENTS_ACROSS, 0.5)


_PAPER = TrainingConfig(
    projection="linear", schedule="plateau", learning_rate=1e-3, epochs=200, average_decay=0.0, weight_decay=0.0
)

PRESETS: Mapping[str, TrainingConfig] = {
    "fast": TrainingConfig(quality="fast"),
    "standard": TrainingConfig(),
    "thorough": TrainingConfig(quality="thorough"),
    "paper-toy": replace(
        _PAPER,
        network=PaperNetwork(),
        batch_size=500,
        rate_patience=2,
        stop_patience=8,
        min_delta=1e-6,
        validation_fraction=0.4,
    ),
    "paper-ewzjj-4d": replace(
        _PAPER,
        network=PaperNetwork(n_components=30, logit_scale=0.125, mean_scale=0.125, width_scale=0.125),
        batch_size=5000,
        rate_patience=3,
        stop_patience=15,
        min_delta=1e-10,
        validation_fraction=0.0,
    ),
    "paper-ewzjj-12d": replace(
        _PAPER,
        network=PaperNetwork(a1=200, b1=200, b2=50, n_layers=3, width_fraction=0.5),
        batch_size=1000,
        epochs=400,
        rate_patience=3,
        stop_patience=12,
        validation_fraction=0.0,
    ),
}
