"""Parameters that mean nothing where a signal is absent, such as its mass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import qmc

from zfit_egmm.inference.likelihood.loss import Likelihood

ABSENT = 1e-9
"""Size of a term, in units of the largest one, below which it is absent."""

N_STARTS = 5
"""Starts for each shape parameter of a signal that may be absent."""


def undefined_shapes(likelihood: Likelihood, parameter: str, value: float) -> tuple[str, ...]:
    """Free parameters that the likelihood does not depend on at a value of the tested parameter.

    They belong to the shape of terms whose coefficient vanishes there, such as a signal without events, and to nothing
    else.
    """
    with likelihood.restored():
        likelihood.set_values({parameter: value})
        sizes = [abs(float(part.coefficient())) for _, part in likelihood.flat]
    is_absent = [
        parameter in part.coefficient_parameters and size <= ABSENT * max(sizes)
        for size, (_, part) in zip(sizes, likelihood.flat, strict=True)
    ]
    absent: set[str] = set()
    defined = {one.name for constraint in likelihood.loss.constraints for one in constraint.get_params()}
    for gone, (_, part) in zip(is_absent, likelihood.flat, strict=True):
        if gone:
            absent |= part.shape_parameters | part.coefficient_parameters
        else:
            defined |= part.shape_parameters | part.coefficient_parameters
    return tuple(name for name in likelihood.names if name in absent - defined and name != parameter)


def undefined_at(
    likelihood: Likelihood, parameter: str, values: Sequence[float] | np.ndarray
) -> dict[float, tuple[str, ...]]:
    """:func:`undefined_shapes` of several values."""
    return {float(value): undefined_shapes(likelihood, parameter, float(value)) for value in values}


def starts_in(likelihood: Likelihood, names: Sequence[str]) -> tuple[dict[str, float], ...]:
    """Values of parameters spread over their limits, five for each.

    Raises:
        ValueError: If one of them has no limits, so that a search for it has no end.
    """
    if not names:
        return ()
    limits = np.array([likelihood.limits[name] for name in names])
    for name, (low, high) in zip(names, limits, strict=True):
        if not np.isfinite(high - low):
            raise ValueError(
                f"{name} has no finite limits, and without a signal every value is possible: set lower and upper "
                "limits, over which the test then searches"
            )
    unit = qmc.Halton(len(names), scramble=False).random(N_STARTS * len(names) + 1)[1:]
    return tuple(dict(zip(names, row.tolist(), strict=True)) for row in limits[:, 0] + unit * np.ptp(limits, axis=1))


def check_defined(undefined: Sequence[str], parameter: str, value: float) -> None:
    """Check that asymptotic formulae can be used.

    Raises:
        ValueError: If parameters are undefined at the tested value.
    """
    if undefined:
        names = ", ".join(undefined)
        raise ValueError(
            f"with {parameter} = {value:g} the likelihood does not depend on {names}, so that asymptotic formulae do "
            f'not hold: fix them (parameter.floating = False) for a local result, or use method="toys"'
        )
