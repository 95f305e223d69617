"""Numbers of diagnostics as JSON can hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def by_theta(result: Any, values: Mapping[str, np.ndarray], **others: Sequence[float] | np.ndarray) -> list[dict]:
    """One entry per theta of a result; arrays of shape ``(n_groups, n_theta)`` become dictionaries by parameter."""

    def by_name(row: np.ndarray) -> dict[str, float]:
        return dict(zip(result.theta_names, row, strict=True))

    return [
        {
            "theta": by_name(theta),
            **{name: by_name(value[number]) for name, value in values.items()},
            **{name: value[number] for name, value in others.items()},
        }
        for number, theta in enumerate(result.theta)
    ]
