"""Entry: all that the report has to know of one diagnostic, in one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from zfit_egmm.density.base import Density
from zfit_egmm.diagnostics.entry.content import Content
from zfit_egmm.diagnostics.entry.findings import Finding, Judge, Threshold
from zfit_egmm.diagnostics.samples import Progress, subsample
from zfit_egmm.events.sample import EventSample

EVENTS_PER_THETA = 500  # least events at each theta, on average, to compare spectra of different theta


@dataclass(frozen=True, eq=False)
class Task:
    """What a diagnostic starts from.

    Args:
        density: The density.
        sample: Held-out events.
        n_expected: Number of events of the measurement.
        seed: Seed of everything random.
        found: Results of the diagnostics before, by name; without those that were skipped or failed.
        progress: To be called with the fraction that is done.
    """

    density: Density
    sample: EventSample
    n_expected: float
    seed: int
    found: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = None

    def events(self, most: int) -> EventSample:
        """At most so many events."""
        return subsample(self.sample, most, seed=self.seed)

    @property
    def theta_points(self) -> np.ndarray:
        """Different values of theta, shape ``(n_points, n_theta)``."""
        return np.unique(self.sample.theta, axis=0)


class Entry(ABC):
    """One diagnostic: when it applies, how it is run and judged, and what is shown of it.

    The list of all is :data:`zfit_egmm.diagnostics.report.entries.ENTRIES`. A subclass says in its attributes:

    - ``name``: field of the results, and of its section of the page;
    - ``title``: of its section, and of the progress;
    - ``reading``, ``good``: how to read its figures, and what they look like for a right density;
    - ``cost``: rough share of the time;
    - ``needs``, ``uses``: names of diagnostics whose results it cannot do without, or takes if there are any;
    - ``is_essential``: whether there is no verdict without it, if it ends with an error;
    - ``thresholds``: what its findings are judged by;
    - ``keys``: of its numbers in ``evaluate.json``.
    """

    name: str
    title: str
    reading: str
    good: str
    cost: float = 1.0
    needs: ClassVar[tuple[str, ...]] = ()
    uses: ClassVar[tuple[str, ...]] = ()
    is_essential: bool = False
    thresholds: ClassVar[tuple[Threshold, ...]] = ()
    keys: tuple[str, ...] = ()

    def why_not(self, task: Task) -> str | None:
        """A reason to skip it, or ``None``."""
        missing = [name for name in self.needs if name not in task.found]
        return f"it needs the result of {missing[0]!r}, which there is none of" if missing else None

    @abstractmethod
    def run(self, task: Task) -> Any:
        """Compute the result."""

    def findings(self, result: Any, judge: Judge) -> Sequence[Finding]:
        """What the result says in words; nothing by default."""
        del result, judge
        return ()

    def numbers(self, result: Any) -> Sequence[Any]:
        """Values of the ``keys``: dataclasses, arrays, dictionaries and lists of these."""
        del result
        return ()

    @abstractmethod
    def content(self, result: Any) -> Content:
        """What its section shows."""


class ThetaEntry(Entry):
    """A diagnostic of the dependence on theta."""

    def why_not(self, task: Task) -> str | None:
        """Skipped without theta."""
        return super().why_not(task) if task.sample.theta_names else "the density has no parameters"


class GridEntry(ThetaEntry):
    """A diagnostic that compares events of different theta, and needs many at each."""

    def why_not(self, task: Task) -> str | None:
        """Skipped if theta has one value, or too many."""
        reason = super().why_not(task)
        if reason is not None:
            return reason
        n_points, n_events = len(task.theta_points), len(task.sample)
        if n_points == 1:
            return "all events are at the same theta"
        if n_points * EVENTS_PER_THETA > n_events:
            return f"it needs {EVENTS_PER_THETA} events at each of a few theta; here {n_events} have {n_points}"
        return None
