"""Thresholds of an evaluation: which effects are small enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

DECISIVE = ("theta_bias", "auc", "visible")


def _limit(default: float | None, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Thresholds:
    """Largest effects, and smallest p-values, that are good enough.

    ``None`` means that a number is shown, but not judged. The verdict follows the thresholds named in ``decisive``;
    what the others say is shown beside it.
    """

    theta_bias: float | None = _limit(0.3, "bias on a parameter over the statistical error of the measurement")
    auc: float | None = _limit(0.02, "area under the ROC curve of a classifier, minus 0.5")
    visible: float | None = _limit(
        2.0, "standard deviations at which the expected events would show the difference (without theta only)"
    )
    divergence: float | None = _limit(0.005, "Kullback-Leibler divergence of a spectrum above its baseline, nats")
    shift: float | None = _limit(0.05, "shift of a conditional factor in units of its width")
    width: float | None = _limit(0.05, "relative error of the width of a conditional factor")
    coverage: float | None = _limit(0.03, "observed minus nominal coverage of highest-density regions")
    auc_p_value: float | None = _limit(None, "smallest p-value of the classifier tests")
    energy_p_value: float | None = _limit(None, "smallest p-value of the energy test")
    calibration_p_value: float | None = _limit(None, "smallest p-value of the calibration")
    score_p_value: float | None = _limit(None, "smallest p-value of the mean scores")
    closure_p_value: float | None = _limit(None, "smallest p-value of the closure fits")
    decisive: tuple[str, ...] = DECISIVE

    def __post_init__(self) -> None:
        for name in self.names():
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"threshold {name} must be a number from zero on, got {value!r}")
        self._check_known(self.decisive)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All thresholds."""
        return tuple(entry.name for entry in fields(cls) if entry.name != "decisive")

    @classmethod
    def meaning(cls, name: str) -> str:
        """What a threshold limits, in words."""
        return next(entry.metadata["meaning"] for entry in fields(cls) if entry.name == name)

    def with_values(self, values: Mapping[str, float]) -> Thresholds:
        """The same with other values, which become decisive.

        Raises:
            ValueError: If there is no such threshold, or a value makes no sense.
        """
        self._check_known(values)
        changes: dict[str, Any] = {**values, "decisive": tuple(dict.fromkeys([*self.decisive, *values]))}
        return replace(self, **changes)

    @classmethod
    def _check_known(cls, names: Any) -> None:
        for name in names:
            if name not in cls.names():
                raise ValueError(f"there is no threshold {name!r}; there are {', '.join(cls.names())}")
