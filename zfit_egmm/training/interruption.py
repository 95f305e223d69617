"""Ctrl-C between two steps: an interrupt never meets weights that are half updated."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The user interrupted, and the state is that after a whole step."""


class Interruption:
    """Holds back an interrupt until :meth:`check`; a second one is not held back.

    Outside of the main thread, where Python delivers no interrupts, it does nothing.
    """

    def __init__(self) -> None:
        self._asked = False
        self._earlier: Any = None

    def __enter__(self) -> Interruption:
        is_ours = threading.current_thread() is threading.main_thread()
        if is_ours and callable(signal.getsignal(signal.SIGINT)):
            self._earlier = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def check(self) -> None:
        """Raise :class:`Interrupted` if the user has interrupted since the beginning."""
        if self._asked:
            raise Interrupted

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        self._restore()

    def _restore(self) -> None:
        if self._earlier is not None:
            signal.signal(signal.SIGINT, self._earlier)
            self._earlier = None
