"""train: learn a density from events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zfit_egmm.coordinates.transformation import made_of
from zfit_egmm.density.base import Density
from zfit_egmm.density.composed.transformed import TransformedDensity
from zfit_egmm.events.checks import sample_doubts
from zfit_egmm.events.sample import EventSample
from zfit_egmm.training.check_sample import check_sample
from zfit_egmm.training.checkpoint import Checkpoint
from zfit_egmm.training.config import Settings, TrainingConfig, resolve
from zfit_egmm.training.loop import Loop
from zfit_egmm.training.model import Model
from zfit_egmm.training.progress import TrainingProgress
from zfit_egmm.training.record import History, summarise
from zfit_egmm.training.sample_checks import gap_error, runaway, show_doubts, with_doubts
from zfit_egmm.training.steps import Optimiser

MOST_WEIGHTS_PER_EVENT = 100

XLA_PAYS = 4e6
"""Events to process above which compiling the steps costs less than it saves."""

CHECK_EVENTS = 100_000
"""Training events whose loss is compared with that of held-out ones, if there are none of these."""


def train(
    sample: EventSample,
    config: TrainingConfig | None = None,
    *,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> Density:
    """Learn the density p(x | theta) of a sample.

    Args:
        sample: Simulated events.
        config: How to train. Default: ``TrainingConfig()``, which adapts to the sample.
        progress: Whether to show progress on the standard error stream.
        checkpoint: File in which the state is saved from time to time and on Ctrl-C. If it exists,
            the training goes on from there; it is removed at the end.

    Returns:
        The density. ``density.training`` holds the configuration, the history of losses, and a
        summary with a verdict in words. What is doubtful about the events is said before the training, with the
        progress or as a warning, and in the verdict.

    Raises:
        TypeError: If ``sample`` is not an :class:`EventSample`.
        ValueError: If there are too few events, a parameter takes a single value, weights sum to a negative number
            somewhere, events lie beyond the limits of the transformation, or the checkpoint belongs to another
            training.
        FloatingPointError: If the loss becomes NaN or infinite.
        KeyboardInterrupt: On Ctrl-C, after the checkpoint was saved.
    """
    config = TrainingConfig() if config is None else config
    check_sample(sample)
    doubts = sample_doubts(sample)
    show_doubts(doubts, progress=progress)
    return train_checked(sample, config, doubts, progress=progress, checkpoint=checkpoint)


def train_checked(
    sample: EventSample,
    config: TrainingConfig,
    doubts: Sequence[str] = (),
    *,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> Density:
    """Like :func:`train`, of events that have been checked.

    Args:
        sample: The events.
        config: How to train.
        doubts: What the verdict is to say of the events.
        progress: Whether to show progress.
        checkpoint: As for :func:`train`.
    """
    if config.transform:
        transformation = made_of(config.transform, sample.observables, sample.x, sample.weights)
        learned = sample.transformed(transformation.target, transformation.check(sample.x))
        plain = replace(config, transform=())
        base = train_checked(learned, plain, doubts, progress=progress, checkpoint=checkpoint)
        return TransformedDensity(base, transformation)
    saved = None if checkpoint is None else Checkpoint(checkpoint, sample, config)
    model = config.settings.prepare(sample, config)
    settings = resolve(config, len(model.training), model.effective_events)
    weights = model.initial_weights(np.random.default_rng([config.seed, 0]))
    _check_capacity(weights, model)
    optimiser = Optimiser(model, weights, use_xla=settings.epochs * len(model.training) > XLA_PAYS)
    with TrainingProgress(is_enabled=progress, title=_title(sample)) as display:
        loop = _started(model, config, settings, optimiser, display, saved)
        loop.run(display)
        density = _density(loop, config, settings, doubts)
        display.note(density.training["summary"]["verdict"])
    if saved is not None:
        saved.delete()
    return density


def _started(
    model: Model,
    config: TrainingConfig,
    settings: Settings,
    optimiser: Optimiser,
    display: TrainingProgress,
    saved: Checkpoint | None,
) -> Loop:
    """The loop after the search of the model, or in the state in which it was interrupted."""
    start = time.monotonic()
    is_resumed = saved is not None and saved.path.exists()
    found = model.search(config, optimiser, display, is_resumed=is_resumed)
    timed = config
    if config.time_budget is not None:
        timed = replace(config, time_budget=max(config.time_budget - (time.monotonic() - start), 1e-9))
    optimiser.start(settings.average_decay, found.thresholds)
    loop = Loop(model, model.training, timed, settings, optimiser, History(model.parts), found, saved)
    if saved is not None:
        saved.restore(loop)
    return loop


def _title(sample: EventSample) -> str:
    given = f" | {', '.join(sample.theta_names)}" if sample.theta_names else ""
    return f"training p({', '.join(observable.name for observable in sample.observables)}{given})"


def _check_capacity(weights: list[dict[str, np.ndarray]], model: Model) -> None:
    n_weights = sum(value.size for part in weights for value in part.values())
    if n_weights > MOST_WEIGHTS_PER_EVENT * model.effective_events:
        raise ValueError(
            f"the network has {n_weights} weights for {model.effective_events:.0f} effective training events; "
            "leave its size to be chosen, or add events"
        )


def _density(loop: Loop, config: TrainingConfig, settings: Settings, doubts: Sequence[str]) -> Density:
    model = loop.model
    best = [part.weights for part in loop.parts]
    n_check = CHECK_EVENTS if model.validation is None else len(model.validation)
    part = np.random.default_rng([config.seed, 2]).permutation(len(model.training))[:n_check]
    losses, shares = (
        loop.optimiser.event_losses(model.training.part(part), best),
        model.training.weights[part].astype(float),
    )
    shares /= shares.sum()
    total = losses.sum(axis=1)
    entries, remark = model.remarks(best)
    summary = summarise(
        loop.history,
        states=loop.parts,
        training_loss=list(shares @ losses),
        gap_error=gap_error(total, shares, model.rows_per_event),
        seconds=loop.seconds,
        planned_epochs=settings.epochs,
        n_events=len(model.training),
        n_weights=sum(value.size for weights in model.tidied(best) for value in weights.values()),
    )
    summary |= {"doubts": list(doubts), **entries}
    verdict = with_doubts(summary["verdict"], doubts, runaway(total, shares))
    summary["verdict"] = f"{verdict} {remark}".rstrip()
    return model.density(
        best,
        {
            "config": config.as_text(),
            "settings": settings.as_text(),
            "history": loop.history.rows,
            "summary": summary,
        },
    )
