"""UpperLimit: that of hepstats, with limits that are numbers whatever the version of numpy."""

from __future__ import annotations

import numpy as np
from hepstats.hypotests import UpperLimit as HepstatsUpperLimit
from hepstats.hypotests.exceptions import POIRangeError
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from zfit_egmm.inference.scans.crossing import PRECISION

BANDS = ("expected", "expected_p1", "expected_m1", "expected_p2", "expected_m2")


class UpperLimit(HepstatsUpperLimit):
    """Upper limit on a parameter; same arguments as in hepstats.

    In hepstats 0.10.1 all limits are ``None`` with numpy 2.4 or later.
    """

    def upperlimit(self, alpha: float = 0.05, CLs: bool = True, printlevel: int = 0) -> dict[str, float | None]:  # noqa: N803
        """Upper limits: observed, expected, and the bands of one and two standard deviations.

        Args:
            alpha: One minus the confidence level.
            CLs: Whether to use CLs rather than CLs+b.
            printlevel: Not used; as in hepstats, nothing is printed.

        Returns:
            Limits by the names ``observed``, ``expected``, ``expected_p1``, ``expected_m1``, ``expected_p2`` and
            ``expected_m2``; ``None`` for a band that the scan does not reach.

        Raises:
            POIRangeError: If the scan does not reach the observed or the median expected limit.
        """
        del printlevel
        values = np.asarray(self.poinull.values, dtype=float)
        best = float(self.calculator.bestfit.params[self.poinull.parameter]["value"])
        p_values = self.pvalues(CLs)
        observed = p_values["cls" if CLs else "clsb"]
        limits: dict[str, float | None] = {"observed": _crossing(values, observed, alpha, values >= best)}
        for name in BANDS:
            limits[name] = _crossing(values, p_values[name], alpha, np.full(len(values), True))
        for name in ("observed", "expected"):
            if limits[name] is None:
                raise POIRangeError(
                    f"the {name} limit is not among the scanned values of {self.poinull.name}, "
                    f"{values.min():g} to {values.max():g}: scan more values, from the best fit {best:g} upwards"
                )
        return limits


def _crossing(values: np.ndarray, p_values: np.ndarray, alpha: float, selected: np.ndarray) -> float | None:
    """Where p-values fall below alpha, by shape-preserving interpolation of their logarithms."""
    order = np.argsort(values[selected])
    at = values[selected][order]
    logs = np.log(np.maximum(np.asarray(p_values, dtype=float)[selected][order], 1e-300)) - np.log(alpha)
    below = np.flatnonzero((logs[1:] <= 0) & (logs[:-1] > 0))
    if not len(below):
        return None
    low, high = at[below[0]], at[below[0] + 1]
    return float(brentq(PchipInterpolator(at, logs), low, high, xtol=PRECISION * (high - low)))
