"""Results as JSON can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Dataclasses and arrays as dictionaries and lists, numbers that are not finite as ``None``."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(without(value))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def without(value: Any, *names: str) -> dict[str, Any]:
    """Fields of a dataclass but for some."""
    return {entry.name: getattr(value, entry.name) for entry in fields(value) if entry.name not in names}
