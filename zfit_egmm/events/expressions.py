"""Expressions of branches, such as cuts and weights: checked before any event is read, and evaluated exactly."""

from __future__ import annotations

import ast
import difflib
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zfit_egmm.events import exact_numbers
from zfit_egmm.events.exact_numbers import ARITHMETIC, COMPARISONS, LOGIC, N_ARGUMENTS

REDUCTIONS = {
    "sum": "",
    "prod": "",
    "max": "; the larger of two values is maximum(a, b)",
    "min": "; the smaller of two values is minimum(a, b)",
}


class UnknownBranchError(KeyError):
    """A name in an expression that is no branch."""


@dataclass(frozen=True)
class Expression:
    """An expression that was checked, see :func:`parse`.

    Args:
        text: As it was written.
        tree: What it computes.
        names: Branch of each name in the tree.
    """

    text: str
    tree: ast.expr
    names: Mapping[str, str]

    @property
    def branches(self) -> tuple[str, ...]:
        """Branches that it needs."""
        return tuple(dict.fromkeys(self.names.values()))

    def values(self, columns: Mapping[str, np.ndarray], n_events: int) -> np.ndarray:
        """Value per event, shape ``(n_events,)``: of the branch's own type, else boolean, int64 or float64.

        Args:
            columns: Values of the branches.
            n_events: Number of events, for expressions of numbers alone.

        Raises:
            ValueError: If a value is not defined.
        """
        if isinstance(self.tree, ast.Name):
            return columns[self.names[self.tree.id]]
        return self._computed(columns, n_events, is_condition=False)

    def truth(self, columns: Mapping[str, np.ndarray], n_events: int) -> np.ndarray:
        """Whether it holds for each event, shape ``(n_events,)``.

        Raises:
            ValueError: If a value is not defined, or neither true nor false.
        """
        return self._computed(columns, n_events, is_condition=True)

    def _computed(self, columns: Mapping[str, np.ndarray], n_events: int, *, is_condition: bool) -> np.ndarray:
        wide = {name: exact_numbers.widened(columns[branch]) for name, branch in self.names.items()}
        try:
            with np.errstate(all="ignore"):
                value = _evaluated(self.tree, wide)
            if is_condition:
                value = exact_numbers.truth(value)
            elif value.dtype == object:
                value = value.astype(float)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise _cannot_evaluate(self.text, str(error)) from error
        return np.broadcast_to(value, (n_events,))


def parse(text: str, branches: Sequence[str]) -> Expression:
    """Check an expression before any event is read.

    Branches whose names are no words, such as ``Jet.pt``, ``m(ll)`` or ``lead pt``, stand in an expression as they are,
    or between backticks where they could mean something else as well.

    Args:
        text: A branch, or an expression of branches.
        branches: Names of all branches.

    Raises:
        UnknownBranchError: If a name is no branch; its only argument is the name.
        ValueError: If it is no valid expression.
    """
    stripped = text.strip()
    if stripped in branches:
        return Expression(text, ast.Name("branch"), {"branch": stripped})
    there = frozenset(branches)
    code, special = _without_special_names(stripped, there)
    try:
        tree = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(
            f"{text!r} is neither a branch nor a valid expression ({reason}); combine conditions as in "
            "'(a > 1) & (b < 2)'"
        ) from error
    try:
        names = {name: _restored(name, special) for name in _checked_names(tree, special)}
    except ValueError as error:
        raise _cannot_evaluate(text, str(error)) from error
    for name in names.values():
        if name not in there:
            raise UnknownBranchError(name)
    return Expression(text, tree, names)


def _cannot_evaluate(text: str, reason: str) -> ValueError:
    return ValueError(f"cannot evaluate {text!r}: {reason}; write conditions as in '(a > 1) & (abs(b) < 2)'")


def _without_special_names(text: str, branches: frozenset[str]) -> tuple[str, dict[str, str]]:
    """The text with plain words for branches that Python would read as something else, and what they stand for."""
    names = [name for name in branches if name in text and not _is_word(name) and not _is_number(name)]
    patterns = ["`[^`]*`", *(_standing_alone(name) for name in sorted(names, key=len, reverse=True))]
    prefix = "special_"
    while prefix in text:
        prefix += "_"
    words: dict[str, str] = {}

    def word(match: re.Match) -> str:
        name = match[0]
        if name.startswith("`") and name not in branches:
            name = name.strip("`")
        elif _is_expression(name, branches - {name}):
            raise ValueError(
                f"{name} in {text!r} is a branch, and an expression of other branches: write `{name}` between "
                "backticks for the branch, or put spaces between the parts of the expression"
            )
        return words.setdefault(name, f"{prefix}{len(words)}_")

    code = re.sub("|".join(patterns), word, text)
    return code, {value: name for name, value in words.items()}


def _is_word(name: str) -> bool:
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _standing_alone(name: str) -> str:
    """Pattern of a name that is not a part of a longer one."""
    before = r"(?<![\w.])" if re.match(r"\w", name) else ""
    after = r"(?!\w|\.\w)" if re.search(r"\w$", name) else ""
    return before + re.escape(name) + after


def _is_expression(name: str, branches: frozenset[str]) -> bool:
    try:
        parse(name, tuple(branches))
    except (KeyError, ValueError):
        return False
    return True


def _checked_names(node: ast.expr, special: Mapping[str, str]) -> list[str]:
    """Names that a tree needs, in their order; ``a.b`` counts as one.

    Raises:
        ValueError: If it holds something that is not understood.
    """
    if isinstance(node, ast.Name | ast.Attribute):
        return [ast.unparse(node)]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        return []
    children: list[ast.expr]
    if isinstance(node, ast.BinOp) and type(node.op) in {**ARITHMETIC, **LOGIC}:
        children = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
        children = [node.operand]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        children = [node.left, node.comparators[0]]
    elif isinstance(node, ast.Call):
        children = _checked_call(node, special)
    else:
        raise ValueError(_reason(node, _restored(ast.unparse(node), special)))
    return [name for child in children for name in _checked_names(child, special)]


def _checked_call(node: ast.Call, special: Mapping[str, str]) -> list[ast.expr]:
    name, whole = (_restored(ast.unparse(one), special) for one in (node.func, node))
    if name in REDUCTIONS:
        raise ValueError(f"{name} gives one value for all events, not one per event{REDUCTIONS[name]}")
    if name not in N_ARGUMENTS:
        near = difflib.get_close_matches(name, N_ARGUMENTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"functions are {', '.join(sorted(N_ARGUMENTS))}"
        raise ValueError(f"there is neither a function {name!r} nor a branch {whole!r}; {hint}")
    if node.keywords or len(node.args) != N_ARGUMENTS[name]:
        raise ValueError(f"{name} takes {N_ARGUMENTS[name]} values, in {whole!r}")
    return node.args


def _restored(code: str, special: Mapping[str, str]) -> str:
    """Code as it was written, with the names of branches."""
    for word, name in special.items():
        code = code.replace(word, name)
    return code


def _reason(node: ast.expr, written: str) -> str:
    if isinstance(node, ast.Compare):
        return f"{written!r} compares more than two values; put each comparison in brackets, with & between them"
    if isinstance(node, ast.BoolOp | ast.UnaryOp):
        return f"{written!r}: write & for and, | for or, ~ for not, with each condition in brackets"
    return f"{written!r} is no number, branch, function or operation"


def _evaluated(node: ast.AST, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(node, ast.Name | ast.Attribute):
        return columns[ast.unparse(node)]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        return exact_numbers.constant(node.value)
    if isinstance(node, ast.BinOp):
        return exact_numbers.binary(node.op, _evaluated(node.left, columns), _evaluated(node.right, columns))
    if isinstance(node, ast.UnaryOp):
        return exact_numbers.signed(node.op, _evaluated(node.operand, columns))
    if isinstance(node, ast.Compare):
        left, right = (_evaluated(one, columns) for one in (node.left, node.comparators[0]))
        return exact_numbers.compared(node.ops[0], left, right)
    if isinstance(node, ast.Call):
        arguments = [_evaluated(one, columns) for one in node.args]
        return exact_numbers.called(ast.unparse(node.func), arguments)
    raise TypeError(f"{type(node).__name__} was not checked")
