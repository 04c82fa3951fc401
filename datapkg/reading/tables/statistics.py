"""What Parquet footers hold of a table's columns, so that no value is read: nulls, least and greatest, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from datapkg.reading.tables import arrow_reader
from datapkg.reading.tables.stored_table import StoredTable


@dataclass(frozen=True)
class ColumnStatistics:
    """Of one column: how many values are null, the least and the greatest of the others, and bytes.

    None stands for what the footers do not give exactly: nothing is guessed. NaN counts as a value and is neither least
    nor greatest. `size_bytes` are those in the objects, `uncompressed_bytes` those after decompression.
    """

    nulls: int | None
    least: Any
    greatest: Any
    size_bytes: int
    uncompressed_bytes: int


def column_statistics(table: StoredTable, columns: Sequence[str] | None = None) -> dict[str, ColumnStatistics]:
    """Return the statistics of each stored column (or of these) by name; only bytes of nested and duplicate columns.

    Raise `ObjectNotFound`, `CorruptObject`.
    """
    return footer_statistics(arrow_reader.footers(table), [name for name, _ in table.node.columns], columns)


def footer_statistics(
    footers: Iterable[pq.FileMetaData], names: list[str], columns: Sequence[str] | None = None
) -> dict[str, ColumnStatistics]:
    """Return the same from footers that are already read, whose stored columns have these names."""
    wanted = dict.fromkeys(names if columns is None else columns)
    parts: dict[str, list[pq.ColumnChunkMetaData]] = {name: [] for name in names}
    for footer in footers:
        paths = [footer.schema.column(at).path for at in range(footer.num_columns)]
        places = [(at, column) for at, path in enumerate(paths) if (column := _column_of(path, parts)) in wanted]
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for at, column in places:
                parts.setdefault(column, []).append(group.column(at))
    unclear = _unclear(names)
    return {name: _joined(name, parts[name], name in unclear) for name in wanted if name in parts}


def _unclear(names: list[str]) -> set[str]:
    """Return names of which a leaf could belong to another column too: a duplicate, or a field of a struct column."""
    known = Counter(names)
    return {name for name in names if known[name] > 1 or any(head in known for head in _heads(name))}


def _heads(name: str) -> list[str]:
    """Return what precedes each of the dots of a name."""
    return [name[:at] for at, letter in enumerate(name) if letter == "."]


def _column_of(path: str, names: dict[str, Any]) -> str:
    """Return the column that a leaf belongs to: names may contain dots, and the path of a nested column has more."""
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
    except (ArithmeticError, NotImplementedError, TypeError, ValueError):  # values that Python cannot represent
        return ColumnStatistics(total, None, None, *sizes)
    return ColumnStatistics(total, least, greatest, *sizes)
