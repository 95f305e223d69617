"""Is a density good enough for a measurement? The verdict on all findings, in plain words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from zfit_egmm.diagnostics.findings import Finding, Status, all_findings
from zfit_egmm.diagnostics.results import Results
from zfit_egmm.diagnostics.thresholds import Thresholds

NEEDED = ("bias", "classifier")


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
    findings = all_findings(results, thresholds, n_expected)
    decisive = [finding for finding in findings if finding.is_decisive]
    broken = [f"The diagnostic {name!r} ended with an error." for name in NEEDED if name in (failed or {})]
    states = {finding.status for finding in decisive}
    if "bad" in states:
        reasons = [finding.text for finding in decisive if finding.status == "bad"]
        if results.worst_regions:
            reasons.append(f"Look first at {results.worst_regions[0].description}.")
        return Verdict("bad", " ".join([f"Not good enough for {n_expected:g} expected events.", *reasons]), findings)
    reasons = [finding.text for finding in decisive]
    if "unclear" in states or broken or not states:
        reasons = [finding.text for finding in decisive if finding.status == "unclear"]
        start = f"The held-out events do not tell whether it is good enough for {n_expected:g} expected events."
        return Verdict("unclear", " ".join([start, *reasons, *broken]), findings)
    return Verdict("good", " ".join([f"Good enough for {n_expected:g} expected events.", *reasons]), findings)
