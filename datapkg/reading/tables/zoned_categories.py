"""Categories of times with a time zone, of which pyarrow makes the same moments in UTC, without a zone."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.types as types

from datapkg.reading.tables.arrow_reader import index_columns


def restore_zones(frame: pd.DataFrame, schema: pa.Schema) -> pd.DataFrame:
    """Return a frame that pyarrow made of a table with this schema, its categories in their time zones."""
    zones = {field.name: field.type.value_type.tz for field in schema if _is_zoned(field.type)}
    if not zones:
        return frame
    index = index_columns(schema)
    shown = [name for name in schema.names if name not in index]
    for at, name in enumerate(shown):
        if name in zones and isinstance(frame.dtypes.iloc[at], pd.CategoricalDtype):
            frame.isetitem(at, _zoned(frame.iloc[:, at].array, zones[name]))
    if not zones.keys().isdisjoint(index) and len(index) == frame.index.nlevels:
        levels = [frame.index.get_level_values(at) for at in range(len(index))]
        levels = [
            pd.Index(_zoned(each.array, zones[name])) if name in zones else each
            for name, each in zip(index, levels, strict=True)
        ]
        names = frame.index.names
        frame.index = levels[0].rename(names[0]) if len(levels) == 1 else pd.MultiIndex.from_arrays(levels, names=names)
    return frame


def _is_zoned(kind: pa.DataType) -> bool:
    return bool(types.is_dictionary(kind) and types.is_timestamp(kind.value_type) and kind.value_type.tz)


def _zoned(values: Any, zone: str) -> Any:
    """Return a categorical, or an array of times, in a zone."""
    if isinstance(values, pd.Categorical):
        times: Any = pd.DatetimeIndex(values.categories)
        return values.rename_categories(times.tz_localize("UTC").tz_convert(zone) if times.tz is None else times)
    return values.tz_localize("UTC").tz_convert(zone) if getattr(values, "tz", zone) is None else values
