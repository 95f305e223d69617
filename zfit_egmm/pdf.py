"""EGMM: a learned density as a zfit PDF; the only place that subclasses zfit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import zfit
from zfit import z
from zfit.core.space import supports
from zfit.exception import SpecificFunctionNotImplemented
from zfit.util.exception import CannotConvertToNumpyError, MultipleLimitsNotImplemented

from zfit_egmm.density.density import Density

SAME_LIMIT = 1e-9
"""Limits that differ by less than this share of the range count as equal."""


def box(density: Density, obs: Sequence[str] | None = None) -> zfit.Space:
    """The space on which a density is normalised.

    Args:
        density: The density.
        obs: Names of the observables in another order. Default: the order of the density.

    Returns:
        A space with the limits of the observables; a discrete one reaches half a unit beyond its
        lowest and highest integer.
    """
    limits = {observable.name: observable.limits for observable in density.observables}
    names = list(limits) if obs is None else list(obs)
    space = zfit.Space(names[0], *limits[names[0]])
    for name in names[1:]:
        space = space * zfit.Space(name, *limits[name])
    return space


class EGMM(zfit.pdf.BasePDF):
    """Learned density as a zfit PDF, normalised analytically over its own box.

    Args:
        density: A trained density.
        params: ``{"parameter name": zfit parameter}`` for every parameter of the density; plain
            numbers are taken as constants.
        obs: Space with the density's observables and limits, in any order, or just their names.
            Default: the density's own box.
        extended: Yield of the extended PDF: a zfit parameter or a number.
        norm: Space over which the PDF is normalised. Default: its box.
        name: Name of the PDF.
        label: Label for figures.

    Raises:
        TypeError: If ``density`` is not a density.
        ValueError: If ``params`` or ``obs`` do not match the density.

    Warns:
        UserWarning: Once per PDF, if it is evaluated with a parameter outside its trained range, and once if it
            enters a fit with a parameter that may leave it.
    """

    def __init__(
        self,
        density: Density,
        *,
        params: Mapping[str, Any] | None = None,
        obs: zfit.Space | Sequence[str] | str | None = None,
        extended: Any = None,
        norm: Any = None,
        name: str = "EGMM",
        label: str | None = None,
    ) -> None:
        if not hasattr(density, "log_prob_tensor"):
            raise TypeError(f"EGMM needs a Density, got {type(density).__name__}; train one or use Density.load(path)")
        self._density = density
        self._has_warned: set[str] = set()
        space = _checked_space(density, obs)
        own = [observable.name for observable in density.observables]
        self._to_density = [space.obs.index(name) for name in own]
        self._from_density = [own.index(name) for name in space.obs]
        parameters = _checked_params(density, params)
        super().__init__(obs=space, params=parameters, extended=extended, norm=norm, name=name, label=label)

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
        return super().sample(n, limits, x=x, params=params)

    def copy(self, **changes: Any) -> EGMM:
        """A PDF with the same density and parameters, except for what ``changes`` names.

        Args:
            changes: Arguments of :class:`EGMM`, or ``params`` as a mapping of those to replace.
        """
        params = {**dict(self.params), **changes.pop("params", {})}
        arguments: dict[str, Any] = {"obs": self.space, "norm": self.norm, "name": self.name, "label": self.label}
        if self.is_extended:
            params.pop("yield", None)
            arguments["extended"] = self.get_yield()
        if "yield" in changes:
            changes["extended"] = changes.pop("yield")
        return EGMM(changes.pop("density", self._density), params=params, **{**arguments, **changes})

    # The order of the columns of x is that of self.obs; the density has its own.

    @supports(norm=True)
    def _log_pdf(self, x: zfit.Data, norm: Any, params: Mapping[str, tf.Tensor]) -> tf.Tensor:
        events = x.value()
        if self._to_density != sorted(self._to_density):
            events = tf.gather(events, self._to_density, axis=1)
        value = self._density.log_prob_tensor(events, self._theta(params))
        if self._is_box(norm):
            return value
        return value - z.numpy.log(self.normalization(norm))

    @supports(norm="space")
    def _integrate(self, limits: zfit.Space, norm: Any, options: Any, params: Any = None) -> tf.Tensor:
        del norm, options, params
        if self._is_box(limits):
            return tf.ones((1,), tf.float64)
        raise SpecificFunctionNotImplemented

    @supports()
    def _sample(self, n: tf.Tensor, limits: zfit.Space, params: Mapping[str, tf.Tensor]) -> tf.Tensor:
        if not self._is_box(limits):
            raise SpecificFunctionNotImplemented
        uniform = z.random.uniform(shape=(n, len(self._to_density)), dtype=tf.float64)
        uniform = tf.ensure_shape(uniform, (None, len(self._to_density)))
        events = self._density.sample_tensor(uniform, self._theta(params))
        return tf.gather(events, self._from_density, axis=1)

    def _theta(self, params: Mapping[str, tf.Tensor]) -> tf.Tensor:
        values = [tf.cast(params[name], tf.float64) for name in self._density.theta_names]
        return tf.stack(values) if values else tf.zeros((0,), tf.float64)

    def _is_box(self, space: Any) -> bool:
        """Whether a space (or no norm at all) is the box over which the density is normalised."""
        if space is None or space is False or space is self.space:
            return True
        if not space.has_limits:
            return True
        try:
            (lower, upper), (own_lower, own_upper) = space.rect_limits_np, self.space.rect_limits_np
        except (CannotConvertToNumpyError, MultipleLimitsNotImplemented):
            # Limits that are tensors, as in binned PDFs, or several boxes.
            return False
        return _same_limits(lower, upper, own_lower, own_upper)

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


def _limits(parameter: Any) -> tuple[float, float]:
    """Values that a fit may give to a parameter; a fixed or composed one goes nowhere by itself."""
    if not getattr(parameter, "independent", False) or not getattr(parameter, "floating", False):
        return math.nan, math.nan
    if not parameter.has_limits:
        return -math.inf, math.inf
    return float(parameter.lower), float(parameter.upper)


def _allowed_range(parameter: Any) -> str:
    if not getattr(parameter, "independent", False) or not getattr(parameter, "floating", False):
        return ""
    low, high = _limits(parameter)
    return f" (parameter {parameter.name!r}, " + (
        "no limits)" if math.isinf(high - low) else f"limits [{low:g}, {high:g}])"
    )


def _checked_params(density: Density, params: Mapping[str, Any] | None) -> dict[str, Any]:
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


def _checked_space(density: Density, obs: Any) -> zfit.Space:
    own = [observable.name for observable in density.observables]
    if obs is None:
        return box(density)
    names = [obs] if isinstance(obs, str) else list(obs.obs if hasattr(obs, "obs") else obs)
    if sorted(names) != sorted(own):
        raise ValueError(
            f"the space has observables {names}, but the density describes {own}; give a space with exactly these, "
            "in any order, or leave obs out"
        )
    expected = box(density, names)
    if not hasattr(obs, "obs") or not obs.has_limits:
        return expected
    low, high = np.asarray(obs.v1.lower), np.asarray(obs.v1.upper)
    if obs.n_limits > 1 or not _same_limits(low, high, expected.v1.lower, expected.v1.upper):
        wanted = ", ".join(f"{o.name} [{o.limits[0]:g}, {o.limits[1]:g}]" for o in density.observables)
        got = ", ".join(f"{n} [{a:g}, {b:g}]" for n, a, b in zip(names, low, high, strict=True))
        raise ValueError(
            f"the limits of the space do not match the box of the density: got {got}; expected {wanted}. "
            "Leave obs out to use the density's own box"
        )
    return expected


def _same_limits(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> bool:
    tolerance = SAME_LIMIT * (np.asarray(other_high) - np.asarray(other_low))
    return bool(np.all(np.abs(low - other_low) <= tolerance) and np.all(np.abs(high - other_high) <= tolerance))
