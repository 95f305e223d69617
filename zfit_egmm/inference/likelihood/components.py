"""The terms of an unbinned likelihood: a model is a sum of coefficients times densities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import zfit

from zfit_egmm.zfit_compat import has_yield_of_its_terms


@dataclass(frozen=True, eq=False)
class Component:
    """One term of a model: a coefficient, such as a yield or a fraction, times a normalised density.

    Args:
        pdf: The zfit PDF.
        coefficient: Its coefficient, at the current parameters.
        shape_parameters: Names of the independent parameters that the density depends on.
        coefficient_parameters: Names of those that the coefficient depends on.
    """

    pdf: Any
    coefficient: Callable[[], tf.Tensor]
    shape_parameters: frozenset[str]
    coefficient_parameters: frozenset[str]

    def density(self, data: zfit.Data) -> tf.Tensor:
        """Normalised density of events, shape ``(n_events,)``."""
        return self.pdf.pdf(data)


def components_of(model: Any) -> list[Component]:
    """Split a zfit PDF into its terms.

    A sum is split if all its terms are normalised over the same space as itself; anything else is one term. The
    coefficients of an extended model are numbers of events.
    """
    if isinstance(model, zfit.pdf.SumPDF) and all(pdf.norm == model.norm for pdf in model.pdfs):
        factors = [[fraction] for fraction in model.fracs]
        if model.is_extended and has_yield_of_its_terms(model):
            factors = [[pdf.get_yield()] for pdf in model.pdfs]
        elif model.is_extended:
            factors = [[model.get_yield(), *fraction] for fraction in factors]
        pairs = zip(model.pdfs, factors, strict=True)
    else:
        pairs = zip([model], [[model.get_yield()] if model.is_extended else []], strict=True)
    return [
        Component(
            pdf=pdf,
            coefficient=_product(parts),
            shape_parameters=names_of(pdf.get_params(floating=None, is_yield=False)),
            coefficient_parameters=frozenset().union(*(independent_names(part) for part in parts)),
        )
        for pdf, parts in pairs
    ]


def traced_density(part: Component, model: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph of the density of one term of a model, for events of shape ``(n_events, n_observables)``."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, len(model.obs)], tf.float64)])
    def density(x: tf.Tensor) -> tf.Tensor:
        return part.density(zfit.Data.from_tensor(obs=model.space, tensor=x, guarantee_limits=True))

    return density


def names_of(parameters: Any) -> frozenset[str]:
    """Names of parameters."""
    return frozenset(parameter.name for parameter in parameters)


def independent_names(parameter: Any) -> frozenset[str]:
    """Names of the independent parameters that a parameter is made of, itself included."""
    if parameter.independent:
        return frozenset([parameter.name])
    return names_of(parameter.get_params(floating=None))


def _product(factors: Sequence[Any]) -> Callable[[], tf.Tensor]:
    def coefficient() -> tf.Tensor:
        value = tf.ones((), tf.float64)
        for factor in factors:
            value *= tf.convert_to_tensor(factor.value(), tf.float64)
        return value

    return coefficient
