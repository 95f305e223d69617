"""Operations on columns whose numbers neither overflow nor lose digits.

NumPy keeps the type of a branch, in which ``run * 100000`` overflows without a word. Here integers are exact: of 64
bits where all fit, else integers of Python. All other numbers have double precision.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

INT64_MAX = np.iinfo(np.int64).max

SURE = 9.2e18
"""An integer that is smaller in double precision, with its rounding error, fits into 64 bits."""

MOST_BITS = 1000
"""Of an integer that is raised to a power or shifted."""

UFUNCS = (
    "arccos arccosh arcsin arcsinh arctan arctan2 arctanh ceil copysign cos cosh exp expm1 floor fmod hypot isfinite "
    "isinf isnan log log10 log1p log2 sign sin sinh sqrt tan tanh trunc"
)

FUNCTIONS: dict[str, np.ufunc] = {"round": np.rint, **{name: getattr(np, name) for name in UFUNCS.split()}}
"""Functions that compute in double precision."""

N_ARGUMENTS = {**{name: one.nin for name, one in FUNCTIONS.items()}, "abs": 1, "maximum": 2, "minimum": 2, "where": 3}
"""All functions, with the number of their arguments; the last four keep integers exact."""

ARITHMETIC: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
LOGIC: dict[type, Callable] = {ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor}
COMPARISONS: dict[type, Callable] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def widened(column: np.ndarray) -> np.ndarray:
    """A column of any number type in one that is wide enough: boolean, int64, integers of Python, or float64."""
    if column.dtype.kind == "b":
        return column
    if column.dtype.kind in "iu":
        is_beyond = column.dtype.kind == "u" and column.size and int(column.max()) > INT64_MAX
        return column.astype(object if is_beyond else np.int64)
    return column.astype(np.float64)


def constant(value: float) -> np.ndarray:
    """A number as an array without axes."""
    return _exact(value) if isinstance(value, int) and not isinstance(value, bool) else np.array(value)


def binary(kind: ast.operator, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """An operation on two columns.

    Raises:
        ValueError: If it is not defined for their values.
    """
    return _logic(kind, left, right) if type(kind) in LOGIC else _arithmetic(kind, left, right)


def compared(kind: ast.cmpop, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A comparison of two columns, boolean."""
    return np.asarray(COMPARISONS[type(kind)](_number(left), _number(right)), dtype=bool)


def signed(kind: ast.unaryop, value: np.ndarray) -> np.ndarray:
    """A sign, or ``~`` for the opposite.

    Raises:
        ValueError: If the opposite of a number is wanted.
    """
    if isinstance(kind, ast.USub):
        return _negated(value)
    if isinstance(kind, ast.UAdd):
        return _number(value)
    if value.dtype.kind == "f":
        raise ValueError("~ is the opposite of a condition; put the condition in brackets")
    return np.asarray(~value)


def called(name: str, arguments: list[np.ndarray]) -> np.ndarray:
    """A function of columns, one of ``N_ARGUMENTS``."""
    if name == "where":
        return np.where(truth(arguments[0]), *_alike(*arguments[1:]))
    if name == "abs":
        return np.maximum(*_alike(arguments[0], _negated(arguments[0])))
    if name in {"maximum", "minimum"}:
        return np.asarray(getattr(np, name)(*_alike(*arguments)))
    return np.asarray(FUNCTIONS[name](*(one.astype(float) for one in arguments)))


def truth(value: np.ndarray) -> np.ndarray:
    """Truth values, which may be stored as the numbers zero and one.

    Raises:
        ValueError: If a value is another number.
    """
    if value.dtype == bool:
        return value
    other = np.atleast_1d(value)[np.atleast_1d((value != 0) & (value != 1))]
    if other.size:
        raise ValueError(f"{other[0]} is neither true (1) nor false (0); write a comparison, as in 'a != 0'")
    return value.astype(bool)


def _arithmetic(kind: ast.operator, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    operation = ARITHMETIC[type(kind)]
    left, right = _number(left), _number(right)
    is_whole = left.dtype.kind != "f" and right.dtype.kind != "f"
    if isinstance(kind, ast.LShift | ast.RShift):
        if not is_whole or np.any((right < 0) | (right > MOST_BITS)):
            raise ValueError(f"only integers can be shifted, by 0 to {MOST_BITS} bits")
    elif isinstance(kind, ast.Div) or (isinstance(kind, ast.Pow) and is_whole and np.any(right < 0)):
        is_whole = False
    if not is_whole:
        return np.asarray(operation(left.astype(float), right.astype(float)))
    if isinstance(kind, ast.Mod | ast.FloorDiv) and np.any(right == 0):
        raise ValueError("integers are divided by zero")
    if _fits(kind, left, right):
        return np.asarray(operation(left, right))
    return _exact(operation(left.astype(object), right.astype(object)))


def _fits(kind: ast.operator, left: np.ndarray, right: np.ndarray) -> bool:
    """Whether the result of an operation on integers fits into 64 bits.

    Raises:
        ValueError: If it has more digits than anybody can want.
    """
    a, b = left.astype(float), right.astype(float)
    if isinstance(kind, ast.Pow) and np.any(b * np.log2(np.maximum(np.abs(a), 1)) > MOST_BITS):
        raise ValueError("a power of integers is too large")
    if np.dtype(object) in {left.dtype, right.dtype}:
        return False
    if isinstance(kind, ast.RShift):
        return not np.any(right > 63)
    size = a * 2.0**b if isinstance(kind, ast.LShift) else ARITHMETIC[type(kind)](a, b)
    return bool(np.all(np.abs(size) < SURE))


def _exact(integers: Any) -> np.ndarray:
    """Integers of Python as those of 64 bits, if all fit."""
    values = np.asarray(integers, dtype=object)
    fits = not values.size or (values.min() >= -INT64_MAX and values.max() <= INT64_MAX)
    return values.astype(np.int64) if fits else values


def _logic(kind: ast.operator, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    if left.dtype.kind == "f" or right.dtype.kind == "f":
        raise ValueError("&, | and ^ combine conditions, not other numbers; put each comparison in brackets")
    if np.dtype(bool) in {left.dtype, right.dtype}:
        left, right = truth(left), truth(right)
    return np.asarray(LOGIC[type(kind)](left, right))


def _negated(value: np.ndarray) -> np.ndarray:
    number = _number(value)
    return np.asarray(-number) if number.dtype.kind == "f" else _arithmetic(ast.Sub(), np.array(0), number)


def _alike(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one type that holds the values of both."""
    if left.dtype == right.dtype:
        return left, right
    left, right = _number(left), _number(right)
    kinds = {left.dtype.kind, right.dtype.kind}
    kind: Any = float if "f" in kinds else object if "O" in kinds else np.int64
    return left.astype(kind), right.astype(kind)


def _number(value: np.ndarray) -> np.ndarray:
    """Truth values as zero and one; what is a number stays."""
    return value.astype(np.int64) if value.dtype == bool else value
