"""Detect a CSV file without a header: its first line, used as column names, looks like a row of data."""

from __future__ import annotations

import csv
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from datapkg.building.readers.compression import ERRORS, open_text
from datapkg.format.texts import quoted

_ROWS, _LINE_BYTES, _NAMES_SHOWN = 30, 1 << 20, 4
_FEW_IDS, _YEARS = 3, range(1800, 2200)
# With one of these kwargs the user has declared where names are, or lines cannot be split this simply.
_SAID = frozenset({"header", "names", "skiprows", "comment", "index_col", "dialect", "decimal", "compression"})


def header_note(path: Path, kwargs: dict[str, Any]) -> str:
    """Return a warning if the column names look like data; "" if they do not.

    They look like data if some are numbers above columns of numbers, and every other one is also a value of its column
    or one of the numbers begins a column of growing ids. Consecutive integers (0, 1, 2 or years) count as names.
    """
    separator = kwargs.get("sep") or kwargs.get("delimiter")
    if kwargs.keys() & _SAID or not isinstance(separator, str) or len(separator) != 1:
        return ""
    rows = _first_rows(path, separator)
    if len(rows) < 2 or not _is_data(rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]):
        return ""
    named = ", ".join(map(quoted, rows[0][:_NAMES_SHOWN])) + (", …" if len(rows[0]) > _NAMES_SHOWN else "")
    return f"the first line looks like data, and names the columns: {named}; if it is data: kwargs: {{header: null}}"


def _first_rows(path: Path, separator: str) -> list[list[str]]:
    with suppress(*ERRORS, csv.Error), open_text(path) as stream:
        lines = [line for _ in range(_ROWS) if (line := stream.readline(_LINE_BYTES)).strip()]
        texts = [line.decode("utf-8-sig", "replace") for line in lines]
        return list(islice(csv.reader(texts, delimiter=separator), _ROWS))
    return []


def _is_data(names: list[str], rows: list[list[str]]) -> bool:
    numbers = {at for at, name in enumerate(names) if _is_number(name)}
    if not numbers or not rows or (len(numbers) == len(names) > 1 and _counts_up(names)):
        return False
    columns = list(zip(*rows, strict=True))
    if not all(_is_number(value) or not value for at in numbers for value in columns[at]):
        return False
    if any(_begins_ids([names[at], *columns[at]]) for at in numbers):
        return True
    return all(name and name in columns[at] for at, name in enumerate(names) if at not in numbers)


def _begins_ids(values: list[str]) -> bool:
    """Return whether whole numbers grow from the first one on; a year is probably the name of a column."""
    if len(values) <= _FEW_IDS or not all(value.isascii() and value.isdigit() for value in values):
        return False
    numbers = [int(value) for value in values]
    return numbers[0] not in _YEARS and all(earlier < later for earlier, later in pairwise(numbers))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python takes, and pandas does not


def _counts_up(names: list[str]) -> bool:
    numbers = [float(name) for name in names]
    return all(later - earlier == 1 for earlier, later in pairwise(numbers))
