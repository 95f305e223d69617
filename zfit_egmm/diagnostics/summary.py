"""The numbers of an evaluation as JSON can hold them."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import numpy as np

from zfit_egmm.diagnostics.evaluation import Evaluation
from zfit_egmm.diagnostics.findings import typical_bias
from zfit_egmm.diagnostics.marginals import PullFrequencies
from zfit_egmm.diagnostics.results import Results

PACKAGES = ("zfit_egmm", "numpy", "scipy", "scikit-learn", "tensorflow")


def summary(evaluation: Evaluation, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What ``evaluate.json`` holds: numbers that are not finite, and results that there are none of, are ``None``.

    Args:
        evaluation: The evaluation.
        inputs: More on where the events come from.
    """
    results, verdict = evaluation.results, evaluation.verdict
    trees, calibration = results.classifier, results.calibration
    content = {
        "passed": verdict.passed,
        "verdict": {"status": verdict.status, "text": verdict.text},
        "findings": verdict.findings,
        "n_expected": evaluation.n_expected,
        "auc": trees and [trees.auc, trees.auc_error],
        "auc_p_value": trees and trees.p_value,
        "auc_network": results.network and [results.network.auc, results.network.auc_error],
        "auc_network_p_value": results.network and results.network.p_value,
        "worst_regions": results.worst_regions,
        "energy_test": results.energy,
        "calibration_p_value": calibration and calibration.p_value,
        "calibration": calibration and [_without(f, "histogram", "histogram_error") for f in calibration.factors],
        "coverage": results.coverage and _coverage(results),
        "divergences": results.divergences
        and {entry.observable.name: _without(entry, "observable") for entry in results.divergences},
        "pull_table": results.pull_frequencies and _pull_table(results.pull_frequencies),
        **_theta(results),
        "skipped": evaluation.skipped,
        "failed": evaluation.failed,
        "provenance": provenance(evaluation, inputs),
    }
    return plain(content)


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
            "thresholds": evaluation.thresholds,
            "seconds": {name: round(value, 2) for name, value in evaluation.seconds.items()},
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        }
    )


def _training(density: Any) -> list[str] | None:
    """Verdicts of the trainings of a density, or of the members of an ensemble, if there are any."""
    records = [getattr(member, "training", None) or {} for member in getattr(density, "members", (density,))]
    return [record["summary"]["verdict"] for record in records if "summary" in record] or None


def plain(value: Any) -> Any:
    """Dataclasses and arrays as dictionaries and lists, numbers that are not finite as ``None``."""
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _without(value: Any, *names: str) -> dict[str, Any]:
    return {entry.name: getattr(value, entry.name) for entry in fields(value) if entry.name not in names}


def _coverage(results: Results) -> list[dict[str, Any]]:
    return [
        {"slice": entry.slice.label if entry.slice else "all", **_without(entry, "slice")}
        for entry in results.coverage or ()
    ]


def _pull_table(frequencies: PullFrequencies) -> dict[str, Any]:
    edges = frequencies.edges
    rows = zip(edges[:-1], edges[1:], frequencies.observed, frequencies.expected, frequencies.error, strict=True)
    names = ("low", "high", "observed", "expected", "expected_error")
    return {"n_bins": frequencies.n_bins, "rows": [dict(zip(names, row, strict=True)) for row in rows]}


def _theta(results: Results) -> dict[str, Any]:
    score, bias, closure, information = results.score, results.bias, results.closure, results.information
    found: dict[str, Any] = dict.fromkeys(
        ("score_p_value", "score_mean", "theta_bias_over_sigma", "theta_bias_typical", "closure_p_value", "closure")
    )
    found |= {"information": None, "reweighting": None, "classifier_comparison": results.comparison}
    if results.reweighting is not None:
        found["reweighting"] = [{**_without(r, "spectra"), "p_value": r.p_value} for r in results.reweighting]
    if score is not None:
        found["score_p_value"] = score.p_value
        found["score_mean"] = _rows(score, {"mean": score.mean, "error": score.error}, p_value=score.p_values)
    if bias is not None:
        values = {"over_sigma": bias.over_sigma, "error": bias.over_sigma_error, "shift": bias.shift}
        found["theta_bias_over_sigma"] = _rows(bias, {**values, "sigma": bias.sigma})
        squared, error = typical_bias(bias)
        rows = zip(bias.theta_names, bias.typical, squared, error, strict=True)
        found["theta_bias_typical"] = {n: {"value": v, "squared": s, "squared_error": e} for n, v, s, e in rows}
    if closure is not None:
        found["closure_p_value"] = closure.p_value
        values = {"shift": closure.shift, "error": closure.error}
        found["closure"] = _rows(closure, values, is_valid=closure.is_valid, p_value=closure.p_values)
    if information is not None:
        found["information"] = _rows(information, {"ratio": information.ratio, "error": information.ratio_error})
    return found


def _rows(result: Any, values: Mapping[str, np.ndarray], **others: Sequence[float] | np.ndarray) -> list[dict]:
    """One entry per theta; arrays of shape ``(n_groups, n_theta)`` become dictionaries by parameter."""

    def by_name(row: np.ndarray) -> dict[str, float]:
        return dict(zip(result.theta_names, row, strict=True))

    return [
        {
            "theta": by_name(theta),
            **{name: by_name(value[number]) for name, value in values.items()},
            **{name: value[number] for name, value in others.items()},
        }
        for number, theta in enumerate(result.theta)
    ]
