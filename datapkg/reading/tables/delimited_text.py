"""Write a table as delimited text, a few thousand rows at a time, in threads.

Text is quoted (RFC 4180) where necessary; empty text is `""`, and a null is the dialect's marker without quotes, by
default nothing. `cell_text` renders single values.
"""

from __future__ import annotations

import ast
import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.objects.progress import Share, ignore_share
from datapkg.reading.tables import arrow_reader
from datapkg.reading.tables.cell_text import (
    TextColumn,
    cell_text,
    columns_of,
    compact,
    digits_of_times,
    explained,
    pieces,
)
from datapkg.reading.tables.line_join import joined_lines, plain_lines
from datapkg.reading.tables.number_texts import number_texts
from datapkg.reading.tables.quoting import quoted
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.arrow_values import text_array, text_scalar
from datapkg.tables.ordered_map import in_threads

Bytes = bytes | memoryview
Check = Callable[[pa.RecordBatch, memoryview, bool], Any]
_USUAL = ",;\t|"  # separators that are no part of a number or time


@dataclass(frozen=True)
class Dialect:
    """How rows become lines.

    - `levels` is how many lines the header has, for labels of several levels; unless it `names_index`, it is shorter
      than the rows by the columns of the index. These come first, or at the places `index_at`.
    - `missing` is the marker of a null, `missing_of` those of single columns.
    - `date_formats` are strftime formats by label ("" for all columns). With `full_times` a time shows all digits of
      its unit, else as many as any value of its column needs.
    - For a reader that leaves out lines, there are as many as it expects: the header again `above` times, blank lines
      at the places `skipped` in and around the header, and a `footer`.
    """

    separator: str = ","
    quote: str = '"'
    has_header: bool = True
    levels: int = 1
    names_index: bool = True
    index_at: tuple[int, ...] = ()
    missing: str = ""
    missing_of: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    decimal: str = "."
    booleans: tuple[str, str] = ("True", "False")
    above: int = 0
    skipped: frozenset[int] = frozenset()
    footer: int = 0
    date_formats: Mapping[str, str] = field(default_factory=dict)
    full_times: bool = False

    def marker(self, label: str) -> str:
        """Return the marker of a null in a column."""
        return self.missing_of.get(label, self.missing)


def write_text(
    table: StoredTable, dialect: Dialect, check: Check | None = None, share: Share = ignore_share
) -> Iterator[Bytes]:
    """Yield the bytes of a table as text; `check` is called with each batch and its text in UTF-8, in threads.

    Its third argument is whether certainly no cell has a quote, a separator or a line end. `share` is called with how
    much of the table was written. Raise `InvalidInput` for values that are not what their type says, UnicodeEncodeError
    for a character that the dialect's encoding lacks.
    """
    yield from explained(table, _write_text(table, dialect, check, share))


def _write_text(table: StoredTable, dialect: Dialect, check: Check | None, share: Share) -> Iterator[Bytes]:
    columns = _in_places(columns_of(arrow_reader.schema(table)), dialect.index_at)
    encoder = codecs.getincrementalencoder(dialect.encoding)()
    is_utf8 = codecs.lookup(dialect.encoding).name == "utf-8"
    digits = {} if dialect.full_times else digits_of_times(table, columns)
    yield encoder.encode(_head(columns, dialect))
    lines_of = partial(_checked_lines, columns=columns, dialect=dialect, digits=digits, check=check)
    done = 0
    for rows, lines in in_threads(lines_of, pieces(table)):
        done += rows
        share(done / table.node.rows)
        yield lines if is_utf8 else encoder.encode(str(lines, "utf-8"))
    yield encoder.encode((dialect.separator * (len(columns) - 1) + "-\n") * dialect.footer, final=True)


def _in_places(columns: list[TextColumn], places: tuple[int, ...]) -> list[TextColumn]:
    index = [each for each in columns if each.is_index]
    if len(index) != len(places):
        return columns
    found = [each for each in columns if not each.is_index]
    # From left to right, so that no later one moves an earlier one.
    for place, column in sorted(zip(places, index, strict=True), key=lambda pair: pair[0]):
        found.insert(place, column)
    return found


def _head(columns: list[TextColumn], dialect: Dialect) -> str:
    """Return all that precedes the rows."""
    waiting = _header(columns, dialect) * (1 + dialect.above) if dialect.has_header else []
    lines: list[str] = []
    while waiting or len(lines) in dialect.skipped:
        lines.append("\n" if len(lines) in dialect.skipped else waiting.pop(0))
    return "".join(lines)


def _header(columns: list[TextColumn], dialect: Dialect) -> list[str]:
    columns = [each for each in columns if dialect.names_index or not each.is_index]
    lines = [[each.label for each in columns]]
    if dialect.levels > 1:
        lines = [list(line) for line in zip(*(_levels(each, dialect.levels) for each in columns), strict=True)]
    return [_header_line(line, dialect) for line in lines]


def _header_line(labels: list[str], dialect: Dialect) -> str:
    cells = quoted(text_array(labels), dialect.separator, dialect.quote).to_pylist()
    # An empty label is written without quotes, except alone on its line: readers skip a blank one.
    empty = dialect.quote * 2
    return dialect.separator.join(cell if cell != empty or len(cells) == 1 else "" for cell in cells) + "\n"


def _levels(column: TextColumn, levels: int) -> tuple[str, ...]:
    """Return the label of each level; pyarrow keeps such a label as the text of a tuple."""
    try:
        found = ast.literal_eval(column.label)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if isinstance(found, tuple) and len(found) == levels:
        return tuple(map(str, found))
    return (column.label, *[""] * (levels - 1))


def _checked_lines(batch: pa.RecordBatch, check: Check | None, **how: Any) -> tuple[int, memoryview]:
    text, is_plain = _lines(batch, **how)
    if check is not None:
        check(batch, text, is_plain)
    return len(batch), text


def _lines(
    batch: pa.RecordBatch, columns: list[TextColumn], dialect: Dialect, digits: dict[int, int]
) -> tuple[memoryview, bool]:
    """Return the lines of a batch, and whether Arrow's writer has found that no cell needs quotes."""
    if not len(batch):
        return memoryview(b""), True
    texts = []
    is_plain = dialect.separator in _USUAL
    for column in columns:
        missing = dialect.marker(column.label)
        # A null alone on its line would be a blank line, which readers skip.
        missing = missing if missing or len(columns) > 1 else dialect.quote * 2
        cells, are_plain = _cells(batch.column(column.at), column, dialect, digits.get(column.at), not missing)
        texts.append(cells.fill_null(text_scalar(missing)) if cells.null_count else cells)
        is_plain &= are_plain
    if is_plain and (lines := plain_lines(texts, dialect.separator)) is not None:
        return lines, True
    return joined_lines(texts, dialect.separator), False


def _cells(
    array: pa.Array, column: TextColumn, dialect: Dialect, digits: int | None, are_blank: bool = False
) -> tuple[pa.Array, bool]:
    """Return the text of each cell, and whether none needs quotes; nulls stay nulls, or may be empty."""
    rendered = partial(_rendered, column=column, dialect=dialect, digits=digits)
    is_known = _has_no_special(column, dialect)
    if dialect.decimal == "." and (texts := number_texts(array, rendered, are_blank and is_known)) is not None:
        return (texts, True) if is_known else _quoted(texts, column, dialect)
    array = compact(array)  # the values of a dictionary are done once
    if types.is_dictionary(array.type):
        cells, are_plain = _cells(array.dictionary, column, dialect, digits)
        return cells.take(array.indices), are_plain
    return _quoted(rendered(array), column, dialect)


def _quoted(text: pa.Array, column: TextColumn, dialect: Dialect) -> tuple[pa.Array, bool]:
    if _has_no_special(column, dialect):
        return text, True
    cells = quoted(text, dialect.separator, dialect.quote)
    return cells, cells is text


def _has_no_special(column: TextColumn, dialect: Dialect) -> bool:
    """Return whether no value of a column needs quotes, whatever it is."""
    if dialect.separator not in _USUAL:
        return False
    if types.is_integer(column.kind) or types.is_floating(column.kind):
        return dialect.decimal != dialect.separator
    # The forms of dates and times have letters, digits, blanks inside, and `:.+-`.
    return types.is_temporal(column.kind) and dialect.quote in "\"'" and not dialect.date_formats


def _rendered(array: pa.Array, column: TextColumn, dialect: Dialect, digits: int | None) -> pa.Array:
    """Return the text of each cell as the dialect has it, as large strings."""
    return _text(array, column, dialect, digits).cast(pa.large_string())


def _text(array: pa.Array, column: TextColumn, dialect: Dialect, digits: int | None) -> pa.Array:
    format = dialect.date_formats.get(column.label, dialect.date_formats.get("", ""))
    if types.is_timestamp(array.type) and format:
        # Arrow's %S includes the fraction, with the digits of the time's unit.
        unit = "us" if "%S.%f" in format else "s"
        times = array.cast(pa.timestamp(unit, array.type.tz), safe=False)
        return pc.strftime(times, format.replace("%S.%f", "%S"))
    if types.is_boolean(array.type):
        yes, no = dialect.booleans
        return pc.if_else(array, text_scalar(yes), text_scalar(no))
    text = cell_text(array, digits)
    if dialect.decimal != "." and (types.is_floating(array.type) or types.is_decimal(array.type)):
        return pc.replace_substring(text, ".", dialect.decimal)
    return text
