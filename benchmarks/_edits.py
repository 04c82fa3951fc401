"""Typical changes to tables between two versions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ADDED = "added"
Edit = Callable[[pa.Table, pa.Table], pa.Table]
"""Return the next version of a table; the second argument has other rows of the same kind, 1 % as many."""


def insert_row(table: pa.Table, other: pa.Table) -> pa.Table:
    third = len(table) // 3
    return pa.concat_tables([table.slice(0, third), other.slice(0, 1), table.slice(third)])


def append(table: pa.Table, other: pa.Table) -> pa.Table:
    return pa.concat_tables([table, other])


def change_cell(table: pa.Table, other: pa.Table) -> pa.Table:
    """Change one value in the middle of a numeric column that is not among the first, which form the block key."""
    place = _floating(table)[-1]
    values = table.column(place).to_numpy().copy()
    values[len(values) // 2] = -1
    return table.set_column(place, table.field(place).name, pa.array(values, from_pandas=True))


def add_column(table: pa.Table, other: pa.Table) -> pa.Table:
    return table.append_column(ADDED, pa.array(np.random.default_rng(7).normal(size=len(table))))


def delete_rows(table: pa.Table, other: pa.Table) -> pa.Table:
    """Delete one percent of the rows, in two places."""
    half, first, second = len(table) // 200, len(table) // 5, len(table) * 7 // 10
    parts = [table.slice(0, first), table.slice(first + half, second - first - half), table.slice(second + half)]
    return pa.concat_tables(parts)


EDITS: dict[str, Edit] = {
    "insert one row": insert_row,
    "append 1 %": append,
    "change one cell": change_cell,
    "add a column": add_column,
    "delete 1 % in two places": delete_rows,
}


def delete_at_random(table: pa.Table, other: pa.Table) -> pa.Table:
    return table.filter(pa.array(np.random.default_rng(9).random(len(table)) >= 0.1))


def sort(table: pa.Table, other: pa.Table) -> pa.Table:
    """Sort by the values of a numeric column that has them in no order."""
    return table.take(pc.sort_indices(table.column(_floating(table)[-1])))


def insert_scattered(table: pa.Table, other: pa.Table) -> pa.Table:
    """Insert a hundred rows at places spread over the table."""
    places = [len(table) * number // 100 for number in range(101)]
    parts = [table.slice(0, 0)]
    for number in range(100):
        first, last = places[number : number + 2]
        parts += [table.slice(first, last - first), other.slice(number % len(other), 1)]
    return pa.concat_tables(parts)


def delete_block(table: pa.Table, other: pa.Table) -> pa.Table:
    first, count = len(table) * 2 // 5, len(table) // 10
    return pa.concat_tables([table.slice(0, first), table.slice(first + count)])


def swap_halves(table: pa.Table, other: pa.Table) -> pa.Table:
    half = len(table) // 2
    return pa.concat_tables([table.slice(half), table.slice(0, half)])


def rename_column(table: pa.Table, other: pa.Table) -> pa.Table:
    place = len(table.column_names) // 2
    return table.rename_columns([f"{name} new" if at == place else name for at, name in enumerate(table.column_names)])


def remove_column(table: pa.Table, other: pa.Table) -> pa.Table:
    return table.remove_column(_floating(table)[-1])


def reverse_columns(table: pa.Table, other: pa.Table) -> pa.Table:
    return table.select(table.column_names[::-1])


def put_in_front(table: pa.Table, other: pa.Table) -> pa.Table:
    """Add a column of row numbers before the others, as pandas' `to_csv` does."""
    return table.add_column(0, ADDED, pa.array(np.arange(len(table))))


def retype_column(table: pa.Table, other: pa.Table) -> pa.Table:
    """Round a column of floats to 32 bits."""
    place = _floating(table)[-1]
    return table.set_column(place, table.field(place).name, table.column(place).cast(pa.float32(), safe=False))


def scale_column(table: pa.Table, other: pa.Table) -> pa.Table:
    place = _floating(table)[-1]
    return table.set_column(place, table.field(place).name, pc.multiply(table.column(place), 1.1))


def _floating(table: pa.Table) -> list[int]:
    return [at for at, kind in enumerate(table.schema.types) if pa.types.is_floating(kind)]


OTHER_EDITS: dict[str, Edit] = {
    "insert 100 rows, one by one": insert_scattered,
    "delete 10 % in one block": delete_block,
    "swap its halves": swap_halves,
    "rename a column": rename_column,
    "remove a column": remove_column,
    "floats of a column to 32 bits": retype_column,
    "multiply a column": scale_column,
    "put row numbers in front": put_in_front,
    "reverse its columns": reverse_columns,
    "delete 10 % at random": delete_at_random,
    "sort by another column": sort,
}
"""Rarer changes; after the last four, little or nothing is in the same place."""
