"""Resolve `converters` of a build file: functions by name, since a build file contains no code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

NAMED: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "str.strip": str.strip,
    "str.lower": str.lower,
    "str.upper": str.upper,
    "str.title": str.title,
}


def with_functions(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the kwargs with the functions that `converters` names; raise `InvalidInput` for an unknown name."""
    if not isinstance(kwargs.get("converters"), dict):
        if kwargs.get("converters") is None:
            return kwargs
        raise InvalidInput("`converters` is a mapping of columns to names of functions")
    return {**kwargs, "converters": {column: _function(name) for column, name in kwargs["converters"].items()}}


def _function(name: object) -> Callable[[str], Any]:
    if isinstance(name, str) and name in NAMED:
        return NAMED[name]
    raise InvalidInput(
        f"{quoted(str(name))} is not a converter; there are {', '.join(NAMED)}",
        hint="anything else is done by python: module:function",
    )
