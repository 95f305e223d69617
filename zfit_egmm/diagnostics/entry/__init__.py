"""What a diagnostic says of itself for the report: an :class:`Entry`, with findings, content, figures and numbers."""

from zfit_egmm.diagnostics.entry import figures
from zfit_egmm.diagnostics.entry.content import Content, Table, theta_text, with_error
from zfit_egmm.diagnostics.entry.declaration import Entry, GridEntry, Task, ThetaEntry
from zfit_egmm.diagnostics.entry.findings import Finding, Judge, Threshold
from zfit_egmm.diagnostics.entry.json_numbers import by_theta
from zfit_egmm.plain import without

__all__ = [
    "Content",
    "Entry",
    "Finding",
    "GridEntry",
    "Judge",
    "Table",
    "Task",
    "ThetaEntry",
    "Threshold",
    "by_theta",
    "figures",
    "theta_text",
    "with_error",
    "without",
]
