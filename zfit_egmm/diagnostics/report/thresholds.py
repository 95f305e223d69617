"""Thresholds of an evaluation: which effects are small enough."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from zfit_egmm.diagnostics.report.entries import ENTRIES

KNOWN = {threshold.name: threshold for entry in ENTRIES for threshold in entry.thresholds}
DECISIVE = tuple(threshold.name for threshold in KNOWN.values() if threshold.is_decisive)


class Thresholds(Mapping[str, float | None]):
    """Largest effects, and smallest p-values, that are good enough, as attributes and by name.

    ``None`` means that a number is shown, but not judged. The verdict follows the thresholds named in ``decisive``;
    what the others say is shown beside it.

    Args:
        decisive: Names of thresholds. Default: ``theta_bias``, ``auc`` and ``visible``.
        **limits: Values of thresholds, such as ``auc=0.01``; the others have their defaults.

    Raises:
        ValueError: If there is no such threshold, or a value makes no sense.
    """

    decisive: tuple[str, ...]

    def __init__(self, *, decisive: Sequence[str] = DECISIVE, **limits: float | None) -> None:
        _check_known([*limits, *decisive])
        for name, value in limits.items():
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"threshold {name} must be a number from zero on, got {value!r}")
        vars(self).update({name: known.default for name, known in KNOWN.items()} | limits, decisive=tuple(decisive))

    def __getitem__(self, name: str) -> float | None:
        return vars(self)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(KNOWN)

    def __len__(self) -> int:
        return len(KNOWN)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no threshold {name!r}; there are {', '.join(KNOWN)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"thresholds do not change; make others: with_values({{{name!r}: {value!r}}})")

    def __repr__(self) -> str:
        return f"Thresholds({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    @staticmethod
    def names() -> tuple[str, ...]:
        """All thresholds."""
        return tuple(KNOWN)

    @staticmethod
    def meaning(name: str) -> str:
        """What a threshold limits, in words."""
        return KNOWN[name].meaning

    def with_values(self, values: Mapping[str, float]) -> Thresholds:
        """The same with other values, which become decisive.

        Raises:
            ValueError: If there is no such threshold, or a value makes no sense.
        """
        return Thresholds(decisive=tuple(dict.fromkeys([*self.decisive, *values])), **{**self, **values})


def _check_known(names: Iterable[str]) -> None:
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"there is no threshold {name!r}; there are {', '.join(KNOWN)}")
