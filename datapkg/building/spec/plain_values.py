"""Convert document values to values of a build file, recording each mistake with its line and place."""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from datapkg.building.spec.document import Item, is_merge, scalar_value
from datapkg.errors import InvalidBuildFile, InvalidInput
from datapkg.format.canonical import MAX_META_BYTES, check_metadata, encode, prepare
from datapkg.format.texts import first_lines, quoted

MAX_PROBLEMS = 1_000
_SHOWN = 50
_PLACE_CHARS = 300


class Problems:
    """The mistakes of one build file, each with its line and place in the document."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[tuple[int, str, str]] = []

    def add(self, line: int, place: str, what: str) -> None:
        """Record a mistake, once; raise at once when there are `MAX_PROBLEMS`."""
        found = (line, place[:_PLACE_CHARS], what)
        if found not in self.found:
            self.found.append(found)
        if len(self.found) >= MAX_PROBLEMS:
            self.raise_if_any()

    def place(self, line: int, place: str) -> str:
        """Return a place such as `build.yml:4: contents.tables.iris`."""
        place = path_text("".join(c if c.isprintable() else "·" for c in place[: _PLACE_CHARS + 1]))
        return f"{self.path}:{line}: {place}" if place else f"{self.path}:{line}"

    def raise_if_any(self) -> None:
        """Raise `InvalidBuildFile` with all mistakes, ordered by line; do nothing if there are none."""
        if not self.found:
            return
        problems = [(self.place(line, place), what) for line, place, what in sorted(self.found)]
        lines = first_lines([f"{place}: {what}" for place, what in problems], _SHOWN)
        if len(problems) > 1:
            many = "at least " if len(self.found) >= MAX_PROBLEMS else ""
            lines = [f"{self.path} has {many}{len(problems)} mistakes:", *(f"  {line}" for line in lines)]
        raise InvalidBuildFile("\n".join(lines), problems=problems)


def path_text(*names: str) -> str:
    """Return the place in a document, such as `contents.tables.iris`, cut to a maximum length."""
    place = ".".join(names)
    return place if len(place) <= _PLACE_CHARS else f"{place[:_PLACE_CHARS]}…"


def pairs_of(item: Item, place: str, problems: Problems | None) -> list[tuple[Item, Item]]:
    """Return the pairs of a mapping, including those merged by `<<`; own keys win, then the first merged mapping.

    Without `problems`, mistakes are not recorded (for mappings that are read a second time).
    """
    if item.kind != "mapping":
        return []
    own: dict[str, tuple[Item, Item]] = {}
    brought: list[tuple[Item, Item]] = []
    for key, value in item.pairs:
        if key.kind != "scalar":
            _note(problems, key.line, place, "a key is text, not a mapping or list")
        elif is_merge(key):
            sources = value.values if value.kind == "list" else [value]
            if any(source.kind != "mapping" for source in sources):
                _note(problems, key.line, place, "`<<` takes a mapping or a list of mappings")
            brought += [pair for source in sources for pair in pairs_of(source, place, None)]
        elif key.text in own:
            first = own[key.text][0].line
            _note(problems, key.line, place, f"key {quoted(key.text)} is here twice; first on line {first}")
        else:
            own[key.text] = key, value
    for key, value in brought:
        own.setdefault(key.text, (key, value))
    return list(own.values())


def _note(problems: Problems | None, line: int, place: str, what: str) -> None:
    if problems is not None:
        problems.add(line, place, what)


def to_meta(item: Item, place: str, problems: Problems) -> dict[str, Any]:
    """Return metadata: keys as written, dates as ISO text, everything else as YAML reads it."""
    if item.is_null:
        return {}
    if item.kind != "mapping":
        problems.add(item.line, place, "expected a mapping")
        return {}
    try:
        value: dict[str, Any] = check_metadata(_meta_value(item, place, problems), place)
    except InvalidInput as error:
        problems.add(item.line, place, str(error).removeprefix(f"{place}: "))
        return {}
    check_size(value, item.line, place, problems)
    return value


def check_size(meta: dict[str, Any], line: int, place: str, problems: Problems) -> bool:
    """Return whether metadata is within its size limit; record a mistake if not."""
    if len(encode(prepare(meta))) <= MAX_META_BYTES:
        return True
    problems.add(line, place, f"more than {MAX_META_BYTES >> 10} KiB of metadata; keep long texts in a file")
    return False


def _meta_value(item: Item, place: str, problems: Problems) -> Any:
    if item.kind == "mapping":
        return {
            key.text: _meta_value(value, path_text(place, key.text), problems)
            for key, value in pairs_of(item, place, problems)
        }
    if item.kind == "list":
        return [_meta_value(each, path_text(f"{place}[{index}]"), problems) for index, each in enumerate(item.values)]
    value = _scalar(item, place, problems)
    return value.isoformat() if isinstance(value, datetime.date) else value


def to_kwargs(item: Item, place: str, problems: Problems) -> dict[str, Any]:
    """Return kwargs, with keys and values as YAML 1.1 reads them."""
    if item.is_null:
        return {}
    value = _kwargs_value(item, place, problems) if item.kind == "mapping" else None
    if not isinstance(value, dict):
        problems.add(item.line, place, "expected a mapping of names to values")
        return {}
    for name in [name for name in value if not isinstance(name, str)]:
        problems.add(item.line, place, f"the name of a kwarg is text, got {name!r}")
        del value[name]
    return value


def _kwargs_value(item: Item, place: str, problems: Problems) -> Any:
    if item.kind == "list":
        return [_kwargs_value(each, place, problems) for each in item.values]
    if item.kind == "scalar":
        return _scalar(item, place, problems)
    result: dict[Hashable, Any] = {}
    for key, value in pairs_of(item, place, problems):
        name = _scalar(key, place, problems)
        if not isinstance(name, str) and (isinstance(name, bool) or not isinstance(name, int)):
            problems.add(key.line, place, f"key {quoted(key.text)} reads as {name!r} in YAML; put it in quotes")
        else:
            result[name] = _kwargs_value(value, place, problems)
    return result


def _scalar(item: Item, place: str, problems: Problems) -> Any:
    try:
        return scalar_value(item)
    except ValueError as error:
        problems.add(item.line, place, f"{error}; put it in quotes if it is text")
        return None
