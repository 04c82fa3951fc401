"""Selections without rows have the columns, dtypes, categories and index of the whole table, as pandas' own have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datapkg
from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.errors import WrongType
from datapkg.reading.load import load
from datapkg.reading.tables import arrow_cache_writer
from tests.conftest import Person
from tests.tables.test_frame_to_arrow import FRAMES

WITH_ROWS = {name: frame for name, frame in FRAMES.items() if len(frame)}
EMPTY: dict[str, Callable[[Any], pd.DataFrame]] = {
    "head": lambda node: node.head(0),
    "tail": lambda node: node.tail(0),
    "slice": lambda node: node(rows=slice(1, 1)),
    "backwards": lambda node: node(rows=slice(0, 0, -1)),
    "frozen": lambda node: node(rows=slice(0, 0), frozen=True),
}
NO_ROW = [("k", "<", -1)]
RULED_OUT_LATE = [("k", ">", 0), ("k", "<", 1)]


def same_types(empty: pd.DataFrame, whole: pd.DataFrame) -> None:
    assert len(empty) == 0
    pd.testing.assert_frame_equal(empty, whole.iloc[:0], check_index_type=True)
    for found, expected in zip(empty.dtypes, whole.dtypes, strict=True):
        if isinstance(expected, pd.CategoricalDtype):
            assert list(found.categories) == list(expected.categories)
            assert found.ordered == expected.ordered


@pytest.mark.parametrize("name", WITH_ROWS)
def test_an_empty_slice_of_each_kind_of_frame(name: str) -> None:
    node = datapkg.build("me/e", {"t": WITH_ROWS[name]}).t
    for whole, empties in (
        (node(), [make(node) for make in EMPTY.values()]),
        *((node(dtype_backend=b), [node(dtype_backend=b, rows=slice(0, 0))]) for b in ("pyarrow", "numpy_nullable")),
    ):
        for empty in empties:
            same_types(empty, whole)


@pytest.fixture(scope="module")
def long_frame() -> pd.DataFrame:
    """A table of several blocks."""
    rows = 150_000
    frame = pd.DataFrame(
        {
            "k": np.arange(rows),
            "text": pd.Categorical.from_codes(np.arange(rows) % 2, categories=["lo", "mid", "hi"], ordered=True),
            "whole": pd.Categorical.from_codes(np.arange(rows) % 2, categories=[3, 1, 2]),
            "nulls": pd.array([None, *range(1, rows)], dtype="Int64"),
            "flag": pd.Series([True] * (rows - 1) + [None], dtype=object),
        }
    )
    return frame.set_index(pd.CategoricalIndex(frame["text"].array, name="i"))


@pytest.mark.parametrize("is_warm", [False, True])
def test_filters_that_no_row_of_a_long_table_passes(long_frame: pd.DataFrame, is_warm: bool) -> None:
    node = datapkg.build("me/e", {"t": long_frame}).t
    assert len(node.__entry__.blocks) > 1
    if is_warm:
        arrow_cache_writer.write(node.__stored__)
    for filters in (NO_ROW, RULED_OUT_LATE, [("text", "=", "hi")]):
        same_types(node(filters=filters), node())
        same_types(node(["text", "flag"], filters), node(["text", "flag"]))
    same_types(node(rows=slice(0, 0), filters=[("k", "=", 1)]), node())
    for options in ({"filters": NO_ROW}, {"rows": slice(0, 0)}):
        empty = node.arrow(**options)
        assert empty.schema == node.arrow().schema
        assert empty["text"].chunk(0).dictionary.to_pylist() == ["lo", "mid", "hi"]
    assert node.polars(["text"], NO_ROW).schema == node.polars(["text"]).schema
    assert node.duckdb(["text"], NO_ROW).types == node.duckdb(["text"]).types


def test_categories_that_differ_between_the_row_groups_of_a_file(tmp_path: Path) -> None:
    parts = [pa.table({"k": [at], "c": pa.array([word]).dictionary_encode()}) for at, word in enumerate("zyx")]
    with pq.ParquetWriter(tmp_path / "t.parquet", parts[0].schema) as writer:
        for part in parts:
            writer.write_table(part)
    node: Any = datapkg.build("me/e", tmp_path).t
    assert list(node()["c"].cat.categories) == ["z", "y", "x"]
    same_types(node.head(0), node())
    same_types(node(filters=NO_ROW), node())


def test_integers_and_booleans_with_nulls_of_a_foreign_file(tmp_path: Path) -> None:
    table = pa.table({"k": [1, 2], "n": [1, None], "b": [True, None], "u": pa.array([None, 7], pa.uint8())})
    pq.write_table(table, tmp_path / "t.parquet")
    node: Any = datapkg.build("me/e", tmp_path).t
    assert [str(each) for each in node.head(0).dtypes] == ["int64", "float64", "object", "float64"]
    same_types(node(filters=NO_ROW), node())


@pytest.mark.parametrize("rows", [3, 200_000])
def test_integers_with_nulls_that_floats_would_round(tmp_path: Path, rows: int) -> None:
    numbers: list[int | None] = [None, 2**53 + 1, *range(rows - 2)]
    table = pa.table(
        {"n": numbers, "u": pa.array([*numbers[:-1], 2**64 - 1], pa.uint64()), "k": [None, *range(1, rows)]}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    node: Any = datapkg.build("me/e", tmp_path).t
    for form in ({}, {"frozen": True}):
        frame = node(**form)
        assert [str(each) for each in frame.dtypes] == ["Int64", "UInt64", "float64"]
        assert frame["n"].head(3).tolist() == [pd.NA, 2**53 + 1, 0]
        assert frame["u"].iloc[-1] == 2**64 - 1
    assert node["n"][1] == 2**53 + 1
    same_types(node(filters=NO_ROW), node())
    with pytest.raises(WrongType, match="column 'n' holds integers above 2\\^53"):
        node.numpy()
    assert (
        datapkg.build("me/f", {"t": table.append_column("text", table["n"].cast("string"))}).t.numpy()["n"][1]
        == 2**53 + 1
    )


@pytest.mark.parametrize("names", [["i"], ["i", "u"]])
def test_index_of_integers_with_nulls_that_floats_would_round(names: list[str]) -> None:
    columns = {"k": [1, 2, 3], "i": [2**53 + 1, None, 5], "u": pa.array([2**64 - 1, None, 5], pa.uint64())}
    some = pd.DataFrame({name: [1, 2, 4] for name in columns}).set_index(names)
    table = pa.table(columns).replace_schema_metadata(pa.Table.from_pandas(some).schema.metadata)
    node: Any = datapkg.build("me/e", {"t": table}).t
    for frame in (node(), node(frozen=True)):
        for name, kind in zip(names, ("Int64", "UInt64"), strict=False):
            level = frame.index.get_level_values(name)
            assert level.dtype == kind
            assert level.tolist() == [columns[name][0].as_py() if kind == "UInt64" else 2**53 + 1, pd.NA, 5]
    if len(names) == 1:
        same_types(node(filters=NO_ROW), node())


def test_intervals_of_zoned_times() -> None:
    spans = pd.interval_range(pd.Timestamp("2024-01-01", tz="Europe/Berlin"), periods=2)
    node: Any = datapkg.build("me/e", {"t": pd.DataFrame({"i": spans, "k": [1, 2]})}).t
    for empty in (node.head(0), node(filters=NO_ROW)):
        assert empty.dtypes.to_dict() == node().dtypes.to_dict()
    assert len(datapkg.build("me/f", {"t": node().iloc[:0]}).t()) == 0


def test_categories_of_times_keep_their_zone() -> None:
    days = pd.DatetimeIndex(["2024-01-01", "2024-01-02"], tz="Europe/Berlin").as_unit("us")
    values = pd.Categorical([days[1], None], days[::-1], ordered=True)
    index = pd.CategoricalIndex(days, name="k")
    levels = pd.MultiIndex.from_arrays([index, ["x", "y"]], names=["k", "l"])
    for frame in (pd.DataFrame({"i": values, "k": 1}, index=index), pd.DataFrame({"i": values, "k": 1}, index=levels)):
        node: Any = datapkg.build("me/e", {"t": frame}).t
        for found in (node(), node(frozen=True), next(node.iter_batches(9))):
            pd.testing.assert_series_equal(found["i"], frame["i"], check_index=False)
            assert found.index.get_level_values(0).tolist() == days.tolist()
        assert node.head(0)["i"].dtype == values.dtype


def test_levels_of_integers_with_missing_codes_are_not_rounded() -> None:
    levels = [[2**53 + 1], pd.Index([2**64 - 1], dtype="uint64"), [7]]
    index = pd.MultiIndex(levels, [[0, -1], [-1, 0], [0, -1]])
    found = datapkg.build("me/e", {"t": pd.DataFrame({"a": [1, 2]}, index=index)}).t().index
    assert found.get_level_values(0).tolist() == [2**53 + 1, pd.NA]
    assert found.get_level_values(1).tolist() == [pd.NA, 2**64 - 1]
    assert str(found.get_level_values(2).dtype) == "float64"


@settings(max_examples=25, deadline=None)
@given(start=st.none() | st.integers(-4, 4), stop=st.none() | st.integers(-4, 4), step=st.sampled_from([1, 2, -1]))
def test_any_slice_has_the_categories_of_the_table(start: int | None, stop: int | None, step: int) -> None:
    frame = pd.DataFrame({"k": [0, 1, 2], "c": pd.Categorical(["a", "b", None], ["x", "b", "a"], ordered=True)})
    node = datapkg.build("me/e", {"t": frame}).t
    pd.testing.assert_frame_equal(
        node(rows=slice(start, stop, step)), frame.iloc[start:stop:step], check_index_type=False
    )


def test_table_read_in_place(person: Person, long_frame: pd.DataFrame) -> None:
    home, ref = person.home("publisher"), person.ref("empty")
    build_package(home, ref, {"t": long_frame})
    push_package(home, ref)
    package: Any = load(ref, person.home("reader"), lazy=True)
    empty, filtered = package.t.head(0), package.t(filters=NO_ROW)
    assert isinstance(package.t.polars(["text"], NO_ROW), pl.DataFrame)
    whole = package.t()
    same_types(empty, whole)
    same_types(filtered, whole)
