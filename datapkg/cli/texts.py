"""Texts for people: foreign text made harmless, sizes, times, hashes and aligned tables."""

from __future__ import annotations

from collections.abc import Sequence

from datapkg.format.visible import UNSAFE

SHOWN_HASH_DIGITS = 12
MAX_TEXT = 4000
UNITS = ("kB", "MB", "GB", "TB", "PB")


def clean(text: object) -> str:
    """One line of foreign text without what could command a terminal: blanks for line ends, `�` for the rest."""
    return UNSAFE.sub(lambda match: " " if match[0] in "\t\n\r" else "\ufffd", str(text))


def clean_lines(text: object) -> str:
    """Foreign text of several lines, all but the first indented, so that none can pass for a line of ours."""
    first, *rest = (clean(line.expandtabs(4)) for line in str(text).splitlines() or [""])
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in rest)])


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """The text itself, or its beginning and how much was left out."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} characters more)"


def shortened(text: str, limit: int) -> str:
    """The text itself, or its beginning up to the end of a word, and `…`; of at most `limit` characters."""
    if len(text) <= limit:
        return text
    start = text[: limit - 1]
    whole = start if text[limit - 1].isspace() else start.rpartition(" ")[0]
    return f"{(whole or start).rstrip()}…"


def size_text(size_bytes: int) -> str:
    """`950 B`, `12.3 kB`, `4.0 GB`: decimal units, as disks and networks are sold."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    power = next((n for n in range(1, len(UNITS)) if size_bytes < 999.95 * 1000**n), len(UNITS))
    return f"{size_bytes / 1000**power:.1f} {UNITS[power - 1]}"


def count_text(count: int, word: str) -> str:
    """`1 node`, `12,000 nodes`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def hash_text(hash: str) -> str:
    """The beginning of a hash, as a ref takes it."""
    return f"sha256:{hash[:SHOWN_HASH_DIGITS]}"


def time_text(at: str) -> str:
    """An ISO time (UTC) to the minute."""
    return at[:16].replace("T", " ")


def width_of(text: str) -> int:
    """Columns of a terminal that a text takes: letters of East Asian scripts take two, marks over letters none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def aligned(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset(), gap: int = 2) -> list[str]:
    """The rows as lines with their columns below each other; those whose number is in `right` end below each other."""
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths, right, " " * gap) for row in rows]


def _line(row: Sequence[str], widths: list[int], right: frozenset[int], gap: str) -> str:
    cells = []
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        blank = " " * (width - width_of(cell))
        cells.append(blank + cell if number in right else cell + blank)
    return gap.join(cells).rstrip()
