"""Is a density good enough for a measurement? The verdict on all findings, in plain words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from zfit_egmm.diagnostics.entry.findings import Finding, Judge, Status
from zfit_egmm.diagnostics.report.entries import ENTRIES, Results
from zfit_egmm.diagnostics.report.thresholds import Thresholds


@dataclass(frozen=True)
class Verdict:
    """Whether a density is good enough.

    Args:
        status: Whether it is.
        text: The same in words, with the reasons.
        findings: What each diagnostic says.
    """

    status: Status
    text: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool | None:
        """True or false; ``None`` if the held-out events do not tell."""
        return {"good": True, "bad": False, "unclear": None}[self.status]

    def missed(self, names: Collection[str]) -> tuple[Finding, ...]:
        """Findings that miss one of these thresholds."""
        return tuple(f for f in self.findings if f.threshold in names and f.status == "bad")


def judge(
    results: Results, thresholds: Thresholds, *, n_expected: float, failed: Mapping[str, str] | None = None
) -> Verdict:
    """Judge the results of all diagnostics.

    The verdict is bad if a decisive finding is, and unclear if one of them is or a diagnostic that they rest on ended
    with an error.

    Args:
        results: The results.
        thresholds: What is good enough, and what decides.
        n_expected: Number of events of the measurement.
        failed: Diagnostics that ended with an error, with its message.
    """
    findings: list[Finding] = []
    for entry in ENTRIES:
        result = getattr(results, entry.name)
        if result is not None:
            findings += entry.findings(result, Judge(entry.name, thresholds, thresholds.decisive, n_expected, results))
    decisive = [finding for finding in findings if finding.is_decisive]
    essential = [entry.name for entry in ENTRIES if entry.is_essential]
    broken = [f"The diagnostic {name!r} ended with an error." for name in essential if name in (failed or {})]
    states = {finding.status for finding in decisive}
    status: Status = "good"
    start, more = f"Good enough for {n_expected:g} expected events.", []
    if "bad" in states:
        status, start = "bad", f"Not good enough for {n_expected:g} expected events."
        more = [f"Look first at {region.description}." for region in (results.worst_regions or ())[:1]]
    elif "unclear" in states or broken or not states:
        status, more = "unclear", broken
        start = f"The held-out events do not tell whether it is good enough for {n_expected:g} expected events."
    reasons = [finding.text for finding in decisive if finding.status == status]
    return Verdict(status, " ".join([start, *reasons, *more]), tuple(findings))
