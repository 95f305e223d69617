"""train_ensemble: several trainings of one sample, to see how far the density depends on chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from zfit_egmm import archive
from zfit_egmm.archive import ModelFileError
from zfit_egmm.density.base import Density
from zfit_egmm.density.composed.ensemble import EnsembleDensity
from zfit_egmm.events.checks import sample_doubts
from zfit_egmm.events.sample import EventSample
from zfit_egmm.training.check_sample import check_sample
from zfit_egmm.training.checkpoint import Checkpoint
from zfit_egmm.training.config import TrainingConfig, resolve
from zfit_egmm.training.sample_checks import show_doubts
from zfit_egmm.training.split import validation_fraction
from zfit_egmm.training.train import train_checked

BOOTSTRAP_STREAM = 61_503
"""Keeps the bootstrap apart from events that were made from random numbers of the same small seed."""

EVENTS_PER_POINT = 10
"""Events per theta on average, below which theta counts as continuous."""

KIND, FORMAT_VERSION = "ensemble checkpoint", 1


def train_ensemble(
    sample: EventSample,
    config: TrainingConfig | None = None,
    n_members: int = 5,
    *,
    bootstrap: bool = True,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> EnsembleDensity:
    """Learn the density p(x | theta) of a sample several times.

    Every member has its own split of the events, initial weights and order of events. With the bootstrap it also has
    its own draw of the events with replacement, so that the spread of the members holds the error from the limited
    number of training events; without, it holds the chance of the training alone. At every point of a grid of theta as
    many events are drawn as there are. All members have the network that a single training of the sample would have.

    Args:
        sample: Simulated events.
        config: How to train each member. Member k of seed s is always the same, however many members there are. A time
            budget is for each member.
        n_members: Number of trainings, one after the other.
        bootstrap: Whether members are trained on draws from the events.
        progress: Whether to show progress on the standard error stream.
        checkpoint: Folder in which finished members and the state of the current one are kept. If it exists, the
            training goes on from there, also to more members; its files are removed at the end.

    Returns:
        The ensemble.

    Raises:
        TypeError: If ``sample`` is not an :class:`EventSample`.
        ValueError: If ``n_members`` is not positive, there are too few events, or the checkpoint belongs to another
            training.
        KeyboardInterrupt: On Ctrl-C, after the checkpoint was saved.

    Source:
        Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979); Breiman, "Bagging
        predictors", Machine Learning 24 (1996).
    """
    config = TrainingConfig() if config is None else config
    if int(n_members) != n_members or n_members < 1:
        raise ValueError(f"n_members must be a positive number, got {n_members!r}")
    check_sample(sample)
    doubts = sample_doubts(sample)
    show_doubts(doubts, progress=progress)
    folder = None if checkpoint is None else _Folder(checkpoint, sample, config, bootstrap)
    common = _with_choices_made(config, sample)
    console = Console(stderr=True)
    members = []
    for number in range(n_members):
        finished = None if folder is None else folder.member(number)
        if finished is None:
            if progress:
                console.print(f"member {number + 1} of {n_members}", highlight=False)
            seed = _seed(config.seed, number)
            events = bootstrapped(sample, seed=seed) if bootstrap else sample
            state = None if folder is None else folder.state_of(number)
            finished = train_checked(events, replace(common, seed=seed), doubts, progress=progress, checkpoint=state)
            if folder is not None:
                finished.save(folder.file_of(number), overwrite=True)
        members.append(finished)
    if folder is not None:
        folder.delete()
    for member in members:
        member.source = None
    return EnsembleDensity(members)


def bootstrapped(sample: EventSample, *, seed: int) -> EventSample:
    """Draw as many events as there are, with replacement, at every theta of a grid separately.

    Of an event that stands in several rows all are drawn together, among the events with rows at the same theta.

    Args:
        sample: The events. With less than ten events per theta on average, all are drawn from together.
        seed: Seed of the draw.

    Returns:
        The events that were drawn, each once; its weight is multiplied by how often it was drawn. So a copy of an event
        cannot be held out while another one is trained on.
    """
    rng = np.random.default_rng([BOOTSTRAP_STREAM, seed])
    index = sample.theta_patterns(most_points=sample.n_events // EVENTS_PER_POINT)
    times = np.zeros(sample.n_independent, dtype=int)
    order = np.argsort(index, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(index))[:-1]):
        times[rows] = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
    times = times[sample.event_numbers]
    return sample.with_weights(sample.weights * times).select(times > 0)


def _seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _with_choices_made(config: TrainingConfig, sample: EventSample) -> TrainingConfig:
    """What a training of the whole sample would choose; a draw of its events has only half of its power."""
    trained = 1 - validation_fraction(config, sample.n_events)
    settings = resolve(config, int(trained * sample.n_events), trained * sample.effective_events)
    return replace(
        config,
        model=settings.model,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        stop_patience=settings.stop_patience,
        average_decay=settings.average_decay,
        weight_decay=settings.weight_decay,
    )


class _Folder:
    """Where the members are kept until all are trained."""

    def __init__(self, path: str | Path, sample: EventSample, config: TrainingConfig, bootstrap: bool) -> None:
        self.path = Path(path).expanduser()
        self.path.mkdir(exist_ok=True)
        self._mark = self.path / "ensemble"
        fingerprint = {
            "training": Checkpoint(self._mark, sample, config).fingerprint,
            "bootstrap": bool(bootstrap),
        }
        if not self._mark.exists():
            archive.write(self._mark, fingerprint, {}, kind=KIND, version=FORMAT_VERSION)
        found, _ = archive.read(self._mark, kind=KIND, version=FORMAT_VERSION)
        if {key: found[key] for key in fingerprint} != fingerprint:
            raise ModelFileError(
                f"{self.path} is the checkpoint of another sample, configuration or choice of bootstrap; delete it to "
                "start anew, or name another folder"
            )

    def file_of(self, number: int) -> Path:
        """File of a finished member."""
        return self.path / f"member_{number}.egmm"

    def state_of(self, number: int) -> Path:
        """File with the state of an unfinished member."""
        return self.path / f"member_{number}.checkpoint"

    def member(self, number: int) -> Density | None:
        """A finished member, if there is one."""
        path = self.file_of(number)
        return Density.load(path) if path.exists() else None

    def delete(self) -> None:
        """Remove all files, and the folder if nothing else is in it."""
        for path in (self._mark, *self.path.glob("member_*.egmm"), *self.path.glob("member_*.checkpoint")):
            path.unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()
