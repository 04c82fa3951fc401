"""Read files of other tools: mappings that know which of their keys nobody asked for, and values of YAML 1.2."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from datapkg.building.converters.conversion import Conversion
from datapkg.building.spec.document import Item, read_document
from datapkg.building.spec.node_mapping import kind_of
from datapkg.building.spec.plain_values import Problems, pairs_of
from datapkg.errors import InvalidInput, NotFound
from datapkg.format.texts import quoted

_INTEGER = re.compile(r"[-+]?[0-9]{1,300}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Section:
    """A mapping of a source file; `close` names the keys that were not taken as unmapped."""

    def __init__(self, item: Item, shown: str, place: str, conversion: Conversion) -> None:
        self.item, self.shown, self.place, self.conversion = item, shown, place, conversion
        problems = Problems(Path(shown))
        if item.kind != "mapping":
            problems.add(item.line, place, f"expected a mapping, got {kind_of(item)}")
        self._words = {key.text: (key, value) for key, value in pairs_of(item, place, problems)}
        problems.raise_if_any()
        self._taken: set[str] = set()

    @classmethod
    def of_file(cls, path: Path, shown: str, conversion: Conversion) -> Section:
        """Return the mapping in a file; raise `InvalidInput` if it is another kind of document."""
        if path.is_dir():
            raise InvalidInput(f"{quoted(path)} is a folder; expected a file", hint=f"ls {quote(str(path))}")
        if not path.is_file():
            raise NotFound(f"there is no file {quoted(path)}", path=str(path))
        item = read_document(path)
        if item is None:
            raise InvalidInput(f"{quoted(path)} is empty")
        return cls(item, shown, "", conversion)

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def line(self, word: str) -> int:
        """Return the line of a key, or that of the mapping."""
        return self._words[word][0].line if word in self._words else self.item.line

    def where(self, word: str) -> str:
        """Return the place of a key, for messages."""
        return f"{self.place}.{word}" if self.place else word

    def take(self, word: str) -> Item | None:
        """Return the value of a key, which counts as mapped then; None for a missing key and for null."""
        self._taken.add(word)
        found = self._words.get(word)
        return None if found is None or found[1].is_null else found[1]

    def pairs(self) -> Iterator[tuple[Item, Item]]:
        """Return all keys with their values; all count as mapped."""
        self._taken |= self._words.keys()
        yield from self._words.values()

    def text(self, word: str) -> str:
        """Return a scalar as written, "" if it is missing; raise `InvalidInput` for a list or mapping."""
        item = self.take(word)
        if item is not None and item.kind != "scalar":
            raise self.wrong(word, f"expected a text, got {kind_of(item)}")
        return item.text if item else ""

    def value(self, word: str) -> Any:
        """Return a value of any kind, None if it is missing."""
        item = self.take(word)
        return None if item is None else plain_value(item)

    def section(self, word: str) -> Section | None:
        """Return the mapping at a key, None if it is missing; raise `InvalidInput` for another kind of value."""
        item = self.take(word)
        return None if item is None else Section(item, self.shown, self.where(word), self.conversion)

    def sections(self, word: str = "") -> Iterator[tuple[str, Section]]:
        """Yield the mappings in the mapping at a key, or in this one, by their names."""
        above = self.section(word) if word else self
        for key, value in above.pairs() if above else ():
            assert above is not None
            yield key.text, Section(value, self.shown, above.where(key.text), self.conversion)

    def leave_out(self, word: str, reason: str) -> None:
        """Name a key that is not mapped, if it is there."""
        if word in self:
            self._taken.add(word)
            self.conversion.leave_out(self.shown, self.line(word), self.where(word), reason)

    def close(self) -> None:
        """Name the keys that nobody asked for."""
        for word in [word for word in self._words if word not in self._taken]:
            self.leave_out(word, "no keyword of a build file does this")

    def wrong(self, word: str, what: str) -> InvalidInput:
        """Return the error for a value that this format does not allow."""
        return InvalidInput(f"{self.shown}:{self.line(word)}: {self.where(word)}: {what}")


def plain_value(item: Item) -> Any:
    """Return a value as YAML 1.2 reads it: `1e-3` is a number, `no` a text, and dates are texts."""
    if item.kind == "mapping":
        return {key.text: plain_value(value) for key, value in pairs_of(item, "", None)}
    if item.kind == "list":
        return [plain_value(each) for each in item.values]
    if not item.plain or item.text in _WORDS:
        return _WORDS.get(item.text, item.text) if item.plain else item.text
    if item.is_null:
        return None
    if _INTEGER.match(item.text):
        return int(item.text)
    if len(item.text) <= 300 and _FLOAT.match(item.text) and math.isfinite(number := float(item.text)):
        return number
    return item.text


def texts_of(item: Item | None) -> list[Item]:
    """Return the scalars of a list, or the scalar itself, as a list."""
    if item is None:
        return []
    return [each for each in (item.values if item.kind == "list" else [item]) if each.kind == "scalar"]
