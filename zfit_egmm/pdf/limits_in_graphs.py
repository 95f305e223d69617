"""Graphs that hold no limits of parameters, so that limits can change without tracing them again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_lifted: dict[int, tuple[float, float]] = {}


def allowed_range(parameter: Any) -> tuple[float, float]:
    """Limits of a zfit parameter, infinite where it has none; while they are lifted, those that it has otherwise."""
    if id(parameter) in _lifted:
        return _lifted[id(parameter)]
    if not parameter.has_limits:
        return -math.inf, math.inf
    low = -math.inf if parameter.lower is None else float(parameter.lower)
    high = math.inf if parameter.upper is None else float(parameter.upper)
    return low, high


@contextmanager
def lifted_limits(parameters: Iterable[Any]) -> Iterator[None]:
    """Take the limits of parameters away for as long as a graph is traced.

    zfit moves the value of a parameter into its limits whenever it is read, and a graph keeps the limits of the time
    when it was traced: the likelihood would be flat beyond them after they have been widened.

    Args:
        parameters: Independent zfit parameters.
    """
    own = [parameter for parameter in parameters if parameter.has_limits and id(parameter) not in _lifted]
    before = [allowed_range(parameter) for parameter in own]
    try:
        for parameter, limits in zip(own, before, strict=True):
            _lifted[id(parameter)] = limits
            parameter.lower = parameter.upper = None
        yield
    finally:
        for parameter, limits in zip(own, before, strict=True):
            del _lifted[id(parameter)]
            parameter.lower, parameter.upper = (limit if math.isfinite(limit) else None for limit in limits)
