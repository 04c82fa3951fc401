"""Where a search found its words: the best place of each word, with the text around it as the publisher wrote it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import msgspec

from datapkg.format import wire
from registry_server.db.packages import IndexedTexts, PackageLine

MAX_TEXT = 80
_BEFORE = 25  # how much of the text before a word is shown


class Originals(msgspec.Struct, frozen=True):
    """What is searched beside name, title and description, as it was written; `nodes` are paths with their columns."""

    keywords: list[str] = []
    nodes: list[list[str]] = []
    readme: str = ""

    def encode(self) -> str:
        """Return the stored form."""
        return msgspec.json.encode(self).decode()


def read_originals(texts: IndexedTexts) -> Originals:
    """Return the stored texts; of a package that was indexed before they were kept, the casefolded ones."""
    if texts.originals is not None:
        return msgspec.json.decode(texts.originals, type=Originals)
    return Originals(texts.about.splitlines(), [[line] for line in texts.nodes.splitlines()], texts.readme)


def explain(words: Sequence[str], line: PackageLine, texts: Callable[[], Originals]) -> list[wire.SearchMatch]:
    """Return where each casefolded word was found: the first of the places in the order in which they are ranked.

    `texts` is called only if name, title and description do not have all words. A word that is not found is omitted:
    the package was pushed again meanwhile.
    """
    about = [("name", f"{line.user}/{line.name}"), ("title", line.title), ("description", line.description)]
    found = [next(_within(word, about), None) for word in words]
    if not all(found):
        originals = texts()
        found = [match or next(_below(word, originals), None) for word, match in zip(words, found, strict=True)]
    return [match for match in found if match]


def _within(word: str, places: Sequence[tuple[str, str]]) -> Iterator[wire.SearchMatch]:
    for where, text in places:
        if word in text.casefold():
            yield wire.SearchMatch(word=word, where=where, text=_around(text, word))


def _below(word: str, originals: Originals) -> Iterator[wire.SearchMatch]:
    yield from _within(word, [("keywords", keyword) for keyword in originals.keywords])
    for path, *columns in originals.nodes:
        if word in path.casefold():
            yield wire.SearchMatch(word=word, where="node", text=_around(path, word), path=path)
        for column in columns:
            if word in column.casefold():
                yield wire.SearchMatch(word=word, where="column", text=_around(column, word), path=path)
    yield from _within(word, [("readme", originals.readme)])


def _around(text: str, word: str) -> str:
    """Return the part of a text around the word, on one line; `…` marks what is omitted."""
    start = _place(text, word)
    first = max(0, start - _BEFORE) if len(text) > MAX_TEXT else 0
    last = min(len(text), first + max(MAX_TEXT, len(word) + _BEFORE))
    if first:  # between words, where there are any
        first = text.find(" ", first, start) + 1 or first
    if last < len(text):
        space = text.rfind(" ", start + len(word), last)
        last = space if space >= 0 else last
    part = " ".join(text[first:last].split())
    return f"{'…' * (first > 0)}{part}{'…' * (last < len(text))}"


def _place(text: str, word: str) -> int:
    """Return where a casefolded word begins in a text; casefolding makes some characters longer (ß is ss)."""
    folded = text.casefold()
    at = folded.find(word)
    if len(folded) == len(text):
        return at
    ends = list(accumulate(len(character.casefold()) for character in text))
    return bisect_right(ends, at)
