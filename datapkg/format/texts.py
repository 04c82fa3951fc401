"""Text for display: make foreign text safe to show, format sizes and counts, shorten lists, align columns.

All text by others (names, descriptions, cells, messages of a server) passes `visible`, `visible_lines` or `one_line`
before a terminal, a notebook, a page or a log shows it. All four use the same set of hidden characters: a name that is
harmless in one place must not look like another name elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

SHOWN_HASH_DIGITS = 12
MAX_TEXT = 4000
UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")

# Unassigned code points are not included: they are drawn as boxes, and the set depends on Python's version.
_ALWAYS_HIDDEN = (
    "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"  # controls (category Cc), line separators, lone surrogates
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of text
    "\u00ad\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"  # other Cf
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u034f\u115f\u1160\u17b4\u17b5\u180e\u2800\u3164\ufe00-\ufe0d\uffa0"  # ignorable or blank, in other categories
    "\ue000-\uf8ff\U000f0000-\U0010ffff"  # private use: a font may draw anything
)
# Joiners and variation selectors form letters of Arabic and Indic scripts, and emoji; elsewhere they are invisible.
_SHAPING = "\u180b-\u180d\u180f\u200c\u200d\ufe0e\ufe0f"
_SHAPED = "\xa9\xae\u0590-\u115e\u1161-\u17b3\u17b6-\u180a\u1810-\u1cff\u203c-\u27ff\u2900-\u2bff\u3030-\u3299\ufe0f"
_SHAPED += "\ua8e0-\uabff\U0001f000-\U0001faff\U00011000-\U000110bc"
_TO_BLANKS = str.maketrans("\t\n\r", "   ")
_NUMBERS = {"i": "int", "u": "uint", "f": "float", "c": "complex"}  # numpy's kinds


@cache
def hidden() -> re.Pattern[str]:
    """Return the pattern of one hidden character; compiling it takes 4 ms, which an import of a package avoids."""
    return re.compile(f"[{_ALWAYS_HIDDEN}]|(?<![{_SHAPED}])[{_SHAPING}](?!\\u20e3)")


def visible(text: object, limit: int | None = None) -> str:
    """Return text with each hidden character as its code point, `a⟨U+202E⟩b`, and `…` after `limit` characters."""
    text = str(text)
    if limit is not None and len(text) > limit:
        text = text[:limit] + "…"
    return text if text.isascii() and text.isprintable() else hidden().sub(_code_point, text)


def visible_lines(text: str) -> str:
    """Return the same for text of several lines, keeping line ends (`\\r\\n` as `\\n`) and tabs."""
    text = text.replace("\r\n", "\n")
    return hidden().sub(lambda match: match[0] if match[0] in "\n\t" else _code_point(match), text)


def one_line(text: object) -> str:
    """Return the text on one line, with blanks for line ends and tabs."""
    return visible(str(text).translate(_TO_BLANKS))


def indented_lines(text: object) -> str:
    """Return text of several lines with all but the first indented, so that none can be mistaken for our own output."""
    first, *rest = (visible(line.expandtabs(4)) for line in str(text).splitlines() or [""])
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in rest)])


def _code_point(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match[0]):04X}⟩"


def quoted(text: object, limit: int = 80) -> str:
    """Return foreign text quoted for a message, cut at `limit` characters."""
    text = str(text)
    return visible(repr(text if len(text) <= limit else text[:limit] + "…"))


def cut(text: str, limit: int = MAX_TEXT) -> str:
    """Return the text, or its beginning and how much was cut off."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} characters more)"


def shortened(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters: a longer one ends after a word, with `…`."""
    if len(text) <= limit:
        return text
    start = text[: limit - 1]
    whole = start if text[limit - 1].isspace() else start.rpartition(" ")[0]
    return f"{(whole or start).rstrip()}…"


def size_text(size_bytes: int) -> str:
    """Return `950 B`, `12.3 kB` or `4.0 GB`, in the decimal units used for disks and networks."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    power = next((n for n in range(1, len(UNITS)) if size_bytes < 999.95 * 1000**n), len(UNITS))
    return f"{size_bytes / 1000**power:.1f} {UNITS[power - 1]}"


def count_text(count: int, word: str) -> str:
    """Return `1 node` or `12,000 nodes`; the plural of `word` ends in s."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def dtype_text(dtype: str) -> str:
    """Return the name of a numeric dtype, `float64` for `<f8`; any other text unchanged."""
    found = re.fullmatch(r"[<>|=]?([iufc])(\d{1,2})", dtype)
    if found is None:
        return "bool" if dtype == "|b1" else dtype
    return f"{_NUMBERS[found[1]]}{int(found[2]) * 8}"


def hash_text(hash: str) -> str:
    """Return the beginning of a hash, in the form that a ref accepts."""
    return f"sha256:{hash[:SHOWN_HASH_DIGITS]}"


def time_text(at: str) -> str:
    """Return an ISO time (UTC) to the minute."""
    return at[:16].replace("T", " ")


def listed(items: Sequence[object], limit: int, write: Callable[[object], str] = quoted) -> str:
    """Return the first items separated by commas, then how many were omitted: `'a', 'b' and 3 more`."""
    more = f" and {len(items) - limit:,} more" if len(items) > limit else ""
    return ", ".join(map(write, items[:limit])) + more


def first_lines(lines: Sequence[str], limit: int, indent: str = "") -> list[str]:
    """Return the first lines, then a line `… and 3 more` if some were omitted."""
    more = [f"… and {len(lines) - limit:,} more"] if len(lines) > limit else []
    return [indent + line for line in (*lines[:limit], *more)]


def width_of(text: str) -> int:
    """Return the terminal columns that a text takes: East Asian wide letters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def padded(text: str, width: int, right: bool = False) -> str:
    """Return the text filled with spaces up to a width in terminal columns; with `right` it is aligned right."""
    blank = " " * (width - width_of(text))
    return blank + text if right else text + blank


def aligned(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset(), gap: int = 2) -> list[str]:
    """Return the rows as lines with aligned columns; columns whose number is in `right` are aligned right."""
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    cells = [[padded(each, widths[n], n in right) for n, each in enumerate(row)] for row in rows]
    return [(" " * gap).join(line).rstrip() for line in cells]


def unchecked_text(paths: list[str]) -> str:
    """Return a sentence that names tables whose content a registry did not check when they were pushed."""
    return f"the registry has not checked the content of {_tables(paths)}"


def unverified_text(paths: list[str]) -> str:
    """Return a sentence that names tables whose content is verified neither here nor, as far as known, elsewhere."""
    return f"the content of {_tables(paths)} is not known to be verified"


def _tables(paths: list[str]) -> str:
    return f"{'tables' if len(paths) > 1 else 'table'} {listed(paths, 5)}"
