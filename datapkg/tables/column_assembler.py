"""Assemble one table from parts that are read side by side, numbers and times in one piece of memory a column.

The memory of a part is freed for the next part as soon as it is copied, so a table is rarely in memory twice:
allocating fresh memory is the slowest step of a load.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as types


class ColumnAssembler:
    """A table made of parts with these numbers of rows; parts may be added in any order, by many threads."""

    def __init__(self, schema: pa.Schema, rows: list[int]) -> None:
        self._schema, self._rows = schema, rows
        self._starts = [0, *accumulate(rows)]
        self._memory = [_memory(field.type, self._starts[-1]) for field in schema]
        self._kept: list[list[pa.ChunkedArray | None]] = [[None] * len(schema) for _ in rows]

    def add(self, number: int, part: pa.Table) -> None:
        """Copy the values of a part; keep the part's columns where they have nulls or values of varying length."""
        if len(part) != self._rows[number] or not part.schema.equals(self._schema):
            raise pa.ArrowInvalid(f"{len(part)} rows of {part.schema.names} are not what its footer says")
        for at, (column, memory) in enumerate(zip(part.columns, self._memory, strict=True)):
            if memory is None or column.null_count:
                self._kept[number][at] = column
                continue
            start = self._starts[number]
            for chunk in column.chunks:
                memory[start : start + len(chunk)] = _values(chunk, memory.dtype)
                start += len(chunk)

    def table(self) -> pa.Table:
        """Return the table, once all parts were added."""
        columns = [self._column(at, field.type) for at, field in enumerate(self._schema)]
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _column(self, at: int, kind: pa.DataType) -> pa.ChunkedArray:
        memory = self._memory[at]
        kept = [columns[at] for columns in self._kept]
        if memory is not None and not any(kept_column is not None for kept_column in kept):
            return pa.chunked_array([_array(kind, memory)])
        chunks: list[pa.Array] = []
        for number, column in enumerate(kept):
            if column is not None:
                chunks += column.chunks
            elif memory is not None:
                chunks.append(_array(kind, memory[self._starts[number] : self._starts[number + 1]]))
        return pa.chunked_array(chunks, type=kind)


def _memory(kind: Any, rows: int) -> Any:
    """Return memory for values of a fixed number of bytes; None for other types."""
    if not types.is_primitive(kind) or types.is_boolean(kind):
        return None
    # Raw bytes: values are copied without a look at their type.
    return np.empty(rows, np.dtype(f"V{kind.bit_width // 8}"))


def _values(chunk: pa.Array, dtype: Any) -> Any:
    return np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)


def _array(kind: Any, memory: Any) -> pa.Array:
    return pa.Array.from_buffers(kind, len(memory), [None, pa.py_buffer(memory.view(np.uint8))])
