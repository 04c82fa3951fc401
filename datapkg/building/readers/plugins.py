"""Load transforms of other distributions, which register them as entry points in the group `datapkg.transforms`.

An entry point is a function `read(path, *, name=…)` that returns a DataFrame or an object with the Arrow stream
interface. The names of its arguments after the first are the kwargs allowed in a build file.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from datapkg.building.readers.base import Transform, Warn
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

GROUP = "datapkg.transforms"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Transforms(Mapping[str, Transform]):
    """Built-in transforms by name, followed by those of other distributions, each loaded when it is first used.

    A built-in name or family is never looked up elsewhere. Raise `InvalidInput` for a transform that cannot be loaded.
    """

    def __init__(self, *ours: Transform) -> None:
        self._ours = {each.name: each for each in ours}
        self._added: dict[str, Transform] = {}
        self._reserved = self._ours.keys() | {each.family for each in ours}

    def __getitem__(self, name: str) -> Transform:
        found = self._ours.get(name) or self._added.get(name)
        if found is None:
            if name in self._reserved:
                raise KeyError(name)
            found = self._added[name] = _find(name)
        return found

    def __contains__(self, name: object) -> bool:
        """Return whether the transform exists and can be loaded; `[]` raises the reason if it cannot."""
        try:
            return isinstance(name, str) and self[name].name == name
        except (KeyError, InvalidInput):
            return False

    def __iter__(self) -> Iterator[str]:
        yield from self._ours
        yield from sorted({entry.name for entry in _entries()} - self._reserved)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _entries() -> list[metadata.EntryPoint]:
    try:
        return list(metadata.entry_points(group=GROUP))
    except Exception as error:
        raise InvalidInput(f"the entry points of what is installed cannot be read: {_reason(error)}") from error


def _find(name: str) -> Transform:
    """Return the transform of this name; raise `KeyError` if there is none."""
    entries = [entry for entry in _entries() if entry.name == name]
    if not entries:
        raise KeyError(name)
    if len(entries) > 1:
        distributions = " and ".join(sorted(_provider(entry)["distribution"] for entry in entries))
        raise InvalidInput(f"transform {quoted(name)} is offered by {distributions}; uninstall all but one")
    provider = _provider(entries[0])
    try:
        function = entries[0].load()
        kwargs = _kwargs_of(function)
    except (Exception, SystemExit) as error:
        whose = f"{provider['distribution']} {provider['version']}"
        raise InvalidInput(f"transform {quoted(name)} of {whose} cannot be loaded: {_reason(error)}") from error
    return Transform(name, "table", name, read=partial(_read, function), kwargs=kwargs, provider=provider)


def _provider(entry: metadata.EntryPoint) -> dict[str, str]:
    if entry.dist is None:
        return {"distribution": entry.module, "version": "unknown"}
    return {"distribution": entry.dist.name, "version": entry.dist.version}


def _kwargs_of(function: Any) -> frozenset[str]:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise TypeError("it takes no path")
    return frozenset(each.name for each in parameters[1:] if each.kind in _NAMED)


def _read(function: Callable[..., Any], path: Path, kwargs: dict[str, Any], warn: Warn) -> Any:
    import pandas
    import pyarrow as pa

    from datapkg.building.readers.validity import check_values
    from datapkg.tables.extension_types import without_inner_extensions
    from datapkg.tables.frame_to_arrow import table_from_arrow, table_from_frame

    try:
        # A copy: the kwargs also go into the record and the key of the cache.
        value = function(path, **copy.deepcopy(kwargs))
    except SystemExit as error:
        raise InvalidInput("it wanted to end the program") from error
    if isinstance(value, pandas.DataFrame):
        return table_from_frame(value)
    if not hasattr(value, "__arrow_c_stream__"):
        raise InvalidInput(f"it gave a {type(value).__name__}, neither a DataFrame nor anything that speaks Arrow")
    table = pa.table(value)
    check_values(table)
    return table_from_arrow(without_inner_extensions(table))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
