"""The params files of a DVC repository, and the values in them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from datapkg.building.converters.code_files import inner_path
from datapkg.building.converters.sections import plain_value
from datapkg.building.spec.document import MAX_BYTES, read_document
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

DEFAULT = "params.yaml"
_WRITABLE = (".yaml", ".yml", ".json")


class ParamsFiles:
    """Reads the params files of a repository, each once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, dict[str, Any] | None] = {}

    def values(self, path: str) -> dict[str, Any] | None:
        """Return the values in a file; None if there is no such file, or it is one of Python."""
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def _read(self, path: str) -> dict[str, Any] | None:
        file = self._root / path
        if not inner_path(path) or path.endswith(".py") or not file.is_file():
            return None
        if path.endswith(".toml"):
            if file.stat().st_size > MAX_BYTES:
                raise InvalidInput(f"{quoted(path)} has more than {MAX_BYTES >> 20} MiB")
            try:
                return tomllib.loads(file.read_text("utf-8"))
            except (ValueError, RecursionError) as error:
                raise InvalidInput(f"{quoted(path)} is not TOML: {error}") from None
        item = read_document(file)
        if item is None:
            return {}
        if item.kind != "mapping":
            raise InvalidInput(f"{path}:{item.line}: expected a mapping of params, got a {item.kind}")
        values: dict[str, Any] = plain_value(item)
        return values


def can_write(path: str) -> bool:
    """Return whether JSON, which is YAML too, can be written in place of a params file."""
    return path.endswith(_WRITABLE)


def subset(values: dict[str, Any], keys: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the mapping with these dotted keys only, and the keys that it does not have."""
    chosen: dict[str, Any] = {}
    absent = []
    for key in keys:
        parts = key.split(".")
        found: Any = values
        for part in parts:
            found = found.get(part, _NOTHING) if isinstance(found, dict) else _NOTHING
        if found is _NOTHING:
            absent.append(key)
            continue
        below = chosen
        for part in parts[:-1]:
            below = below.setdefault(part, {})
        below[parts[-1]] = found
    return chosen, absent


_NOTHING = object()
