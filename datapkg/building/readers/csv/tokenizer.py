"""Tokenize a piece of raw text into columns of text: by pyarrow, or by pandas where the two may differ."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from datapkg.building.readers.csv.unsupported import UnsupportedByEngine

if TYPE_CHECKING:
    import pyarrow as pa

    from datapkg.building.readers.csv.dialect import CsvDialect


def tokens(data: bytes, layout: CsvDialect) -> tuple[list[pa.Array], bool]:
    """Return the used columns in order, and whether every non-blank line of the text is a row.

    Raise `UnsupportedByEngine` where pandas would raise an error, or where its result depends on the text before.
    """
    import pyarrow as pa

    check_text(data, layout)
    if not is_odd(data, layout):
        try:
            return by_arrow(data, layout), True
        except pa.ArrowInvalid:
            pass
    return _by_pandas(data, layout), False


def check_text(data: bytes, layout: CsvDialect) -> None:
    """Raise `UnsupportedByEngine` if text, even of an unused column, does not match its encoding, as in pandas."""
    if data.isascii():
        return
    if layout.is_ascii:
        raise UnsupportedByEngine("text beyond ASCII")
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        raise UnsupportedByEngine("text that is not UTF-8") from None


def is_odd(data: bytes, layout: CsvDialect) -> bool:
    """Return whether the parsers may differ: lone carriage returns, NUL, blank lines of a single column."""
    if b"\0" in data:
        return True
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        # After a lone carriage return, pandas processes a line that begins with blanks twice, which duplicates rows.
        if b"\r " in data or b"\r\t" in data:
            raise UnsupportedByEngine("lines that end with a carriage return, and begin with blanks")
        return True
    return layout.width == 1 and (data[:1] in b" \t" or b"\n " in data or b"\n\t" in data)


def by_arrow(data: bytes, layout: CsvDialect, types: Mapping[str, pa.DataType] | None = None) -> list[pa.Array]:
    """Return the columns as pyarrow reads them: as text unless `types` names a type. Raise `ArrowInvalid`."""
    import pyarrow as pa
    import pyarrow.csv as csv

    table = csv.read_csv(
        pa.BufferReader(pa.py_buffer(data)),
        csv.ReadOptions(column_names=layout.names, use_threads=False, block_size=len(data) + 1),
        # Without quotes in the text, parsing is faster if quoting is disabled.
        csv.ParseOptions(
            delimiter=layout.separator, quote_char='"' if b'"' in data else False, newlines_in_values=False
        ),
        csv.ConvertOptions(
            check_utf8=False,  # `check_text` did, for all columns at once
            column_types={**layout.arrow_types, **(types or {})},
            include_columns=layout.used_names,
            null_values=layout.missing_words,
            strings_can_be_null=True,
        ),
    )
    return [_one_array(column) for column in table.columns]


def _by_pandas(data: bytes, layout: CsvDialect) -> list[pa.Array]:
    """Return the columns as pandas reads them, below two added rows that tell it how many fields a record has."""
    import pandas
    import pyarrow as pa

    row = (layout.separator.join(['""'] * layout.width) + "\n").encode()
    head = layout.separator.join(layout.names).encode() + b"\n" + row
    try:
        frame = pandas.read_csv(
            io.BytesIO(head + data), dtype="str", engine="c", low_memory=False, **layout.pandas_options
        )
    except (pandas.errors.ParserError, ValueError) as error:
        raise UnsupportedByEngine(str(error)) from error
    return [_one_array(pa.array(frame[name].iloc[1:], pa.string(), from_pandas=True)) for name in layout.used_names]


def _one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column
