"""ScanProgress: the bar that is shown while a likelihood is scanned."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ScanProgress:
    """A bar that counts conditional fits; does nothing if not enabled.

    Args:
        title: What is scanned.
        is_enabled: Whether anything is shown.
    """

    def __init__(self, title: str, *, is_enabled: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("fits"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            disable=not is_enabled,
        )
        self._task = self._bar.add_task(title, total=0)
        self._n_planned = 0

    def plan(self, n: int) -> None:
        """Say that so many more fits will follow."""
        self._n_planned += n
        self._bar.update(self._task, total=self._n_planned)

    def advance(self) -> None:
        """One fit is done."""
        self._bar.advance(self._task)

    def __enter__(self) -> ScanProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
