"""Typical changes to tables between two versions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

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
    place = [at for at, kind in enumerate(table.schema.types) if pa.types.is_floating(kind)][-1]
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
