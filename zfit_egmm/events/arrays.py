"""Arrays that a user gives: numbers, with the mask or the column names that they may carry."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np


def as_floats(values: Any, what: str) -> np.ndarray:
    """Plain numbers.

    Raises:
        ValueError: If they are no numbers, or some are masked.
    """
    values = unmasked(values, what)
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be an array of numbers: {error}") from error


def unmasked(values: Any, what: str) -> Any:
    """A masked array without its mask, which holds nothing; anything else as it is.

    Raises:
        ValueError: If entries are masked.
    """
    if isinstance(values, list | tuple) and any(isinstance(entry, np.ma.MaskedArray) for entry in values):
        values = np.ma.stack(values)
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        if mask.any():
            row = int(np.argmax(mask.reshape(len(mask), -1).any(axis=1)))
            raise ValueError(
                f"{what}: {mask.sum()} of {mask.size} entries are masked, the first in row {row}; leave these events "
                f"out of x, theta and weights alike, or say what the entries are with {what}.filled(value)"
            )
        return values.data
    return values


def in_order(values: Any, names: Sequence[str], what: str) -> Any:
    """Columns of a data frame or of an array with fields, by their names; anything else as it is.

    Args:
        values: What the user gave.
        names: Names of the columns that are wanted.
        what: How to call it in an error.

    Raises:
        ValueError: If a name is missing.
    """
    fields = getattr(getattr(values, "dtype", None), "names", None)
    present = list(fields if fields is not None else getattr(values, "columns", ()))
    if not present or not all(isinstance(name, str) for name in present):
        return values
    missing = [name for name in names if name not in present]
    if missing:
        near = difflib.get_close_matches(missing[0], present, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"there are: {', '.join(map(repr, present))}"
        raise ValueError(f"{what} has no column {missing[0]!r}; {hint}")
    if len(set(present)) < len(present):
        raise ValueError(f"{what} has several columns of the same name: {', '.join(map(repr, present))}")
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.stack([values[name] for name in names], axis=1)
    return np.stack([np.asarray(values[name]) for name in names], axis=1)


def check_same_rows(**given: Any) -> None:
    """Check that the row labels of data frames and series agree, since rows are combined by their order.

    Raises:
        ValueError: If they do not.
    """
    labels = {name: values.index for name, values in given.items() if hasattr(getattr(values, "index", None), "equals")}
    if len(labels) < 2:
        return
    (first, reference), *others = labels.items()
    for name, index in others:
        if not reference.equals(index):
            raise ValueError(
                f"the rows of {name} have other labels than those of {first}, so they are not the same events in the "
                f"same order; write {name}.loc[{first}.index], or {name}.to_numpy() if only the labels differ"
            )
