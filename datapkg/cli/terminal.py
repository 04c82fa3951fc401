"""The terminal: its width, its colours, and tables that fit into it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from datapkg.format.texts import aligned, width_of

GAP = 2
MIN_COLUMN = 8
STYLES = {"bold": "1", "red": "31", "yellow": "33", "cyan": "36", "dim": "2"}
_HASH = "sha256:"


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def has_colour(stream: TextIO | None) -> bool:
    """Return whether text on a stream is coloured: on a capable terminal, unless NO_COLOR is set (no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb")


def styled(text: str, *styles: str) -> str:
    """Return the text between the codes that switch these styles on and off."""
    return f"\x1b[{';'.join(STYLES[each] for each in styles)}m{text}\x1b[0m" if text else ""


def columns() -> int:
    """Return the width of the terminal, in characters."""
    from shutil import get_terminal_size

    return get_terminal_size().columns


def fitted(rows: Sequence[Sequence[str]], right: frozenset[int], width: int) -> list[str]:
    """Return the rows as lines with aligned columns, none longer than `width` where that is possible.

    Long cells are wrapped within their columns, between words where these fit. A hash is never broken: one could not
    copy it.
    """
    lines = aligned(rows, right, GAP)
    if max(map(width_of, lines)) <= width:
        return lines
    widths = _widths(rows, right, width)
    folded: list[list[str]] = []
    for row in rows:
        cells = [_wrapped(cell, limit) for cell, limit in zip(row, widths, strict=True)]
        height = max(map(len, cells))
        folded += [[cell[line] if line < len(cell) else "" for cell in cells] for line in range(height)]
    return aligned(folded, right, GAP)


def _widths(rows: Sequence[Sequence[str]], right: frozenset[int], width: int) -> list[int]:
    """Return the width of each column: the widest ones shrink, first to their longest word, then within words.

    Columns of numbers, those in `right`, keep theirs: `118 B` is one word.
    """
    cells = list(zip(*rows, strict=True))
    widths = [max(map(width_of, column)) for column in cells]
    available = width - GAP * (len(widths) - 1)
    words = [max(_longest_word(cell) for cell in column) for column in cells]
    hashes = [max(_longest_word(cell) if _HASH in cell else 1 for cell in column) for column in cells]
    for number in right:
        words[number] = hashes[number] = widths[number]
    for least in (words, [max(hash, min(word, MIN_COLUMN)) for hash, word in zip(hashes, words, strict=True)], hashes):
        while sum(widths) > available and (wide := [i for i, each in enumerate(widths) if each > least[i]]):
            widest = max(wide, key=widths.__getitem__)
            widths[widest] -= 1
    return widths


def _longest_word(cell: str) -> int:
    words = cell.split()
    return _indent(cell) + max(map(width_of, words)) if words else 1


def _indent(cell: str) -> int:
    return len(cell) - len(cell.lstrip(" "))


def wrapped_line(text: str, limit: int) -> list[str]:
    """Return a line of text as lines that fit into `limit` characters, each as far indented; an empty one stays one."""
    return _wrapped(text, limit) or [""]


def _wrapped(cell: str, limit: int) -> list[str]:
    """Return the lines of a cell, each with the indent of its text."""
    if width_of(cell) <= limit:
        return [cell]
    indent = " " * min(_indent(cell), limit - 1)
    limit -= len(indent)
    lines, line = [], ""
    for word in cell.split():
        joined = f"{line} {word}" if line else word
        if width_of(joined) <= limit:
            line = joined
            continue
        lines += [line] if line else []
        while width_of(word) > limit:
            head = _beginning(word, limit)
            lines.append(head)
            word = word[len(head) :]
        line = word
    return [indent + each for each in [*lines, line] if each]


def _beginning(word: str, limit: int) -> str:
    """Return as many characters of a word as fit, and at least one."""
    end = limit
    while end > 1 and width_of(word[:end]) > limit:
        end -= 1
    return word[:end]
