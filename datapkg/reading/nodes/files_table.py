"""The nodes below a group as a DataFrame, a row each, made from the manifest alone: a million of them in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from datapkg.errors import InvalidInput
from datapkg.format.manifest.parsed import GroupNode, TableNode
from datapkg.format.texts import quoted
from datapkg.reading.nodes.walking import lines
from datapkg.reading.source import Source

MAX_CELLS = 100_000_000
_AT_ONCE = 65_536
_SCHEMA = pa.schema(
    [
        *(("path", pa.string()), ("kind", pa.dictionary(pa.int32(), pa.string())), ("size", pa.int64())),
        *(("rows", pa.int64()), ("file_name", pa.string()), ("hash", pa.string())),
    ]
)
_GROUP = GroupNode(path="")


def files_table(source: Source, group: str, keys: Sequence[str] | None = None) -> pd.DataFrame:
    """Return path, kind, size, rows, file_name, hash, and a column `meta.KEY` for each key of metadata, or of `keys`.

    Raise `InvalidInput` if the keys of all metadata would make more than `MAX_CELLS` cells.
    """
    if isinstance(keys, str):
        raise InvalidInput(f"meta is a list of keys; for one write [{quoted(keys)}]")
    parts: list[pa.RecordBatch] = []
    columns: dict[str, dict[int, Any]] = {key: {} for key in keys or ()}
    rows: list[tuple[Any, ...]] = []
    count = 0
    for path, line in lines(source, group):
        entry = line or _GROUP
        if isinstance(entry, TableNode):
            rows.append((path, "table", entry.size, entry.rows, entry.file_name or None, None))
        elif isinstance(entry, GroupNode):
            rows.append((path, "group", 0, None, None, None))
        else:
            rows.append((path, entry.kind, entry.size, None, entry.file_name or None, entry.hash))
        for key in entry.meta:
            if keys is None:
                columns.setdefault(key, {})[count] = entry.meta[key]
            elif key in columns:
                columns[key][count] = entry.meta[key]
        count += 1
        if len(rows) == _AT_ONCE:
            parts.append(_batch(rows))
            rows = []
    parts.append(_batch(rows))
    if len(columns) * count > MAX_CELLS:
        raise _too_wide(source, group, list(columns), count)
    return _frame(pa.Table.from_batches(parts), {key: _column(values, count) for key, values in columns.items()})


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(_SCHEMA)
    return pa.record_batch([pa.array(each, field.type) for each, field in zip(columns, _SCHEMA, strict=True)], _SCHEMA)


def _column(values: dict[int, Any], count: int) -> pd.Series:
    """Return the values of one key in the type that pandas infers; lists and mappings stay objects."""
    column: list[Any] = [None] * count
    for at, value in values.items():
        column[at] = value
    nested = not {list, dict}.isdisjoint(map(type, values.values()))
    return pd.Series(column, dtype=object if nested else None)


def _frame(table: pa.Table, metadata: dict[str, pd.Series]) -> pd.DataFrame:
    frame = table.drop_columns("rows").to_pandas()
    # Files have no rows: without pandas' own type, those nulls would make floats of the numbers.
    frame.insert(3, "rows", pd.array(table["rows"].to_pandas(integer_object_nulls=True), dtype="Int64"))
    more = pd.DataFrame({f"meta.{key}": values for key, values in metadata.items()}, index=frame.index)
    return pd.concat([frame, more], axis=1) if metadata else frame


def _too_wide(source: Source, group: str, keys: list[str], rows: int) -> InvalidInput:
    place = f"{source.ref.package}{'/' + group if group else ''}"
    first = ", ".join(map(repr, keys[:3]))
    return InvalidInput(
        f"{place}: {len(keys):,} keys of metadata for {rows:,} nodes are more than {MAX_CELLS:,} cells; "
        f"name those that are wanted: to_frame(meta=[{first}])"
    )
