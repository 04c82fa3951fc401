"""One mapping of a build file that says something of a node: its words, and the notes on what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from datapkg.building.spec.document import Item
from datapkg.building.spec.plain_values import Problems, pairs_of


@dataclass(frozen=True)
class NodeMapping:
    """The words of a mapping; `line` is where its name stands, `place` what it is called in messages.

    `columns` says how far each word is indented, `flow` whether the mapping is written in braces.
    """

    words: dict[str, Item]
    place: str
    line: int
    problems: Problems
    flow: bool = False
    columns: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, item: Item, place: str, line: int, problems: Problems) -> NodeMapping:
        """Return what a mapping says; keys that are here twice are noted."""
        pairs = pairs_of(item, place, problems)
        words = {key.text: value for key, value in pairs}
        return cls(words, place, line, problems, item.flow, {key.text: key.column for key, _ in pairs})

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def __getitem__(self, word: str) -> Item:
        return self.words[word]

    def where(self, word: str) -> str:
        return f"{self.place}.{word}"

    def wrong(self, word: str, what: str) -> None:
        """Record a mistake in what stands behind a word."""
        self.problems.add(self.words[word].line, self.where(word), what)

    def text(self, word: str, expected: str) -> str | None:
        """Return a scalar as written, `1.10` stays `1.10`; None, and noted, where there is none."""
        item = self.words[word]
        if item.kind == "scalar" and item.text and not item.is_null:
            return item.text
        self.wrong(word, f"expected {expected}, got {kind_of(item)}")
        return None

    def others(self, known: Iterable[str]) -> list[str]:
        """Return the words that are not among the known ones."""
        return [word for word in self.words if word not in set(known)]


def kind_of(item: Item) -> str:
    """Return what a value that should be text is, for a message."""
    return "nothing" if item.kind == "scalar" and (item.is_null or not item.text) else f"a {item.kind}"
