"""What all PDFs of a learned density share: its parameters, and warnings about them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import zfit

from zfit_egmm.density.base import Density
from zfit_egmm.pdf.limits_in_graphs import allowed_range
from zfit_egmm.zfit_compat import start_generator


class DensityPDF(zfit.pdf.BasePDF):
    """A PDF with a density and its parameters; the density is set before anything else."""

    _density: Density
    _has_warned: set[str]
    _limits_of_samples: dict[zfit.Space, zfit.Space]

    @property
    def density(self) -> Density:
        """The learned density."""
        return self._density

    def pdf(self, x: Any, norm: Any = None, *, params: Any = None) -> tf.Tensor:
        """Probability density, see :meth:`zfit.pdf.BasePDF.pdf`."""
        self._warn_outside(params)
        return super().pdf(x, norm=norm, params=params)

    def log_pdf(self, x: Any, norm: Any = None, *, params: Any = None) -> tf.Tensor:
        """Log of the probability density, see :meth:`zfit.pdf.BasePDF.log_pdf`."""
        self._warn_outside(params)
        return super().log_pdf(x, norm=norm, params=params)

    def sample(self, n: Any = None, limits: Any = None, *, x: Any = None, params: Any = None) -> zfit.Data:
        """Draw events, see :meth:`zfit.pdf.BasePDF.sample`."""
        self._warn_outside(params)
        start_generator()
        return super().sample(n, limits, x=x, params=params)

    def _single_hook_sample(self, n: tf.Tensor, limits: zfit.Space, x: Any = None) -> tf.Tensor:
        # TensorFlow knows a graph by the limits of its first call, as long as they live, and zfit makes new ones.
        return super()._single_hook_sample(n, self._limits_of_samples.setdefault(limits, limits), x)

    def _theta(self, params: Mapping[str, tf.Tensor]) -> tf.Tensor:
        values = [tf.cast(params[name], tf.float64) for name in self._density.theta_names]
        return tf.stack(values) if values else tf.zeros((0,), tf.float64)

    def _warn_outside(self, params: Any) -> None:
        """Warn once of a value outside the trained range, and once of a fit that may go there.

        Inside a graph, as in a loss, values are unknown: there the limits of the parameters count.
        """
        kind = "value" if tf.executing_eagerly() else "limits"
        if kind in self._has_warned:
            return
        given = dict(params) if isinstance(params, Mapping) else {}
        for name, (low, high) in zip(self._density.theta_names, self._density.theta_range, strict=True):
            parameter = self.params[name]
            if kind == "value":
                value = float(given.get(parameter.name, given.get(name, parameter.value())))
                lowest, highest = value, value
                text = f"{name} = {value:g}{_allowed_range(parameter)} is outside"
            else:
                lowest, highest = _limits(parameter)
                text = f"a fit of {name}{_allowed_range(parameter)} may leave"
            margin = 1e-9 * (high - low)
            if not (lowest < low - margin or highest > high + margin):
                continue
            self._has_warned.add(kind)
            warnings.warn(
                f"{self.name}: {text} the range [{low:g}, {high:g}] in which it was trained; the density is an "
                "extrapolation there. Set the limits of the parameter to the trained range (said once)",
                stacklevel=3,
            )


def checked_params(density: Density, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """A zfit parameter for each parameter of the density.

    Raises:
        ValueError: If one is missing or unknown; the message shows what to write.
    """
    given = dict(params or {})
    names = density.theta_names
    unknown = [name for name in given if name not in names]
    missing = [name for name in names if name not in given]
    if unknown or missing:
        ranges = zip(names, density.theta_range, strict=True)
        example = ", ".join(
            f"{name!r}: zfit.Parameter({name!r}, {0.5 * (low + high):g}, {low:g}, {high:g})"
            for name, (low, high) in ranges
        )
        problem = f"unknown {unknown}" if unknown else f"missing {missing}"
        raise ValueError(
            f"params must give a zfit parameter for each of {list(names)}: {problem}. For example params={{{example}}}"
        )
    return {name: zfit.param.convert_to_parameter(given[name]) for name in names}


def _limits(parameter: Any) -> tuple[float, float]:
    """Values that a fit may give to a parameter; a fixed or composed one goes nowhere by itself."""
    if not getattr(parameter, "independent", False) or not getattr(parameter, "floating", False):
        return math.nan, math.nan
    return allowed_range(parameter)


def _allowed_range(parameter: Any) -> str:
    if not getattr(parameter, "independent", False) or not getattr(parameter, "floating", False):
        return ""
    low, high = _limits(parameter)
    return f" (parameter {parameter.name!r}, " + (
        "no limits)" if math.isinf(high - low) else f"limits [{low:g}, {high:g}])"
    )
