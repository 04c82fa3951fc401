"""Arrow's values from those of Python and numpy, and back, without pandas.

`pa.array`, `pa.scalar` and `to_numpy` import pandas, which takes longer than many a command takes otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa


def text_array(texts: Sequence[str]) -> pa.Array:
    """Return texts as large strings."""
    encoded = [text.encode() for text in texts]
    offsets = np.array([0, *accumulate(map(len, encoded))], np.int64)
    return pa.Array.from_buffers(
        pa.large_string(), len(encoded), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def text_scalar(text: str) -> pa.Scalar:
    """Return a text as a large string."""
    return text_array([text])[0]


def empty_table(schema: pa.Schema) -> pa.Table:
    """Return a table without rows: as `Schema.empty_table`, which imports pandas."""
    return pa.Table.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)


def boolean_array(values: Any) -> pa.Array:
    """Return a numpy array of booleans as Arrow's."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def is_valid(array: pa.Array) -> Any:
    """Return which values of an array are not null, as a numpy array of booleans."""
    return booleans_of(array.is_valid())


def booleans_of(array: pa.Array) -> Any:
    """Return Arrow's booleans as a numpy array; undefined for nulls."""
    bits = np.frombuffer(array.buffers()[1], np.uint8)[array.offset // 8 : (array.offset + len(array) + 7) // 8]
    return np.unpackbits(bits, bitorder="little")[array.offset % 8 :][: len(array)].view(bool)


def numbers_of(array: pa.Array, dtype: Any) -> Any:
    """Return values of a fixed width as a numpy array of this type, which shares their memory; undefined for nulls."""
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * np.dtype(dtype).itemsize)


def zero_for_null(array: pa.Array, dtype: Any) -> Any:
    """Return the same with 0 for nulls."""
    values = numbers_of(array, dtype)
    return np.where(is_valid(array), values, np.dtype(dtype).type(0)) if array.null_count else values


def offsets_of(text: pa.Array, dtype: Any) -> Any:
    """Return where each text begins in its buffer, and where the last one ends: int32, or int64 of large strings."""
    return np.frombuffer(text.buffers()[1], dtype, len(text) + 1, text.offset * np.dtype(dtype).itemsize)
