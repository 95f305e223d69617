"""Cuts and weights: numbers that do not overflow, against integers of Python, and branches with any name."""

from __future__ import annotations

import numpy as np
import pytest
from root_files import write_file

from zfit_egmm import EventSample, Observable
from zfit_egmm.events.expressions import parse
from zfit_egmm.events.root import read_columns

RUN = Observable("mass", 0, 1000)
WHOLE = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


def values(text, **columns):
    columns = {name: np.asarray(column) for name, column in columns.items()}
    return parse(text, list(columns)).values(columns, len(next(iter(columns.values()))))


def truth(text, **columns):
    columns = {name: np.asarray(column) for name, column in columns.items()}
    return parse(text, list(columns)).truth(columns, len(next(iter(columns.values())))).tolist()


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Runs and luminosity blocks, as every ntuple of data has them."""
    lumi = np.arange(1000, dtype=np.int32)
    columns = {"run": np.full(1000, 350_000, np.int32), "lumi": lumi, "mass": lumi.astype(float)}
    return write_file(tmp_path_factory.mktemp("lists") / "a.root", "TTree", columns)


def test_integers_of_32_bits_do_not_overflow_in_a_cut(lists):
    sample = EventSample.from_root(lists, "events", [RUN], cut="run * 100000 + lumi < 35000000500")
    np.testing.assert_array_equal(sample.column("mass"), np.arange(500))


def test_integers_of_32_bits_do_not_overflow_in_a_weight(lists):
    sample = EventSample.from_root(lists, "events", [RUN], weights="run * 100000 + lumi - 34999999999")
    np.testing.assert_array_equal(sample.weights, np.arange(1000) + 1)


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("other", WHOLE)
def test_integer_arithmetic_is_that_of_python(kind, other):
    ends = [(0, 1) if one == "bool" else (np.iinfo(one).min, np.iinfo(one).max) for one in (kind, other)]
    pairs = [(int(a), int(b)) for a in (ends[0][0], 3 % (ends[0][1] + 1), ends[0][1]) for b in ends[1]]
    a, b = (np.array(column, dtype=one) for column, one in zip(zip(*pairs, strict=True), (kind, other), strict=True))
    for text in (
        "a + b",
        "a - b",
        "a * b",
        "-a",
        "a ** 2 - b",
        "abs(a) + 1",
        "maximum(a, b) - minimum(a, b)",
        "a * 257",
    ):
        expected = [eval(text, {"a": x, "b": y, "maximum": max, "minimum": min}) for x, y in pairs]
        np.testing.assert_array_equal(values(text, a=a, b=b), np.array(expected, dtype=float))
        for constant in set(expected):
            # A rounded number would be another one.
            assert truth(f"({text}) == {constant}", a=a, b=b) == [one == constant for one in expected], text
            assert truth(f"({text}) < {constant}", a=a, b=b) == [one < constant for one in expected], text


def test_the_arithmetic_that_cannot_be_done_in_64_bits_is_exact():
    large = np.array([2**63, 2**64 - 1], dtype=np.uint64)
    assert truth("h == 18446744073709551615", h=large) == [False, True]
    assert truth("h % 10 == 5", h=large) == [False, True]
    assert truth("h // 2 > 4611686018427387904", h=large) == [False, True]
    assert truth("(h & 1) == 1", h=large) == [False, True]
    assert truth("h * h - 1 == (h - 1) * (h + 1)", h=large) == [True, True]
    assert truth("where(h > 5, h, 0) > 9223372036854775808", h=large) == [False, True]
    assert truth("1 << (b + 60) > 9223372036854775807", b=np.array([2, 3, 4], np.int8)) == [False, True, True]
    assert truth("event * run * 1000 > 9999999999999999999999", event=[10**10], run=[10**9]) == [True]
    np.testing.assert_allclose(values("h / 2", h=large), [2.0**62, 2.0**63])
    np.testing.assert_allclose(values("sqrt(h)", h=large), [2**31.5, 2.0**32])


def test_numbers_have_double_precision():
    x = np.array([0.1, 0.7, 1e30], np.float32)
    assert truth("x == 0.1", x=x) == [False] * 3
    assert truth("x <= 0.7", x=x) == [float(one) <= 0.7 for one in x]
    np.testing.assert_array_equal(values("x * x * 3", x=x), x.astype(float) ** 2 * 3)
    i = np.array([16_777_217], np.int32)
    assert truth("i + x > 16777217", i=i, x=x[:1]) == [True]
    assert values("i * 0.5 + x - x", i=i, x=x[:1]).tolist() == [8388608.5]


def test_division_powers_and_remainders():
    n = np.array([-7, 7], np.int8)
    assert values("n / 2", n=n).tolist() == [-3.5, 3.5]
    assert values("n // 2", n=n).tolist() == [-4, 3]
    assert values("n % 3", n=n).tolist() == [2, 1]
    assert values("n ** -1", n=n).tolist() == [-1 / 7, 1 / 7]
    assert values("1.e1 * n", n=n).tolist() == [-70, 70]
    assert np.isinf(values("n / (n - n)", n=n)).all()
    for text in ("n % (n - n)", "n // (n - n)"):
        with pytest.raises(ValueError, match="integers are divided by zero"):
            values(text, n=n)
    with pytest.raises(ValueError, match="a power of integers is too large"):
        values("10 ** (n * n * n * n)", n=n)
    with pytest.raises(ValueError, match="only integers can be shifted"):
        values("1 << n", n=n)


def test_truth_values_are_counted_and_combined():
    a, b = np.array([True, True, False]), np.array([True, False, False])
    assert values("a + b", a=a, b=b).tolist() == [2, 1, 0]
    assert values("a - b", a=a, b=b).tolist() == [0, 1, 0]
    assert values("-a", a=a).tolist() == [-1, -1, 0]
    assert truth("a + b == 2", a=a, b=b) == [True, False, False]
    assert truth("~a | b", a=a, b=b) == [True, False, True]
    assert truth("where(a, b, ~b)", a=a, b=b) == [True, False, True]
    # Flags are often stored as numbers.
    for kind in ("int8", "uint8", "float32"):
        assert truth("a", a=a.astype(kind)) == a.tolist()
    assert truth("a & (b > 0.5)", a=a.astype("uint8"), b=b.astype(float)) == b.tolist()


@pytest.mark.parametrize("text", ["~flag", "~flag & (x > 0)", "flag * 2", "x", "(n > 0) & n", "where(n, x, 0) > 1"])
def test_what_is_neither_true_nor_false_is_no_condition(text):
    """All of these once kept events that they should have left out, or left out events that they should have kept."""
    columns = {"flag": np.array([0, 1], np.int8), "n": np.array([2, 3]), "x": np.array([0.5, np.nan])}
    with pytest.raises(ValueError, match=r"cannot evaluate .*neither true \(1\) nor false \(0\); write a comparison"):
        truth(text, **columns)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a > 1 and b > 1", "write & for and"),
        ("not a", "write & for and, | for or, ~ for not"),
        ("1 < a < 3", "compares more than two values"),
        ("a > 1 & b > 1", "put each comparison in brackets"),
        ("a & b", "combine conditions, not other numbers"),
        ("~b", "opposite of a condition"),
        ("cosh2(a) > 1", "neither a function 'cosh2' nor a branch 'cosh2.a.'; did you mean 'cosh'"),
        ("mass(ll) > 1", r"neither a function 'mass' nor a branch 'mass\(ll\)'; functions are abs, "),
        ("arctan2(a) > 1", "arctan2 takes 2 values"),
        ("max(a, b) > 1", r"one value for all events.*maximum\(a, b\)"),
        ("'a' > 1", "is no number, branch, function or operation"),
        ("a[0] > 1", "is no number, branch, function or operation"),
        ("a @ b", "is no number"),
        ("a << b", "only integers can be shifted"),
    ],
)
def test_errors_say_what_to_write(text, reason):
    with pytest.raises(ValueError, match=f"cannot evaluate .*{reason}"):
        truth(text, a=np.arange(3.0), b=np.arange(3.0))


NAMES = ["Jet.pt", "Jet.pt.raw", "m(ll)", "lead pt", "x[0]", "pass", "n-jets", "my__x", "µ", "4l.mass", "MET/GeV", "2"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    columns = {name: np.arange(10.0) + number for number, name in enumerate(NAMES)}
    columns |= {"Jet": np.ones(10), "x": np.ones(10)}
    return write_file(tmp_path_factory.mktemp("odd") / "a.root", "TTree", columns)


@pytest.mark.parametrize("quote", ["", "`"])
@pytest.mark.parametrize("name", NAMES[:-1])
def test_branches_with_any_name_work_everywhere(odd, name, quote):
    number = NAMES.index(name)
    written = f"{quote}{name}{quote}"
    observable = Observable(name, number + 2, number + 7)
    with pytest.raises(ValueError, match="lie outside") as caught:
        EventSample.from_root(odd, "events", [observable])
    proposed = str(caught.value).split('cut="')[1].rstrip('"')
    for cut in (proposed, f"({written} >= {number + 2}) & ({number + 7}>={written})"):
        sample = EventSample.from_root(odd, "events", [observable], cut=cut, weights=f"2*{written} + {written}**2")
        x = np.arange(2.0, 8.0) + number
        np.testing.assert_array_equal(sample.column(name), x)
        np.testing.assert_array_equal(sample.weights, 2 * x + x**2)


def test_the_cut_that_is_proposed_has_all_digits(tmp_path):
    """Six digits are not enough for a range such as that of an angle."""
    x = np.array([1.23456, 1.2345671, 1.2345679, 2.0])
    path = write_file(tmp_path / "a.root", "TTree", {"x": x})
    observable = Observable("x", 1.23456, 1.2345675)
    with pytest.raises(ValueError, match="lie outside") as caught:
        EventSample.from_root(path, "events", [observable])
    cut = str(caught.value).split('cut="')[1].rstrip('"')
    assert EventSample.from_root(path, "events", [observable], cut=cut).x[:, 0].tolist() == x[:2].tolist()


def test_a_name_that_may_be_an_expression_is_not_guessed():
    columns = {"a-b": [10.0], "a": [5.0], "b": [2.0]}
    with pytest.raises(ValueError, match=r"a-b in 'a-b > 4' is a branch, and an expression .*`a-b` between backticks"):
        truth("a-b > 4", **columns)
    assert truth("`a-b` > 4", **columns) == [True]
    assert truth("a - b > 4", **columns) == [False]
    # A branch whose name is a number can only be meant between backticks.
    assert values("a + 2", **columns, **{"2": [100.0]}).tolist() == [7.0]
    assert values("a + `2`", **columns, **{"2": [100.0]}).tolist() == [105.0]


def test_missing_branches_are_named_as_they_are_written(odd):
    for cut, name in {"Jet.eta > 1": "Jet.eta", "Jet.pt.x > 1": "Jet.pt.x", "`lead eta` > 1": "lead eta"}.items():
        with pytest.raises(KeyError, match=rf"no branch '{name}' in .*in '.*'; did you mean "):
            read_columns(odd, "events", ["x"], cut=cut)
    with pytest.raises(ValueError, match=r"there is neither a function 'm' nor a branch 'm\(lll\)'"):
        read_columns(odd, "events", ["x"], cut="m(lll) > 1")
