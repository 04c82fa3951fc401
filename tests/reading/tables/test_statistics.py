"""Statistics of columns are exact or absent, and come from footers alone."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa

from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.tables.statistics import ColumnStatistics, column_statistics
from tests.reading.packages import install, table_node


def statistics_of(home: Home, *blocks: pa.Table | pd.DataFrame) -> dict[str, ColumnStatistics]:
    install(home, "me/p", table_node(home, "t", *blocks))
    node: Any = load("me/p/t", home)
    return column_statistics(node.__stored__)


def test_blocks_are_taken_together(home: Home) -> None:
    one = pa.table({"a": [3, None], "s": ["b", "a"], "d": pa.array([date(2020, 1, 2), None])})
    two = pa.table({"a": [1, 2], "s": ["z", None], "d": pa.array([date(2019, 1, 2), date(2021, 1, 2)])})
    found = statistics_of(home, one, two)
    assert (found["a"].nulls, found["a"].least, found["a"].greatest) == (1, 1, 3)
    assert (found["s"].nulls, found["s"].least, found["s"].greatest) == (1, "a", "z")
    assert (found["d"].least, found["d"].greatest) == (date(2019, 1, 2), date(2021, 1, 2))
    assert found["a"].size_bytes > 0 < found["a"].uncompressed_bytes


def test_column_of_nulls_has_no_least_value(home: Home) -> None:
    found = statistics_of(home, pa.table({"a": pa.array([None, None], pa.int64()), "f": [float("nan"), 1.0]}))
    assert (found["a"].nulls, found["a"].least, found["a"].greatest) == (2, None, None)
    assert (found["f"].nulls, found["f"].least, found["f"].greatest) == (0, 1.0, 1.0)


def test_a_block_of_nulls_does_not_hide_the_others(home: Home) -> None:
    empty = pa.table({"a": pa.array([None], pa.int64())})
    found = statistics_of(home, pa.table({"a": pa.array([5], pa.int64())}), empty)
    assert (found["a"].nulls, found["a"].least, found["a"].greatest) == (1, 5, 5)


def test_nested_columns_have_bytes_only(home: Home) -> None:
    found = statistics_of(home, pa.table({"l": [[1], [2, 3]], "x.y": [1, 2], "s": [{"x": 1}, {"x": 2}]}))
    assert (found["l"].nulls, found["l"].least, found["s"].greatest) == (None, None, None)
    assert (found["x.y"].least, found["x.y"].greatest) == (1, 2)
    assert found["s"].size_bytes > 0


def test_a_table_without_rows(home: Home) -> None:
    found = statistics_of(home, pa.table({"a": pa.array([], pa.int64())}))
    assert (found["a"].nulls, found["a"].least) == (0, None)
