"""EGMM: a learned density as a zfit PDF."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import zfit
from zfit import supports, z

from zfit_egmm.density.base import Density
from zfit_egmm.density.integral import Integral
from zfit_egmm.density.region import TOLERANCE
from zfit_egmm.pdf.base import DensityPDF, checked_params
from zfit_egmm.pdf.spaces import Limits, checked_space, limits_of, ranges_of, space_of_ranges, support_of
from zfit_egmm.zfit_compat import SerializableMixin, convert_to_container

MARGINAL_TOLERANCE = 10.0
"""Tolerance of marginals in units of that of integrals: every event needs all the points."""

POINTS_OF_BINS = 512
_NUMBER = itertools.count()


class EGMM(DensityPDF, SerializableMixin):
    """Learned density as a zfit PDF, normalised analytically over the density's own box.

    Integrals, marginals and samples in parts of the box use sequential importance sampling on a fixed sequence of
    points, smooth in the parameters; see :class:`zfit_egmm.density.region.Region`.

    Args:
        density: A trained density.
        params: ``{"parameter name": zfit parameter}`` for every parameter of the density; plain
            numbers are taken as constants.
        obs: Space with the density's observables, in any order, or just their names. Limits inside the density's
            box truncate it: the PDF is zero outside of them. Default: the density's own box.
        extended: Yield of the extended PDF: a zfit parameter or a number.
        norm: Space over which the PDF is normalised. Default: ``obs``.
        name: Name of the PDF.
        label: Label for figures.
        limits: Several spaces outside of which the PDF is zero, instead of the limits of ``obs``.
        tolerance: Relative error that integrals over parts of the box aim for.

    Raises:
        TypeError: If ``density`` is not a density.
        ValueError: If ``params``, ``obs`` or ``limits`` do not match the density.

    Warns:
        UserWarning: Once per PDF, if it is evaluated with a parameter outside its trained range, and once if it
            enters a fit with a parameter that may leave it.
    """

    def __init__(  # noqa: PLR0913 - the arguments of a zfit PDF
        self,
        density: Density,
        *,
        params: Mapping[str, Any] | None = None,
        obs: zfit.Space | Sequence[str] | str | None = None,
        extended: Any = None,
        norm: Any = None,
        name: str = "EGMM",
        label: str | None = None,
        limits: Any = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        if not isinstance(density, Density):
            raise TypeError(f"EGMM needs a Density, got {type(density).__name__}; train one or use Density.load(path)")
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance is a relative error between 0 and 1, got {tolerance!r}")
        self._density = density
        self._has_warned: set[str] = set()
        self._limits_of_samples: dict[zfit.Space, zfit.Space] = {}
        self._tolerance = tolerance
        space = checked_space(density, obs)
        spaces = [space] if limits is None else [_as_space(entry, space) for entry in convert_to_container(limits)]
        self._spaces = None if limits is None else tuple(spaces)
        self._support = support_of(density, spaces)
        own = [observable.name for observable in density.observables]
        self._to_density = [space.obs.index(name) for name in own]
        self._from_density = [own.index(name) for name in space.obs]
        parameters = checked_params(density, params)
        super().__init__(obs=space, params=parameters, extended=extended, norm=norm, name=name, label=label)

    @property
    def tolerance(self) -> float:
        """Relative error that integrals over parts of the box aim for."""
        return self._tolerance

    @property
    def truncation(self) -> tuple[zfit.Space, ...] | None:
        """Spaces outside of which the PDF is zero, if they are not simply its space."""
        return self._spaces

    def integral_with_error(self, limits: zfit.Space | None = None) -> Integral:
        """Probability of a part of the density's box at the current parameters, with its numerical error.

        Args:
            limits: The part. Default: the space of this PDF.

        Returns:
            Value, standard error of the integration and number of points; not normalised to the PDF's ``norm``.
        """
        parts = self._parts(limits_of(self._density, self.space if limits is None else limits))
        theta = np.array([float(self.params[name].value()) for name in self._density.theta_names])
        found = [self._region(part).integral(theta) for part in parts]
        return Integral(
            np.sum([one.value for one in found]),
            np.sqrt(np.sum([one.error**2 for one in found])),
            sum(one.n_points for one in found),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        spaces = {"obs": self.space, "norm": self.norm}
        ranges: dict[str, Any] = {name: ranges_of(space) for name, space in spaces.items()}
        if self._spaces is not None:
            ranges["limits"] = [ranges_of(space) for space in self._spaces]
        params = {name: _picklable(self.params[name]) for name in self._density.theta_names}
        others = {"name": self.name, "label": self.label, "tolerance": self._tolerance}
        if self.is_extended:
            others["extended"] = _picklable(self.get_yield())
        return _rebuilt, (self._density, params, ranges, others)

    def copy(self, **changes: Any) -> EGMM:
        """A PDF with the same density and parameters, except for what ``changes`` names.

        Args:
            changes: Arguments of :class:`EGMM`, or ``params`` as a mapping of those to replace.
        """
        params = {**dict(self.params), **changes.pop("params", {})}
        arguments: dict[str, Any] = {
            "obs": self.space,
            "norm": self.norm,
            "name": self.name,
            "label": self.label,
            "limits": self._spaces,
            "tolerance": self._tolerance,
        }
        if "obs" in changes:
            # Another space brings its own limits.
            arguments |= {"norm": None, "limits": None}
        if self.is_extended:
            params.pop("yield", None)
            arguments["extended"] = self.get_yield()
        if "yield" in changes:
            changes["extended"] = changes.pop("yield")
        return EGMM(changes.pop("density", self._density), params=params, **{**arguments, **changes})

    def to_truncated(
        self,
        limits: Any = None,
        *,
        obs: Any = None,
        extended: Any = None,
        norm: Any = None,
        name: str | None = None,
        label: str | None = None,
    ) -> EGMM:
        """The PDF restricted to one or several parts of its space, see :meth:`zfit.pdf.BasePDF.to_truncated`.

        Args:
            limits: A space or several that do not overlap. Default: ``obs``.
            obs: Space of the new PDF. Default: the space of this one.
            extended: ``True`` scales the yield to the fraction inside, a parameter or number is the new
                yield. Default: the yield of this PDF, if it has one.
            norm: Space over which the new PDF is normalised. Default: its own.
            name: Name of the new PDF.
            label: Label for figures.
        """
        space = self.space if obs is None else checked_space(self._density, obs)
        spaces = [_as_space(entry, space) for entry in convert_to_container(limits or space)]
        # What was cut off before stays so.
        parts = [part for limits in support_of(self._density, spaces) for part in self._parts(limits)]
        if not parts:
            raise ValueError(f"{self.name} is zero in all of the limits to truncate it to: {spaces}")
        arguments: dict[str, Any] = {"name": name or f"{self.name}_truncated", "label": label or self.label}
        if extended is True and self.is_extended:
            extended = self._scaled_yield(parts)
        if extended is not None:
            arguments["extended"] = extended
        return self.copy(obs=space, limits=[self._space_of(part) for part in parts], norm=norm, **arguments)

    def create_projection_pdf(
        self,
        *,
        limits: Any = None,
        obs: Any = None,
        options: Any = None,
        name: str | None = None,
        label: str | None = None,
        extended: Any = None,
        norm: Any = None,
    ) -> zfit.pdf.BasePDF:
        """The PDF of some of the observables, see :meth:`zfit.pdf.BasePDF.create_projection_pdf`.

        Exact if the kept observables come first in the density and the others are not cut, else averaged over
        points.

        Args:
            limits: Range of the observables that are integrated out.
            obs: Observables to keep, with or without limits.
            options: Not used.
            name: Name of the new PDF.
            label: Label for figures.
            extended: Yield of the new PDF. Default: that of this PDF, if it has one.
            norm: Space over which the new PDF is normalised. Default: its own.
        """
        from zfit_egmm.pdf.projected import ProjectedEGMM

        del options
        return ProjectedEGMM(self, obs=obs, limits=limits, extended=extended, norm=norm, name=name, label=label)

    # The order of the columns of x is that of self.obs; the density has its own.

    @supports(norm=True)
    def _log_pdf(self, x: zfit.Data, norm: Any, params: Mapping[str, tf.Tensor]) -> tf.Tensor:
        events = x.value()
        if self._to_density != sorted(self._to_density):
            events = tf.gather(events, self._to_density, axis=1)
        theta = self._theta(params)
        value = self._density.log_prob_tensor(events, theta)
        if not self._is_whole:
            is_inside = tf.reduce_any(tf.stack([part.contains(events) for part in self._support]), axis=0)
            value = tf.where(is_inside, value, tf.constant(-np.inf, tf.float64))
        if norm is False or norm is None or not norm.has_limits:
            return value
        parts = [part for space in norm for part in self._parts(limits_of(self._density, space))]
        if len(parts) == 1 and self._region(parts[0]).is_everything:
            return value
        return value - z.numpy.log(self._mass(parts, theta))

    @supports()
    def _integrate(self, limits: zfit.Space, norm: Any, options: Any, params: Any = None) -> tf.Tensor:
        del norm
        n_points = POINTS_OF_BINS if (options or {}).get("type") == "bins" else None
        parts = self._parts(limits_of(self._density, limits))
        return tf.reshape(self._mass(parts, self._theta(params), n_points), (1,))

    @supports()
    def _partial_integrate(
        self, x: zfit.Data, limits: zfit.Space, norm: Any, options: Any, params: Any = None
    ) -> tf.Tensor:
        del norm, options
        return self.marginal_tensor(x, limits_of(self._density, limits), self._theta(params))

    @supports()
    def _sample(self, n: tf.Tensor, limits: zfit.Space, params: Mapping[str, tf.Tensor]) -> tf.Tensor:
        parts, theta = self._parts(limits_of(self._density, limits)), self._theta(params)
        if not parts:
            raise ValueError(f"{self.name} is zero in all of the limits to sample in: {limits}")
        if len(parts) == 1:
            events = self._sample_part(parts[0], n, theta)
        else:
            masses = tf.stack([self._mass([part], theta) for part in parts])
            counts = z.random.counts_multinomial(n, probs=masses / tf.reduce_sum(masses))
            counts = tf.unstack(tf.reshape(counts, (len(parts),)))
            drawn = [self._sample_part(part, count, theta) for part, count in zip(parts, counts, strict=True)]
            events = tf.concat(drawn, axis=0)
        return tf.gather(events, self._from_density, axis=1)

    def marginal_tensor(self, x: zfit.Data, limits: Limits, theta: tf.Tensor) -> tf.Tensor:
        """Density of the observables of ``x``, the others integrated over the limits, not normalised to them.

        Args:
            x: Events with some of the observables.
            limits: Of all observables; those of ``x`` do not matter.
            theta: Float64, shape ``(n_theta,)``.

        Returns:
            Float64, shape ``(n_events,)``.
        """
        names = [observable.name for observable in self._density.observables]
        given = tuple(axis for axis, name in enumerate(names) if name in x.obs)
        columns = tf.gather(x.value(), [list(x.obs).index(names[axis]) for axis in given], axis=1)
        total = tf.zeros_like(columns[:, 0])
        for part in self._support:
            overlap = part.overlap(_with_columns_of(limits, part, given))
            if overlap is None:
                continue
            region = self._density.region(
                overlap.low, overlap.high, given=given, tolerance=min(0.5, MARGINAL_TOLERANCE * self._tolerance)
            )
            is_inside = Limits(part.low[list(given)], part.high[list(given)]).contains(columns)
            total += tf.where(is_inside, region.marginal(columns, theta), tf.zeros_like(total))
        return total

    @property
    def _is_whole(self) -> bool:
        """Whether nothing of the density's box is cut off."""
        return len(self._support) == 1 and self._region(self._support[0]).is_everything

    def _parts(self, limits: Limits) -> list[Limits]:
        """Where the PDF is not zero inside some limits."""
        overlaps = [part.overlap(limits) for part in self._support]
        return [overlap for overlap in overlaps if overlap is not None]

    def _region(self, part: Limits, n_points: int | None = None) -> Any:
        return self._density.region(part.low, part.high, tolerance=self._tolerance, n_points=n_points)

    def _mass(self, parts: Sequence[Limits], theta: tf.Tensor, n_points: int | None = None) -> tf.Tensor:
        if not parts:
            return tf.zeros((), tf.float64)
        return tf.add_n([self._region(part, n_points).mass(theta) for part in parts])

    def _sample_part(self, part: Limits, n: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        return self._region(part).sample(n, theta, lambda shape: z.random.uniform(shape=shape, dtype=tf.float64))

    def _space_of(self, part: Limits) -> zfit.Space:
        """Limits as a space, in the order of this PDF."""
        names = [observable.name for observable in self._density.observables]
        ranges = {name: (float(a), float(b)) for name, a, b in zip(names, part.low, part.high, strict=True)}
        return space_of_ranges({name: ranges[name] for name in self.obs})

    def _scaled_yield(self, parts: Sequence[Limits]) -> Any:
        """The yield times the fraction of the PDF that is inside some of its parts."""

        def scaled(params: Mapping[str, tf.Tensor]) -> tf.Tensor:
            theta = self._theta(params)
            whole = self._parts(limits_of(self._density, self.norm))
            return params["total"] * self._mass(parts, theta) / self._mass(whole, theta)

        depends_on = {name: self.params[name] for name in self._density.theta_names} | {"total": self.get_yield()}
        name = f"{self.get_yield().name}_truncated_{next(_NUMBER)}"
        return zfit.param.ComposedParameter(name, scaled, params=depends_on)


def _as_space(limits: Any, space: zfit.Space) -> zfit.Space:
    """Limits as a space; bare numbers are those of the PDF's only observable."""
    return limits if hasattr(limits, "obs") else space.with_limits(limits)


def _with_columns_of(limits: Limits, part: Limits, given: tuple[int, ...]) -> Limits:
    """Limits that leave the given axes to a part of the support."""
    is_given = np.isin(np.arange(len(part.low)), given)
    if limits.is_symbolic:
        return Limits(tf.where(is_given, part.low, limits.low), tf.where(is_given, part.high, limits.high))
    return Limits(np.where(is_given, part.low, limits.low), np.where(is_given, part.high, limits.high))


def _picklable(parameter: Any) -> Any:
    """A constant as a number; parameters that float keep their identity."""
    is_constant = isinstance(parameter, zfit.param.ConstantParameter)
    return float(parameter.value()) if is_constant else parameter


def _rebuilt(density: Density, params: dict[str, Any], ranges: dict[str, Any], others: dict[str, Any]) -> EGMM:
    limits = ranges.pop("limits", None)
    spaces = {name: space_of_ranges(one) for name, one in ranges.items()}
    if limits is not None:
        others["limits"] = [space_of_ranges(one) for one in limits]
    return EGMM(density, params=params, **spaces, **others)
