"""The cases of the conformity tests."""

from __future__ import annotations

import numpy as np
import pytest
import zfit
from conformity import Case, separate_case

from zfit_egmm.pdf import EGMM


def _trained(density) -> Case:
    theta = {
        name: zfit.Parameter(f"par_{name}", 0.6 * low + 0.4 * high, low, high)
        for name, (low, high) in zip(density.theta_names, density.theta_range, strict=True)
    }
    point = [float(parameter.value()) for parameter in theta.values()]
    x = density.sample(60, point if theta else None, seed=4)
    return Case("trained", EGMM(density, params=theta), None, {}, theta, np.array(x))


@pytest.fixture
def trained(mixed_density) -> Case:
    """Three correlated observables, the second one discrete, given one theta."""
    return _trained(mixed_density)


@pytest.fixture
def gauss() -> Case:
    """One component per factor."""
    return separate_case("gauss", 1, seed=1)


@pytest.fixture
def independent() -> Case:
    """Three components per factor."""
    return separate_case("independent", 3, seed=2)


@pytest.fixture(params=["trained", "gauss"])
def case(request) -> Case:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["gauss", "independent"])
def known(request) -> Case:
    """A case with an oracle."""
    return request.getfixturevalue(request.param)
