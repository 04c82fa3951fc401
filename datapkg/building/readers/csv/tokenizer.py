"""A piece of raw text becomes columns of text, with missing values: by pyarrow, or by pandas where these may differ."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from datapkg.building.readers.csv.unsupported import UnsupportedByEngine

if TYPE_CHECKING:
    import pyarrow as pa

    from datapkg.building.readers.csv.dialect import CsvDialect


def tokens(data: bytes, layout: CsvDialect) -> tuple[list[pa.Array], bool]:
    """Return the columns that are used, in order, and whether every line of text that is not blank is a row.

    Raise `Leave` for what pandas would raise an error for, or reads in a way that depends on the text before.
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
    """Raise if the text does not match its encoding: unused columns too, as pandas decodes all."""
    if data.isascii():
        return
    if layout.is_ascii:
        raise UnsupportedByEngine("text beyond ASCII")
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        raise UnsupportedByEngine("text that is not UTF-8") from None


def is_odd(data: bytes, layout: CsvDialect) -> bool:
    """Return whether the parsers may differ in this text: by lone carriage returns, NUL, blank lines of one column."""
    if b"\0" in data:
        return True
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        # pandas looks at a line that begins with blanks twice, from the last newline on: rows come twice.
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
        # Where there are no quotes it is quicker not to look for them.
        csv.ParseOptions(
            delimiter=layout.separator, quote_char='"' if b'"' in data else False, newlines_in_values=False
        ),
        csv.ConvertOptions(
            check_utf8=False,
            column_types={**layout.arrow_types, **(types or {})},
            include_columns=layout.used_names,
            null_values=layout.missing_words,
            strings_can_be_null=True,
        ),
    )
    return [_one_array(column) for column in table.columns]


def _by_pandas(data: bytes, layout: CsvDialect) -> list[pa.Array]:
    """Return the text below two rows of ours, from which pandas knows how many fields a record has."""
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
