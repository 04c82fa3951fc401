"""Validate kwargs of transforms: those of the pandas function that reads the format, except a few that are refused."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from datapkg.building.readers import TRANSFORMS
from datapkg.format.suggestions import suggestion

_WHOLE = "a table is read whole"
_THE_FILE = "the build file names the source by `file`"
_CREDENTIALS = "sources are files, and credentials do not belong in a build file"

REFUSED: dict[str, dict[str, str]] = {
    "csv": {
        "filepath_or_buffer": _THE_FILE,
        "iterator": _WHOLE,
        "chunksize": _WHOLE,
        "storage_options": _CREDENTIALS,
        "low_memory": "the type of a column is settled by all of its values",
    },
    "excel": {
        "io": _THE_FILE,
        "storage_options": _CREDENTIALS,
        "engine": "Excel files are read by calamine",
        "engine_kwargs": "Excel files are read by calamine",
    },
    "json": {
        "path_or_buf": _THE_FILE,
        "chunksize": _WHOLE,
        "storage_options": _CREDENTIALS,
        "typ": "a source becomes a table",
        "lines": "use `transform: jsonl`",
    },
    "stata": {
        "filepath_or_buffer": _THE_FILE,
        "iterator": _WHOLE,
        "chunksize": _WHOLE,
        "storage_options": _CREDENTIALS,
        "convert_missing": "every kind of missing value becomes a missing value",
    },
    "sas": {
        "filepath_or_buffer": _THE_FILE,
        "iterator": _WHOLE,
        "chunksize": _WHOLE,
        "format": "`transform: xport` reads files for transport",
    },
}
_READERS = {"csv": "read_csv", "excel": "read_excel", "json": "read_json", "stata": "read_stata", "sas": "read_sas"}
_OURS: dict[str, frozenset[str]] = {
    "arrow": frozenset({"columns"}),
    "orc": frozenset({"columns"}),
    "parquet": frozenset({"rewrite"}),
    "numpy": frozenset(),
    "id": frozenset(),
}
FAMILIES = (*_READERS, *_OURS)


@dataclass(frozen=True)
class Layer:
    """kwargs set on a group: for one `family`, or (None) for every family that has all of them."""

    family: str | None
    values: dict[str, Any]


@cache
def allowed(family: str) -> frozenset[str]:
    """Return the names of all kwargs that transforms of a family accept."""
    if family in _OURS:
        return _OURS[family]
    if family not in _READERS:
        return TRANSFORMS[family].kwargs
    import pandas

    return frozenset(inspect.signature(getattr(pandas, _READERS[family])).parameters) - REFUSED[family].keys()


def problem_with(name: str, families: Iterable[str]) -> str:
    """Return why none of these families accepts a kwarg; "" if one does."""
    families = list(families)
    if any(name in allowed(family) for family in families):
        return ""
    for family in families:
        if reason := REFUSED.get(family, {}).get(name):
            return f"{name!r} is not supported: {reason}"
    known = sorted({each for family in families for each in allowed(family)})
    if not known:
        return f"{name!r} is not supported: transform {' and '.join(families)} has no kwargs"
    hint = suggestion(name, known) or f"; expected one of {', '.join(known)}"
    readers = " or ".join(sorted({f"pandas.{_READERS[family]}" for family in families if family in _READERS}))
    return f"unknown kwarg {name!r}{f' of {readers}' if readers else ''}{hint}"


def merged(layers: Iterable[Layer], family: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return the kwargs of a node: those inherited from groups, outermost first, then its own."""
    result: dict[str, Any] = {}
    for layer in layers:
        if layer.family == family or (layer.family is None and allowed(family) >= layer.values.keys()):
            result.update(layer.values)
    return {**result, **own}
