"""Find the range of cells in a sheet of an .xlsx file from the cells themselves, because its `dimension` may be wrong.

It is needed only for the error about a sheet that is too large, to name the cell that causes it.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

_CELL = re.compile(rb'<(?:\w+:)?c\s[^<>]*?\br="([A-Z]{1,3})([0-9]{1,10})"')
_SHEET_ID = re.compile(r'<(?:\w+:)?sheet\s[^<>]*?\w+:id="([^"]*)"')
_RELATIONSHIP = re.compile(r"<(?:\w+:)?Relationship\s[^<>]*>")
_PIECE_BYTES, _LONGEST_TAG, _MAX_BYTES = 1 << 20, 1 << 10, 4 << 30


def cell_range(path: Path, number: int) -> tuple[str, str] | None:
    """Return the first and last corner of the sheet with this number, such as `A1` and `XFD99`; None if unknown."""
    try:
        with zipfile.ZipFile(path) as archive:
            cells = list(_extremes(archive, _part(archive, number)))
    except (zipfile.BadZipFile, KeyError, IndexError, OSError, EOFError, NotImplementedError, RuntimeError):
        return None
    if not cells:
        return None
    columns, rows = [column for column, _ in cells], [row for _, row in cells]
    return f"{_letters(min(columns))}{min(rows)}", f"{_letters(max(columns))}{max(rows)}"


def _part(archive: zipfile.ZipFile, number: int) -> str:
    """Return the name of the archive member that contains a sheet."""
    book = archive.read("xl/workbook.xml").decode("utf-8", "replace")
    links = archive.read("xl/_rels/workbook.xml.rels").decode("utf-8", "replace")
    wanted = _SHEET_ID.findall(book)[number]
    targets = {}
    for link in _RELATIONSHIP.findall(links):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', link))
        targets[attributes.get("Id")] = attributes.get("Target", "")
    return posixpath.normpath(posixpath.join("/xl", targets[wanted])).lstrip("/")


def _extremes(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[int, int]]:
    """Yield (column, row), from 1, of each cell that extends the range of the cells before it."""
    left = top = 2**63
    right = bottom = 0
    with archive.open(part) as stream:
        rest, read = b"", 0
        while (piece := stream.read(_PIECE_BYTES)) and read < _MAX_BYTES:
            read += len(piece)
            text = rest + piece
            for letters, digits in _CELL.findall(text):
                column, row = _column(letters), int(digits)
                if column < left or column > right or row < top or row > bottom:
                    left, right, top, bottom = min(left, column), max(right, column), min(top, row), max(bottom, row)
                    yield column, row
            rest = text[max(text.rfind(b"<"), len(text) - _LONGEST_TAG) :]


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _letters(column: int) -> str:
    text = ""
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text
