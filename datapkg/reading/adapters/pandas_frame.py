"""A table as a DataFrame whose columns pandas keeps in types of numpy, of its own that have nulls, or of Arrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from datapkg.errors import InvalidInput
from datapkg.format.names import shown
from datapkg.reading import parquet
from datapkg.reading.nodes.interchange import Exchanged

_WITH_NULLS: dict[pa.DataType, Any] = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype(),
    pa.large_string(): pd.StringDtype(),
}
BACKENDS: dict[str, Callable[[pa.DataType], Any]] = {"pyarrow": pd.ArrowDtype, "numpy_nullable": _WITH_NULLS.get}


def convert(table: Exchanged, columns: Sequence[str] | None, filters: Any, dtype_backend: str | None) -> pd.DataFrame:
    """A DataFrame of its own; `dtype_backend` as pandas' readers have it."""
    if dtype_backend is None:
        return table(columns, filters)
    if dtype_backend not in BACKENDS:
        raise InvalidInput(f"dtype_backend is one of {', '.join(BACKENDS)}; got {shown(dtype_backend)}")
    found = parquet.read(table.__source__, table.__entry__, columns, filters, index=True)
    frame: pd.DataFrame = found.to_pandas(types_mapper=BACKENDS[dtype_backend], ignore_metadata=False)
    return frame
