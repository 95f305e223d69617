"""The numbers of an evaluation as JSON can hold them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.report.entries import ENTRIES
from zfit_egmm.diagnostics.report.evaluation import Evaluation
from zfit_egmm.plain import plain

PACKAGES = ("zfit_egmm", "numpy", "scipy", "scikit-learn", "tensorflow")


def summary(evaluation: Evaluation, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What ``evaluate.json`` holds: numbers that are not finite, and results that there are none of, are ``None``.

    Args:
        evaluation: The evaluation.
        inputs: More on where the events come from.
    """
    verdict = evaluation.verdict
    numbers: dict[str, Any] = {}
    for entry in ENTRIES:
        result = getattr(evaluation.results, entry.name)
        values = [None] * len(entry.keys) if result is None else entry.numbers(result)
        numbers |= dict(zip(entry.keys, values, strict=True))
    return plain(
        {
            "passed": verdict.passed,
            "verdict": {"status": verdict.status, "text": verdict.text},
            "findings": verdict.findings,
            "n_expected": evaluation.n_expected,
            **numbers,
            "skipped": evaluation.skipped,
            "failed": evaluation.failed,
            "provenance": provenance(evaluation, inputs),
        }
    )


def provenance(evaluation: Evaluation, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What an evaluation rests on: model, events, settings and versions."""
    sample, source = evaluation.sample, evaluation.source
    return plain(
        {
            "model": repr(evaluation.density),
            "model_path": source and str(source[0]),
            "model_sha256": source and source[1],
            "training": _training(evaluation.density),
            **(inputs or {}),
            "n_events_given": evaluation.n_given,
            "n_events": sample.n_events,
            "effective_events": sample.effective_events,
            "negative_weights": int(np.sum(sample.weights < 0)),
            "theta_points": len(np.unique(sample.theta, axis=0)) if sample.theta_names else 0,
            "n_expected": evaluation.n_expected,
            "seed": evaluation.seed,
            "thresholds": {**evaluation.thresholds, "decisive": evaluation.thresholds.decisive},
            "seconds": {name: round(value, 2) for name, value in evaluation.seconds.items()},
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        }
    )


def _training(density: Density) -> list[str] | None:
    """Verdicts of the trainings of a density, or of the members of an ensemble, if there are any."""
    records = [member.training for member in getattr(density, "members", (density,))]
    return [record["summary"]["verdict"] for record in records if "summary" in record] or None
