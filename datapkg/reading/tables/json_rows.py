"""Write a table as one JSON array with an object a row, streamed, one row a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.reading.tables import arrow_reader
from datapkg.reading.tables.cell_text import cell_text, columns_of, digits_of_times, explained, json_values, pieces
from datapkg.reading.tables.stored_table import StoredTable


def write_json(table: StoredTable) -> Iterator[bytes]:
    """Yield the bytes of a JSON array of objects.

    Nulls, NaN and infinities are null; times, durations and decimals are the text that csv has for them. Keys are the
    labels of columns, or their stored names if a label is empty or not unique. Raise `InvalidInput` for values that do
    not fit their type.
    """
    yield from explained(table, _write_json(table))


def _write_json(table: StoredTable) -> Iterator[bytes]:
    columns = columns_of(arrow_reader.schema(table))
    digits = digits_of_times(table, columns)
    count = Counter(each.label for each in columns)
    keys = [each.label if each.label and count[each.label] == 1 else each.name for each in columns]
    yield b"["
    lead = "\n"
    for batch in pieces(table):
        values = [_values(batch.column(each.at), digits.get(each.at)) for each in columns]
        rows = (json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) for row in zip(*values, strict=True))
        if text := ",\n".join(rows):
            yield (lead + text).encode()
            lead = ",\n"
    yield b"\n]\n"


def _values(array: pa.Array, digits: int | None) -> list[Any]:
    kind = array.type.value_type if types.is_dictionary(array.type) else array.type
    if types.is_temporal(kind) or types.is_decimal(kind):
        return cell_text(array, digits).to_pylist()
    return json_values(array)
