"""The report of an evaluation: a page that needs no other file, and the numbers as JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfit_egmm.archive import check_output_folder
from zfit_egmm.diagnostics.entry.content import Content
from zfit_egmm.diagnostics.entry.declaration import Entry
from zfit_egmm.diagnostics.report.entries import ENTRIES
from zfit_egmm.diagnostics.report.evaluation import Evaluation
from zfit_egmm.diagnostics.report.summary import provenance, summary
from zfit_egmm.diagnostics.report.thresholds import Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HTML, JSON = "evaluate.html", "evaluate.json"
SMALL_DPI, LARGE_DPI, MOST_PIXELS = 150, 110, 2400
"""Resolution of panels and of large figures, and most pixels along a side."""

REM_PER_INCH = 3.5  # least width of a large figure in a small window, in units of the size of letters; below it scrolls


def check_folder(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Make the folder of a report, before any work is done for it.

    Raises:
        FileExistsError: If it holds a report and ``overwrite`` is not set.
        OSError: If it is a file, or cannot be made.
    """
    return check_output_folder(folder, (HTML, JSON), overwrite=overwrite)


def write_report(
    evaluation: Evaluation, folder: str | Path, *, overwrite: bool = False, inputs: Mapping[str, Any] | None = None
) -> tuple[Path, Path]:
    """Write ``evaluate.html`` and ``evaluate.json``.

    Args:
        evaluation: Result of :func:`zfit_egmm.diagnostics.evaluate`.
        folder: Where to write; made if there is none.
        overwrite: Whether an earlier report may be replaced.
        inputs: More on where the events come from, for example files and cuts.

    Returns:
        Both paths.

    Raises:
        FileExistsError: If the folder is a file, or holds a report and ``overwrite`` is not set.
    """
    path = check_folder(folder, overwrite=overwrite)
    numbers, page = path / JSON, path / HTML
    numbers.write_text(json.dumps(summary(evaluation, inputs), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    page.write_text(html(evaluation, inputs), encoding="utf-8")
    return page, numbers


def html(evaluation: Evaluation, inputs: Mapping[str, Any] | None = None) -> str:
    """The page as a text; arguments as in :func:`write_report`."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("zfit_egmm.diagnostics.report", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["pm"] = lambda text: str(text).replace("+-", "±")
    origin = provenance(evaluation, inputs)
    limits, seconds, versions = (origin.pop(name) for name in ("thresholds", "seconds", "versions"))
    return environment.get_template("page.html.j2").render(
        verdict=evaluation.verdict,
        n_expected=f"{evaluation.n_expected:g}",
        findings=evaluation.verdict.findings,
        sections=[_section(entry, evaluation) for entry in ENTRIES],
        skipped=evaluation.skipped,
        failed=evaluation.failed,
        provenance={name.replace("_", " "): value for name, value in origin.items() if value not in (None, [])},
        versions=versions,
        thresholds=[(name, limits[name], Thresholds.meaning(name)) for name in Thresholds.names()],
        decisive=evaluation.thresholds.decisive,
        seconds=seconds,
    )


def _section(entry: Entry, evaluation: Evaluation) -> dict[str, Any]:
    """What the template needs of a section; figures that cannot be drawn are told, not raised."""
    name, result = entry.name, getattr(evaluation.results, entry.name)
    content, note = Content(), ""
    panels: list[str] = []
    figures: list[tuple[str, float]] = []
    if name in evaluation.failed:
        note = f"This diagnostic ended with an error: {evaluation.failed[name]}"
    elif name in evaluation.skipped:
        note = f"Skipped: {evaluation.skipped[name]}."
    elif result is None:
        note = "Not run."
    else:
        try:
            content = entry.content(result)
            panels = [_png(figure, SMALL_DPI) for figure in content.panels]
            figures = [(_png(f, LARGE_DPI), REM_PER_INCH * f.get_size_inches()[0]) for f in content.figures]
        except Exception as error:
            # The numbers are there in any case; a figure is not worth losing the page.
            note = f"This section could not be drawn: {type(error).__name__}: {error}"
    return {
        "name": name,
        "title": entry.title,
        "reading": entry.reading,
        "good": entry.good,
        "note": note,
        "panels": panels,
        "figures": figures,
        "tables": [table for table in content.tables if table.rows],
        "items": content.items,
        "findings": [f for f in evaluation.verdict.findings if f.diagnostic == name],
    }


def _png(figure: Figure, dpi: float) -> str:
    """A figure as the content of a page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(dpi, MOST_PIXELS / max(figure.get_size_inches())))
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
