"""train: learn a density from events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from zfit_egmm.density.autoregressive import Autoregressive
from zfit_egmm.density.conditioners import network_kind
from zfit_egmm.density.density import Density
from zfit_egmm.density.theta import ThetaScaling
from zfit_egmm.events.checks import sample_doubts
from zfit_egmm.events.sample import EventSample
from zfit_egmm.training.checkpoint import Checkpoint
from zfit_egmm.training.config import Settings, TrainingConfig, resolve
from zfit_egmm.training.kinks import LEAST_KINK, KinkSearch, kinks_in_words, named_kinks
from zfit_egmm.training.loop import Loop
from zfit_egmm.training.prepare import Prepared, check_sample, prepare
from zfit_egmm.training.progress import TrainingProgress
from zfit_egmm.training.record import History, summarise
from zfit_egmm.training.sample_checks import gap_error, runaway, show_doubts, with_doubts
from zfit_egmm.training.steps import Optimiser

MOST_WEIGHTS_PER_EVENT = 100

# The single layer of the first factor learns a kink slowly; where there is none, this rate makes it drift in theta.
KINK_RATE = 3.0

XLA_PAYS = 4e6
"""Events to process above which compiling the steps costs less than it saves."""


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
            somewhere, or the checkpoint belongs to another training.
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
    saved = None if checkpoint is None else Checkpoint(checkpoint, sample, config)
    prepared = prepare(sample, config)
    settings = resolve(config, len(prepared.training), prepared.effective_events)
    autoregressive = Autoregressive(
        sample.observables,
        settings.network,
        prepared.scaling.n_theta,
        prepared.latent_ranges,
        prepared.projections,
        len(prepared.scaling.bends),
    )
    weights = autoregressive.initial_weights(np.random.default_rng([config.seed, 0]))
    _check_capacity(weights, prepared)
    use_xla = settings.epochs * len(prepared.training) > XLA_PAYS
    names = tuple(observable.name for observable in sample.observables)

    optimiser = Optimiser(autoregressive, weights, use_xla=use_xla)
    with TrainingProgress(is_enabled=progress, title=_title(sample)) as display:
        start = time.monotonic()
        allowed = np.full((len(names), len(prepared.scaling.bends)), np.inf, dtype=np.float32)
        # The state of an interrupted training holds what was found.
        if saved is None or not saved.path.exists():
            allowed = KinkSearch(prepared, sample, config, optimiser, display).thresholds()
        spent = time.monotonic() - start
        timed = config
        if config.time_budget is not None:
            timed = replace(config, time_budget=max(config.time_budget - spent, 1e-9))
        optimiser.start(settings.average_decay, allowed)
        loop = Loop(prepared, timed, settings, optimiser, History(names), saved)
        if np.isfinite(allowed[0]).any() and config.learning_rate is None:
            loop.factors[0].rate_scale = KINK_RATE
        loop.run(display)
        density = _density(sample, config, settings, loop, doubts)
        display.note(density.training["summary"]["verdict"])
    if saved is not None:
        saved.delete()
    return density


def _title(sample: EventSample) -> str:
    given = f" | {', '.join(sample.theta_names)}" if sample.theta_names else ""
    return f"training p({', '.join(observable.name for observable in sample.observables)}{given})"


def _check_capacity(weights: list[dict[str, np.ndarray]], prepared: Prepared) -> None:
    n_weights = sum(value.size for factor in weights for value in factor.values())
    if n_weights > MOST_WEIGHTS_PER_EVENT * prepared.effective_events:
        raise ValueError(
            f"the network has {n_weights} weights for {prepared.effective_events:.0f} effective training events; "
            "leave network=None to have one chosen that fits, or add events"
        )


def _density(
    sample: EventSample, config: TrainingConfig, settings: Settings, loop: Loop, doubts: Sequence[str]
) -> Density:
    prepared = loop.prepared
    best = [factor.weights for factor in loop.factors]
    for number, factor in enumerate(best):
        for name, value in factor.items():
            loop.optimiser.average[number][name].assign(value)
    n_check = len(prepared.validation) if prepared.validation is not None else 100_000
    check = prepared.training
    part = np.random.default_rng([config.seed, 2]).permutation(len(check))[:n_check]
    losses, shares = loop.optimiser.event_losses(check.part(part)), check.weights[part].astype(float)
    shares /= shares.sum()
    scaling, best = _without_idle_bends(prepared.scaling, best)
    summary = summarise(
        loop.history,
        factors=loop.factors,
        training_loss=list(shares @ losses),
        gap_error=gap_error(losses.sum(axis=1), shares, prepared.rows_per_event),
        seconds=loop.seconds,
        planned_epochs=settings.epochs,
        n_events=len(prepared.training),
        n_weights=sum(value.size for factor in best for value in factor.values()),
    )
    summary["doubts"] = list(doubts)
    summary["verdict"] = with_doubts(summary["verdict"], doubts, runaway(losses.sum(axis=1), shares))
    summary["kinks"] = {}
    if scaling.bends:
        norms = np.max([np.linalg.norm(factor["bends"], axis=1) for factor in best], axis=0)
        summary["kinks"] = named_kinks(scaling, norms > LEAST_KINK, sample.theta_names)
    if summary["kinks"]:
        summary["verdict"] += f" The events show kinks, which the density follows: {kinks_in_words(summary['kinks'])}."
    return Density(
        sample.observables,
        sample.theta_names,
        scaling,
        network=settings.network,
        projections=prepared.projections,
        latent_ranges=prepared.latent_ranges,
        weights=best,
        training={
            "config": _plain(config),
            "settings": _plain(settings),
            "history": loop.history.rows,
            "summary": summary,
        },
    )


def _without_idle_bends(
    scaling: ThetaScaling, weights: list[dict[str, np.ndarray]]
) -> tuple[ThetaScaling, list[dict[str, np.ndarray]]]:
    """The same density without the bends that no factor uses."""
    if not scaling.bends:
        return scaling, weights
    used = np.any([factor["bends"].any(axis=1) for factor in weights], axis=0)
    kept = replace(scaling, bends=tuple(bend for bend, is_used in zip(scaling.bends, used, strict=True) if is_used))
    thinned = [{**factor, "bends": factor["bends"][used]} for factor in weights]
    if not kept.bends:
        thinned = [{name: value for name, value in factor.items() if name != "bends"} for factor in weights]
    return kept, thinned


def _plain(config: TrainingConfig | Settings) -> dict[str, Any]:
    """A configuration as data that JSON can hold."""
    result = asdict(config)
    if config.network is not None:
        result["network"] = {"kind": network_kind(config.network), **asdict(config.network)}
    return result
