"""Derive the Arrow schema of a frame from its labels and dtypes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import pyarrow as pa

# One value of each dtype: the Arrow type of an object column depends on its values.
_SAMPLES: dict[str, Any] = {"bool": True, "boolean": True, "object": True, "str": "x", "string": "x"}


def schema_of(labels: pandas.Index, dtypes: Sequence[Any]) -> pa.Schema:
    """Return the schema that `table_from_frame` gives to a frame with these columns, in the types read from Parquet."""
    import pandas

    from datapkg.tables.storage_types import to_storage_types

    columns = [pandas.Series([_SAMPLES.get(str(dtype), 1)], dtype=dtype) for dtype in dtypes]
    frame = pandas.concat(columns, axis=1).set_axis(labels, axis=1)
    return to_storage_types(_table(frame)).schema


def _table(frame: pandas.DataFrame) -> pa.Table:
    from datapkg.tables.frame_to_arrow import table_from_frame

    return table_from_frame(frame)
