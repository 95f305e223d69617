"""Progress of a training: a live bar in a terminal, an occasional line in a log file."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_INTERVAL = 20.0


class TrainingProgress:
    """Shows how far a training is; does nothing if not enabled.

    Args:
        is_enabled: Whether anything is shown.
        title: What is trained.
    """

    def __init__(self, *, is_enabled: bool, title: str) -> None:
        console = Console(stderr=True)
        self._is_live = is_enabled and console.is_terminal
        self._is_logged = is_enabled and not console.is_terminal
        self._console = console
        self._title = title
        self._last = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %  {task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not self._is_live,
        )
        self._task = self._bar.add_task(title, total=1.0, status="compiling")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, fraction: float, *, epoch: int, training: float, validation: float | None) -> None:
        """Show the state after some steps.

        Args:
            fraction: Part of the schedule that is done, 0 to 1.
            epoch: Current epoch, from one.
            training: Training loss, nats per event.
            validation: Validation loss, nats per event, once there is one.
        """
        shown = "" if validation is None else f"  validation {validation:.4f}"
        status = f"epoch {epoch}  loss: training {training:.4f}{shown}"
        if self._is_live:
            self._bar.update(self._task, completed=fraction, status=status)
        elif self._is_logged and time.monotonic() - self._last > LOG_INTERVAL:
            self._last = time.monotonic()
            self._console.print(f"{self._title}: {100 * fraction:.0f} %  {status}", highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        if self._is_live or self._is_logged:
            self._console.print(text, highlight=False, soft_wrap=True)
