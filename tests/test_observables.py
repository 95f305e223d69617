from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from zfit_egmm import Observable
from zfit_egmm.observables import MAX_CATEGORIES, check_observables


def test_defaults():
    mass = Observable("mass", 105, 140)
    assert (mass.name, mass.low, mass.high) == ("mass", 105.0, 140.0)
    assert (mass.kind, mass.unit, mass.linear_fraction, mass.is_discrete) == ("continuous", "", 0.5, False)
    assert isinstance(mass.low, float)
    assert mass.limits == (105.0, 140.0)


def test_discrete_axis_covers_half_a_unit_around_each_integer():
    jets = Observable("jets", -1, 3, kind="discrete")
    assert jets.is_discrete
    assert jets.n_categories == 5
    assert jets.limits == (-1.5, 3.5)
    assert Observable("flag", 1, 1, kind="discrete").n_categories == 1


@pytest.mark.parametrize(("unit", "label"), [("GeV", "mass [GeV]"), ("", "mass")])
def test_label(unit, label):
    assert Observable("mass", 0, 1, unit=unit).label == label


def test_outside_includes_the_ends_and_refuses_nan():
    mass = Observable("mass", 1, 2)
    values = np.array([[1.0, 2.0, 1.5], [np.nextafter(1, 0), np.nextafter(2, 3), np.nan]])
    assert mass.outside(values).tolist() == [[False] * 3, [True] * 3]
    assert mass.outside(np.array([np.inf, -np.inf])).all()


def test_outside_of_a_discrete_observable():
    jets = Observable("jets", 0, 3, kind="discrete")
    assert jets.outside(np.array([-1, 0, 3, 4])).tolist() == [True, False, False, True]


def test_observables_are_values():
    assert Observable("mass", 0, 1) == Observable("mass", 0.0, 1.0)
    assert hash(Observable("mass", 0, 1)) == hash(Observable("mass", 0.0, 1.0))
    assert Observable("mass", 0, 1) != Observable("mass", 0, 1, linear_fraction=0.2)
    with pytest.raises(FrozenInstanceError):
        Observable("mass", 0, 1).low = 3


def test_options_are_keywords():
    with pytest.raises(TypeError, match="positional"):
        Observable("mass", 0, 1, "discrete")


@pytest.mark.parametrize("name", ["", None, 3])
def test_name_must_be_text(name):
    with pytest.raises(ValueError, match=f"non-empty name, got {name!r}"):
        Observable(name, 0, 1)


@pytest.mark.parametrize(
    ("low", "high", "options", "message"),
    [
        (0, 1, {"kind": "integer"}, "kind must be 'continuous' or 'discrete', got 'integer'"),
        (2, 1, {}, r"the range \[2, 1\] is empty; low must be below high"),
        (1, 1, {}, r"the range \[1, 1\] is empty"),
        (0, float("inf"), {}, "high must be finite, got inf; choose a range"),
        (float("nan"), 1, {}, "low must be finite, got nan"),
        ("a", 1, {}, "low must be a number, got 'a'"),
        (0, None, {}, "high must be a number, got None"),
        (0, [1, 2], {}, r"high must be a number, got \[1, 2\]"),
        (0.5, 3, {"kind": "discrete"}, r"needs integers low <= high, got \[0.5, 3\]"),
        (0, 2.5, {"kind": "discrete"}, r"needs integers low <= high, got \[0, 2.5\]"),
        (3, 0, {"kind": "discrete"}, r"needs integers low <= high, got \[3, 0\]"),
        (0, MAX_CATEGORIES, {"kind": "discrete"}, f"{MAX_CATEGORIES + 1} integer values are too many.*continuous"),
        (0, 1, {"linear_fraction": 0.0}, r"linear_fraction must lie in \(0, 1\], got 0.0"),
        (0, 1, {"linear_fraction": 1.01}, r"linear_fraction must lie in \(0, 1\], got 1.01"),
        (0, 1, {"linear_fraction": float("nan")}, r"linear_fraction must lie in \(0, 1\], got nan"),
    ],
)
def test_bad_values_name_the_observable_and_the_value(low, high, options, message):
    with pytest.raises(ValueError, match=f"observable 'mass': .*{message}"):
        Observable("mass", low, high, **options)


def test_values_at_the_limits_are_allowed():
    assert Observable("n", 1, MAX_CATEGORIES, kind="discrete").n_categories == MAX_CATEGORIES
    assert Observable("mass", 0, 1, linear_fraction=1.0).linear_fraction == 1.0


def test_check_observables_returns_a_tuple():
    axes = [Observable("a", 0, 1), Observable("b", 0, 1)]
    assert check_observables(axes) == tuple(axes)
    assert check_observables(iter(axes)) == tuple(axes)


def test_check_observables_refuses_bad_lists():
    a, b = Observable("a", 0, 1), Observable("b", 0, 1)
    with pytest.raises(ValueError, match="at least one observable"):
        check_observables([])
    with pytest.raises(ValueError, match=r"must differ.*more than once: a$"):
        check_observables([a, b, Observable("a", 3, 4)])
    with pytest.raises(
        TypeError, match=r"must be Observable objects, got str: 'b'; write Observable\(name, low, high\)"
    ):
        check_observables([a, "b"])
