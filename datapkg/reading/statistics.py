"""What Parquet footers know of a table's columns without a value being read: nulls, least and greatest, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from datapkg.format.manifest import TableNode
from datapkg.reading import parquet
from datapkg.reading.source import Source


@dataclass(frozen=True)
class ColumnStatistics:
    """Of one column: how many values are null, the least and the greatest of the others, and bytes.

    None stands for what the footers do not say exactly: nothing is guessed. NaN counts as a value and is neither least
    nor greatest. `size_bytes` are those of the objects, `uncompressed_bytes` what they decompress to.
    """

    nulls: int | None
    least: Any
    greatest: Any
    size_bytes: int
    uncompressed_bytes: int


def column_statistics(source: Source, table: TableNode) -> dict[str, ColumnStatistics]:
    """The statistics of each stored column by its name; of nested columns, and of names that are twice there, only
    bytes.

    Raises `ObjectNotFound`, `CorruptObject`.
    """
    names = [name for name, _ in table.columns]
    parts: dict[str, list[pq.ColumnChunkMetaData]] = {name: [] for name in names}
    for footer in parquet.footers(source, table):
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for at in range(group.num_columns):
                chunk = group.column(at)
                parts.setdefault(_column_of(chunk.path_in_schema, parts), []).append(chunk)
    return {name: _joined(name, parts[name], _is_unclear(name, names)) for name in dict.fromkeys(names)}


def _is_unclear(name: str, names: list[str]) -> bool:
    """Whether a leaf of this path could be of another column too: a twin, or a field of a column of structs."""
    return names.count(name) > 1 or any(name.startswith(f"{other}.") for other in names)


def _column_of(path: str, names: dict[str, Any]) -> str:
    """The column that a leaf belongs to: a name may have dots in it, and the path of a nested one has more."""
    while path not in names and "." in path:
        path = path.rpartition(".")[0]
    return path


def _joined(name: str, chunks: Sequence[pq.ColumnChunkMetaData], is_unclear: bool) -> ColumnStatistics:
    sizes = sum(each.total_compressed_size for each in chunks), sum(each.total_uncompressed_size for each in chunks)
    if is_unclear or any(each.path_in_schema != name for each in chunks):
        return ColumnStatistics(None, None, None, *sizes)
    found = [(each.num_values, each.statistics if each.is_stats_set else None) for each in chunks]
    nulls = [
        0 if not count else each.null_count if each is not None and each.has_null_count else None
        for count, each in found
    ]
    total = None if None in nulls else sum(each for each in nulls if each is not None)
    valued = [each for (count, each), null in zip(found, nulls, strict=True) if null is None or count > null]
    if not valued or any(each is None or not each.has_min_max for each in valued):
        return ColumnStatistics(total, None, None, *sizes)
    try:
        least, greatest = min(each.min for each in valued), max(each.max for each in valued)  # type: ignore[union-attr]
    except (ArithmeticError, NotImplementedError, TypeError, ValueError):  # what Python has no value for
        return ColumnStatistics(total, None, None, *sizes)
    return ColumnStatistics(total, least, greatest, *sizes)
