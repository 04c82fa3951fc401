"""One mapping of a build file that describes a node: its keywords, and recording mistakes in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from datapkg.building.spec.document import Item
from datapkg.building.spec.plain_values import Problems, pairs_of


@dataclass(frozen=True)
class NodeMapping:
    """The keywords of a mapping; `line` is the line of its name, `place` its name in messages.

    `columns` maps each keyword to its indentation; `flow` is true if the mapping is written in braces.
    """

    words: dict[str, Item]
    place: str
    line: int
    problems: Problems
    flow: bool = False
    columns: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item, place: str, line: int, problems: Problems) -> NodeMapping:
        """Return the keywords of a mapping; duplicate keys are recorded as mistakes."""
        pairs = pairs_of(item, place, problems)
        words = {key.text: value for key, value in pairs}
        return cls(words, place, line, problems, item.flow, {key.text: key.column for key, _ in pairs})

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def __getitem__(self, word: str) -> Item:
        return self.words[word]

    def where(self, word: str) -> str:
        """Return the place of a keyword, for messages."""
        return f"{self.place}.{word}"

    def wrong(self, word: str, what: str) -> None:
        """Record a mistake in the value of a keyword."""
        self.problems.add(self.words[word].line, self.where(word), what)

    def text(self, word: str, expected: str) -> str | None:
        """Return a scalar as written (`1.10` stays `1.10`); record a mistake and return None for anything else."""
        item = self.words[word]
        if item.kind == "scalar" and item.text and not item.is_null:
            return item.text
        self.wrong(word, f"expected {expected}, got {kind_of(item)}")
        return None

    def flag(self, word: str) -> bool:
        """Return whether a keyword is true, False if it is absent; record a mistake for anything but true and false."""
        if word not in self:
            return False
        item = self.words[word]
        if item.kind == "scalar" and item.text in ("true", "false"):
            return item.text == "true"
        self.wrong(word, "expected true or false")
        return False

    def others(self, known: Iterable[str]) -> list[str]:
        """Return the keywords that are not among the known ones."""
        return [word for word in self.words if word not in set(known)]


def kind_of(item: Item) -> str:
    """Return the kind of a value that should be text, for a message."""
    return "nothing" if item.kind == "scalar" and (item.is_null or not item.text) else f"a {item.kind}"
