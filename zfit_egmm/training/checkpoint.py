"""Checkpoints: the state of a training in one file, to go on after an interruption."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zfit_egmm import archive
from zfit_egmm.events.sample import EventSample
from zfit_egmm.training.config import TrainingConfig

if TYPE_CHECKING:
    from zfit_egmm.training.loop import Loop

FORMAT_VERSION = 1


class Checkpoint:
    """A file with the state of one training of one sample with one configuration.

    Args:
        path: The file; it need not exist yet.
        sample: The sample.
        config: The configuration. The time budget may change between runs.

    Raises:
        OSError: If the file could not be written there.
    """

    def __init__(self, path: str | Path, sample: EventSample, config: TrainingConfig) -> None:
        self.path = archive.check_output(path, overwrite=True)
        self.fingerprint = _fingerprint(sample, config)

    def save(self, loop: Loop) -> None:
        """Save the state of the loop."""
        arrays = {f"optimiser_{name}": value for name, value in loop.optimiser.state().items()}
        arrays["sums"] = loop.sums
        parts = []
        for number, part in enumerate(loop.parts):
            arrays |= {f"best_{number}_{name}": value for name, value in part.weights.items()}
            parts.append({key: value for key, value in vars(part).items() if key != "weights"})
        manifest = {
            "fingerprint": self.fingerprint,
            "seconds": loop.seconds,
            "history": loop.history.rows,
            "parts": parts,
        }
        archive.write(self.path, manifest, arrays, kind="checkpoint", version=FORMAT_VERSION, overwrite=True)

    def restore(self, loop: Loop) -> None:
        """Bring the loop to the saved state, if there is one.

        Raises:
            ModelFileError: If the file is no checkpoint, or one of another sample or configuration.
        """
        if not self.path.exists():
            return
        manifest, arrays = archive.read(self.path, kind="checkpoint", version=FORMAT_VERSION)
        if manifest["fingerprint"] != self.fingerprint:
            raise archive.ModelFileError(
                f"{self.path} is the checkpoint of another sample or configuration; delete it to start anew, "
                "or name another checkpoint"
            )
        loop.optimiser.restore(archive.with_prefix(arrays, "optimiser_"))
        loop.sums = arrays["sums"]
        loop.history.rows = manifest["history"]
        loop.earlier_seconds = manifest["seconds"]
        for number, (part, saved) in enumerate(zip(loop.parts, manifest["parts"], strict=True)):
            for key, value in saved.items():
                setattr(part, key, value)
            part.weights = archive.with_prefix(arrays, f"best_{number}_")

    def delete(self) -> None:
        """Remove the file once the training is done."""
        self.path.unlink(missing_ok=True)


def _fingerprint(sample: EventSample, config: TrainingConfig) -> str:
    digest = hashlib.sha256(repr((sample.observables, sample.theta_names, replace(config, time_budget=None))).encode())
    for array in (sample.x, sample.theta, sample.weights, sample.event_numbers):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
