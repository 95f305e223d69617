"""What a section of the page shows: figures, tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: Its title.
        header: Names of the columns.
        rows: Cells as texts.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Content:
    """What a section shows.

    Args:
        panels: Small figures, side by side where there is room.
        figures: Large figures.
        tables: Tables; those without rows are left out.
        items: Sentences, as a list.
    """

    panels: Sequence[Figure] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    items: Sequence[str] = ()


def with_error(value: float, error: float, *, sign: str = "") -> str:
    """A value and its error with two digits of the error, such as ``0.0123 +- 0.0045``."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:{sign}.3g} +- {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:{sign}.{digits}f} +- {error:.{digits}f}"


def theta_text(theta: Sequence[float] | np.ndarray) -> str:
    """A point of theta, in parentheses if it has several parameters."""
    numbers = ", ".join(f"{value:.4g}" for value in theta)
    return f"({numbers})" if len(theta) > 1 else numbers
