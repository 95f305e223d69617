"""Every private or fragile thing of zfit and hepstats that the package relies on, in one place.

Where a silent change of zfit or hepstats would falsify results, a check at first use fails loudly instead.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
import zfit
from zfit.core.constraint import TFProbabilityConstraint
from zfit.core.serialmixin import SerializableMixin
from zfit.serialization import Serializer
from zfit.serialization.pdfrepr import BasePDFRepr
from zfit.util.container import convert_to_container
from zfit.util.exception import CannotConvertToNumpyError

__all__ = [
    "BasePDFRepr",
    "CannotConvertToNumpyError",
    "IncompatibleVersionError",
    "SerializableMixin",
    "Serializer",
    "check_asimov_is_used",
    "convert_to_container",
    "has_observation",
    "has_yield_of_its_terms",
    "observation_of",
    "parameters_of",
    "seeded",
    "start_generator",
    "with_variable_observation",
]


class IncompatibleVersionError(RuntimeError):
    """A version of zfit or hepstats with which results would be wrong."""


# Random numbers


def start_generator() -> None:
    """Create zfit's generator now: one that is created while a graph is traced makes TensorFlow trace it twice."""
    zfit.z.random.get_prng()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of zfit from a seed; afterwards its generator goes on as if nothing had happened.

    Not ``zfit.settings.set_seed``, which throws compiled graphs away.
    """
    _check_generator()
    generator = zfit.z.random.get_prng()
    before = generator.state.numpy()
    generator.reset_from_seed(seed)
    try:
        yield
    finally:
        generator.reset(before)


@cache
def _check_generator() -> None:
    generator = zfit.z.random.get_prng()
    before = generator.state.numpy()
    try:
        draws = []
        for _ in range(2):
            generator.reset_from_seed(1)
            draws.append(zfit.z.random.uniform(shape=(4,), dtype=tf.float64).numpy())
    finally:
        generator.reset(before)
    if not np.array_equal(*draws):
        raise IncompatibleVersionError(
            f"zfit {zfit.__version__} draws random numbers from another generator than zfit.z.random.get_prng(): toys "
            "would not follow their seeds. Use a version of zfit that pyproject.toml allows"
        )


# Constraints: if their observation did not reach the likelihood, auxiliary measurements would not fluctuate in toys.


def has_observation(constraint: Any) -> bool:
    """Whether a constraint is a measurement, and no mere function of parameters."""
    return isinstance(constraint, TFProbabilityConstraint)


def observation_of(constraint: Any) -> list[float]:
    """Observation of a constraint; zfit may keep it as numbers or as parameters."""
    values = np.ravel(np.asarray(constraint.observation, object))
    return [float(tf.convert_to_tensor(value, tf.float64)) for value in values]


def parameters_of(constraint: Any) -> list[Any]:
    """Parameters that a constraint measures, in the order of its observation."""
    return list(constraint._ordered_params)


def with_variable_observation(constraint: Any) -> tuple[Any, list[tf.Variable]]:
    """A copy of a constraint whose observation is made of variables of the graph, and these.

    Raises:
        IncompatibleVersionError: If the value of the copy does not follow its observation.
    """
    result = copy.copy(constraint)
    variables = [tf.Variable(value, dtype=tf.float64, trainable=False) for value in observation_of(constraint)]
    result._observation = tuple(variables)
    if isinstance(constraint, zfit.constraint.PoissonConstraint):
        # It keeps its observation in a second place.
        result.dist_params = {"rate": result._observation}
    _check_follows(result, variables)
    return result, variables


def _check_follows(constraint: Any, variables: list[tf.Variable]) -> None:
    for variable in variables:
        before, at = float(constraint.value()), float(variable.numpy())
        moves = []
        for factor in (1.1, 0.9):
            variable.assign(at * factor + (factor - 1) * 0.1)
            moves.append(float(constraint.value()) - before)
        variable.assign(at)
        # The value may be stationary, but then not on both sides, and it has to come back.
        if max(map(abs, moves)) == 0 or float(constraint.value()) != before:
            raise IncompatibleVersionError(
                f"with zfit {zfit.__version__} the value of a {type(constraint).__name__} does not follow its "
                "observation: auxiliary measurements would not fluctuate in toys, and coverage be wrong. Use a version "
                "of zfit that pyproject.toml allows"
            )


# Sums


def has_yield_of_its_terms(model: Any) -> bool:
    """Whether the yield of a sum is that of its terms, and not one of its own; only zfit knows."""
    return bool(model._automatically_extended)


# hepstats


def check_asimov_is_used(calculator: Any) -> None:
    """Check that hepstats takes the unbinned Asimov sample of a calculator.

    Raises:
        IncompatibleVersionError: If it would make one of its own, which is binned.
    """
    from hepstats.hypotests import calculators

    base = calculators.AsymptoticCalculator
    missing = [name for name in ("asimov_dataset", "asimov_nll", "_get_binned_loss") if not hasattr(base, name)]
    if missing or calculator._get_binned_loss():
        raise IncompatibleVersionError(
            f"this version of hepstats has no {', '.join(missing)} to replace, so that it would bin its Asimov sample; "
            "use a version of hepstats that pyproject.toml allows"
        )
