"""Projections of sums and products of PDFs onto some of their observables."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import zfit

from zfit_egmm.pdf.projected import divided, joined

_NUMBER = itertools.count()


def project(
    pdf: zfit.pdf.BasePDF,
    *,
    obs: Any = None,
    limits: Any = None,
    extended: Any = None,
    name: str | None = None,
    label: str | None = None,
) -> zfit.pdf.BasePDF:
    """The PDF of some of the observables of a PDF; of a sum or a product, by the projections of its components.

    zfit's own ``create_projection_pdf`` of a sum or a product normalises by numeric integration: many times slower,
    and wrong without a word where a peak is narrow. Components other than learned densities are projected by zfit.

    Args:
        pdf: A learned density, or a ``SumPDF`` or ``ProductPDF`` of any depth.
        obs: Observables to keep, with or without limits.
        limits: Range of the observables that are integrated out, with or without limits. One of ``obs`` and
            ``limits`` is enough. A window changes the fractions of a sum: to those inside.
        extended: Yield. Default: that of ``pdf``, if it has one.
        name: Name of the new PDF.
        label: Label for figures.

    Raises:
        ValueError: If observables are unknown, kept and integrated, or neither, or if ``pdf`` is a truncated sum
            or product.
    """
    if isinstance(pdf, zfit.pdf.TruncatedPDF):
        raise ValueError(
            f"{pdf.name} truncates {pdf.pdfs[0].name}, whose projection would be integrated numerically; truncate the "
            "components instead: zfit.pdf.SumPDF([one.to_truncated(window, extended=True) for one in pdfs])"
        )
    kept, integrated = divided(pdf, obs, limits)
    if extended in (None, True):
        extended = pdf.get_yield() if pdf.is_extended else False
    words = {"name": name or f"{pdf.name}_projected_on_{'_'.join(kept.obs)}", "label": label}
    if isinstance(pdf, zfit.pdf.SumPDF):
        return _of_sum(pdf, kept, integrated, extended=extended, **words)
    if isinstance(pdf, zfit.pdf.ProductPDF) and sum(part.n_obs for part in pdf.pdfs) == pdf.n_obs:
        return _of_product(pdf, kept, integrated, extended=extended, **words)
    return pdf.create_projection_pdf(obs=kept, limits=integrated, extended=extended, **words)


def _of_sum(total: Any, kept: zfit.Space, integrated: zfit.Space, **words: Any) -> zfit.pdf.BasePDF:
    parts = [project(part, obs=kept, limits=integrated, extended=False) for part in total.pdfs]
    window, fractions = joined(total, kept, integrated), list(total.fracs)
    if any(part.norm != window for part in total.pdfs):
        fractions = _fractions_inside(total, window)
    with warnings.catch_warnings():
        # One fraction for each component is meant; a last one that is what the others leave could not be negative.
        warnings.filterwarnings("ignore", "The behavior of this functionality recently changed")
        return zfit.pdf.SumPDF(parts, fracs=fractions, obs=kept, **words)


def _of_product(product: Any, kept: zfit.Space, integrated: zfit.Space, **words: Any) -> zfit.pdf.BasePDF:
    """The product of what is left of the factors; a factor that is integrated out is a constant."""
    factors = [part for part in product.pdfs if set(part.obs) & set(kept.obs)]
    if len(factors) == 1:
        # zfit has no products of one.
        return _of_factor(factors[0], kept, integrated, **words)
    del words["label"]
    factors = [_of_factor(part, kept, integrated, extended=False) for part in factors]
    return zfit.pdf.ProductPDF(factors, obs=kept, **words)


def _of_factor(part: Any, kept: zfit.Space, integrated: zfit.Space, **words: Any) -> zfit.pdf.BasePDF:
    names = [[name for name in space.obs if name in part.obs] for space in (kept, integrated)]
    if names[1]:
        return project(part, obs=kept.with_obs(names[0]), limits=integrated.with_obs(names[1]), **words)
    if words["extended"] is False:
        return part
    return part.create_extended(words["extended"], name=words["name"])


def _fractions_inside(total: Any, window: zfit.Space) -> list[Any]:
    """Fractions of the components of a sum among the events in a window."""

    def inside(number: int) -> tf.Tensor:
        masses = [
            fraction * tf.reshape(part.integrate(window), ())
            for fraction, part in zip(total.fracs, total.pdfs, strict=True)
        ]
        return masses[number] / tf.add_n(masses)

    depends_on = {parameter.name: parameter for parameter in total.get_params(floating=None)}

    def composed(number: int) -> Any:
        def fraction(params: Mapping[str, tf.Tensor]) -> tf.Tensor:
            del params  # The PDFs know their parameters.
            return inside(number)

        return zfit.param.ComposedParameter(f"fraction_inside_{next(_NUMBER)}", fraction, params=depends_on)

    return [composed(number) for number in range(len(total.pdfs))]
