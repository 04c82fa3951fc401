"""Foreign text and numbers in words that are safe to show."""

from __future__ import annotations

import unicodedata

UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_HIDDEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")  # control, direction, unassigned, private, surrogate, separators


def visible(text: object, limit: int = 1_000) -> str:
    """Text with every character that cannot be seen, or that turns others around, written as an escape."""
    text = str(text)
    text = text if len(text) <= limit else text[:limit] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


def visible_lines(text: str, limit: int) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(visible(line.replace("\t", "    "), limit) for line in text[:limit].splitlines())


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def width(text: str) -> int:
    """How many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def pad(text: str, to: int) -> str:
    """The text, filled with spaces up to a width."""
    return text + " " * (to - width(text))


def count(number: int, what: str) -> str:
    """`1 row`, `9,900 rows`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size(size_bytes: int) -> str:
    """A number of bytes with three digits: `2.35 kB`."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value, unit = size_bytes / 1000, 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {UNITS[unit]}"
