"""Tables of thousands of columns: time grows with the number of columns, not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from datapkg.building.sources.concatenated import described_as_nullable
from datapkg.building.table_append import joined_rows
from datapkg.reading.tables.arrow_reader import only
from datapkg.reading.tables.pandas_reader import Form, to_pandas
from datapkg.tables.column_assembler import ColumnAssembler
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.pandas_metadata import with_columns

FEW, MANY = 800, 4_000


def _table(columns: int) -> pa.Table:
    return table_from_frame(pd.DataFrame({f"c{number}": [1, 2] for number in range(columns)}))


def _joint(table: pa.Table) -> pa.Table:
    joint = ColumnAssembler(table.schema, [len(table)])
    joint.add(0, table)
    return joint.table()


OPERATIONS: dict[str, Callable[[pa.Table], Any]] = {
    "frame": to_pandas,
    "frozen frame": lambda table: to_pandas(table, Form(frozen=True)),
    "joined parts": _joint,
    "chosen columns": lambda table: only(table, table.column_names[::-1]),
    "replaced columns": lambda table: with_columns(table, dict(enumerate(table.columns))),
    "described dtypes": lambda table: described_as_nullable(table.schema),
    "appended rows": lambda table: joined_rows(table, table),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_time_is_linear_in_the_number_of_columns(name: str) -> None:
    seconds = {}
    for columns in (FEW, MANY):
        table = _table(columns)
        start = time.process_time()
        OPERATIONS[name](table)
        seconds[columns] = time.process_time() - start
    # In the square it would be 25 times; the constant is for what a clock of the processor does not resolve.
    assert seconds[MANY] < 12 * seconds[FEW] + 0.3, seconds
