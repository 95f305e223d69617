"""ProjectedEGMM: a learned density of some of its observables, the others integrated out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import zfit
from zfit import convert_to_space, supports

from zfit_egmm.pdf.base import DensityPDF
from zfit_egmm.pdf.egmm import EGMM
from zfit_egmm.pdf.spaces import limits_of


class ProjectedEGMM(DensityPDF):
    """Marginal of an :class:`EGMM`, with the same parameters.

    Args:
        pdf: The PDF to project.
        obs: Observables to keep, with or without limits.
        limits: Range of the observables that are integrated out, with or without limits. One of ``obs`` and
            ``limits`` is enough.
        extended: Yield. Default: that of ``pdf``, if it has one.
        norm: Space over which the PDF is normalised. Default: its own.
        name: Name of the PDF.
        label: Label for figures.

    Raises:
        ValueError: If observables are unknown, kept and integrated, or neither.
    """

    def __init__(
        self,
        pdf: EGMM,
        *,
        obs: Any = None,
        limits: Any = None,
        extended: Any = None,
        norm: Any = None,
        name: str | None = None,
        label: str | None = None,
    ) -> None:
        kept, integrated = divided(pdf, obs, limits)
        self._density = pdf.density
        self._has_warned: set[str] = set()
        self._limits_of_samples: dict[zfit.Space, zfit.Space] = {}
        self._source = pdf
        self._integrated = integrated
        if extended in (None, True):
            extended = pdf.get_yield() if pdf.is_extended else None
        params = {name: pdf.params[name] for name in pdf.density.theta_names}
        name = name or f"{pdf.name}_projected_on_{'_'.join(kept.obs)}"
        super().__init__(obs=kept, params=params, extended=extended, norm=norm, name=name, label=label)

    def copy(self, **changes: Any) -> ProjectedEGMM:
        """A projection with the same limits, except for what ``changes`` names.

        Args:
            changes: Arguments of :class:`ProjectedEGMM`, ``params`` to replace, or ``yield``.
        """
        if "yield" in changes:
            changes["extended"] = changes.pop("yield")
        pdf = self._source.copy(params=changes.pop("params")) if "params" in changes else self._source
        arguments: dict[str, Any] = {
            "obs": self.space,
            "limits": self._integrated,
            "norm": self.norm,
            "name": self.name,
            "label": self.label,
            "extended": self.get_yield() if self.is_extended else False,
        }
        return ProjectedEGMM(pdf, **{**arguments, **changes})

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
    ) -> ProjectedEGMM:
        """The PDF of fewer of the observables, see :meth:`EGMM.create_projection_pdf`."""
        del options
        kept, integrated = divided(self, obs, limits)
        if extended in (None, True):
            extended = self.get_yield() if self.is_extended else False
        integrated = integrated * self._integrated
        return ProjectedEGMM(
            self._source, obs=kept, limits=integrated, extended=extended, norm=norm, name=name, label=label
        )

    @supports()
    def _unnormalized_pdf(self, x: zfit.Data, params: Mapping[str, tf.Tensor]) -> tf.Tensor:
        limits = limits_of(self._density, self._integrated)
        return self._source.marginal_tensor(x, limits, self._theta(params))

    @supports()
    def _integrate(self, limits: zfit.Space, norm: Any, options: Any, params: Any = None) -> tf.Tensor:
        del norm, params
        return self._source.integrate(joined(self._source, limits, self._integrated), norm=False, options=options)

    @supports()
    def _partial_integrate(
        self, x: zfit.Data, limits: zfit.Space, norm: Any, options: Any, params: Any = None
    ) -> tf.Tensor:
        del norm, options
        both = limits_of(self._density, limits, self._integrated)
        return self._source.marginal_tensor(x, both, self._theta(params))

    @supports()
    def _sample(self, n: tf.Tensor, limits: zfit.Space, params: Any = None) -> tf.Tensor:
        del params
        events = self._source.sample(n, joined(self._source, limits, self._integrated)).value()
        return tf.gather(events, [self._source.obs.index(name) for name in self.obs], axis=1)


def divided(pdf: zfit.pdf.BasePDF, obs: Any, limits: Any) -> tuple[zfit.Space, zfit.Space]:
    """Spaces that are kept and integrated out, both with limits.

    Raises:
        ValueError: If observables are unknown, kept and integrated, or neither.
    """
    if obs is None and limits is None:
        raise ValueError("give obs, the observables to keep, or limits, the range of those to integrate out")
    spaces = {"obs": obs, "limits": limits}
    for key, other in (("obs", "limits"), ("limits", "obs")):
        space = spaces[key]
        if space is None:
            taken = convert_to_space(spaces[other]).obs
            space = [name for name in pdf.obs if name not in taken]
            if not space:
                raise ValueError(f"{other} has all of the observables {list(pdf.obs)}: nothing is left for {key}")
        space = convert_to_space(space)
        unknown = [name for name in space.obs if name not in pdf.obs]
        if unknown:
            raise ValueError(f"{pdf.name} has the observables {list(pdf.obs)}, not {unknown}")
        spaces[key] = space if space.has_limits else pdf.space.with_obs(list(space.obs))
    both = [*spaces["obs"].obs, *spaces["limits"].obs]
    if sorted(both) != sorted(pdf.obs):
        raise ValueError(
            f"obs {list(spaces['obs'].obs)} and limits {list(spaces['limits'].obs)} must together name each of "
            f"{list(pdf.obs)} once"
        )
    return spaces["obs"], spaces["limits"]


def joined(pdf: zfit.pdf.BasePDF, kept: zfit.Space, integrated: zfit.Space) -> zfit.Space:
    """The space of both, in the order of the PDF."""
    return (kept.with_binning(None) * integrated).with_obs(pdf.obs)
