"""Read configuration files, YAML or TOML, and check every entry before any work."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

File = TypeVar("File", bound=BaseModel)


class Strict(BaseModel):
    """A part of a configuration in which unknown entries are errors."""

    model_config = ConfigDict(extra="forbid")


def _no_truth_value(value: Any) -> Any:
    """A truth value would be taken for zero or one."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


def _number_or_name(value: Any) -> Any:
    """A text that reads as a number is one, also where YAML takes it for a text, as in quotes."""
    with suppress(ValueError, TypeError):
        value = float(_no_truth_value(value))
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{str(value).lower()} is no number")
    if isinstance(value, str) and not re.match(r"[^\W\d]", value):
        raise ValueError(f"{value!r} is neither a number nor the name of a parameter, which begins with a letter")
    return value


def _text(value: Any) -> Any:
    """A number where an expression may stand is the text of one."""
    return repr(_no_truth_value(value)) if isinstance(value, int | float) else value


Number = Annotated[float, BeforeValidator(_no_truth_value), Field(allow_inf_nan=False)]

NumberOrName = Annotated[float | str, BeforeValidator(_number_or_name)]

Expression = Annotated[str, BeforeValidator(_text)]
"""A branch, an expression of branches, or a number for all events."""


def read_file(path: Path, kind: type[File], help_command: str) -> File:
    """Read a YAML or TOML file and check it.

    Args:
        path: The file.
        kind: What it holds.
        help_command: The command that prints a valid one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not valid; the message names every wrong entry.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no configuration file {path}; {help_command} prints one")
    content = _parsed(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a configuration; {help_command} prints one")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ValueError(
            f"{path} is not a valid configuration:\n"
            + "\n".join(_line(entry["loc"], entry["msg"]) for entry in error.errors())
            + f"\n{help_command} prints a valid one"
        ) from error


def _line(place: tuple[str | int, ...], message: str) -> str:
    return f"  {'.'.join(str(part) for part in place) or 'file'}: {message.removeprefix('Value error, ')}"


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _Loader)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be parsed: {error}") from error


class _Loader(yaml.SafeLoader):
    """YAML 1.2: ``1e0`` is a number, ``no`` a text, and 12:30 no number; an entry that is there twice is an error."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - filled below, as PyYAML does

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are all different."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the entry {key.value!r} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    del loader
    text = node.value.lower()
    return int(text, 0) if text.startswith(("0x", "0o")) else int(text)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
