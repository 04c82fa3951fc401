"""The corner of an array at the beginning of its object; no more is read than is shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from datapkg.errors import CorruptObject, InvalidInput, exhausted
from datapkg.format.manifest.parsed import ArrayNode
from datapkg.reading.source import Source
from datapkg.tables.npy_header import read_header


def array_preview(
    source: Source, entry: ArrayNode, limits: tuple[int, int], limit_bytes: int
) -> np.ndarray[tuple[int, int], np.dtype[Any]] | None:
    """Return the first values of the first rows, in two dimensions; one row if it is not a matrix in C order.

    None for types without single values to show. Raise `ObjectNotFound`, `CorruptObject`.
    """
    with source.open(entry.path, entry.hash) as stream:
        try:
            shape, is_by_columns, kind = read_header(stream)
            if kind.hasobject or kind.fields or kind.subdtype or not kind.itemsize:
                return None
            data = stream.read(limit_bytes)
        except InvalidInput as error:
            what = f"{source.ref.package}/{entry.path} cannot be read as an array: {error}"
            raise exhausted(error) or CorruptObject(what) from error
    total = min(len(data) // kind.itemsize, math.prod(shape))
    values = np.frombuffer(data, kind, total)
    rows, columns = limits
    if len(shape) == 2 and not is_by_columns and 0 < shape[1] <= total:
        return values[: total // shape[1] * shape[1]].reshape(-1, shape[1])[:rows, :columns]
    return values[:columns].reshape(1, -1)
