"""DataFrames come back as they were: index, labels, categories, dtypes, nulls."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest

from datapkg.errors import TransformFailed
from datapkg.format.manifest.parsed import TableNode
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.pandas_metadata import pandas_metadata
from tests.building.builds import Bench

TIMES = pandas.to_datetime(["2020-01-01", "2019-01-01", None])
FRAMES: dict[str, pandas.DataFrame] = {
    "plain": pandas.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, np.nan], "d": [True, False]}),
    "objects": pandas.DataFrame({"b": [True, None], "o": pandas.Series(["x", None], dtype="str")}),
    "no rows": pandas.DataFrame({"a": pandas.Series([], dtype="int64"), "b": pandas.Series([], dtype="str")}),
    "all null": pandas.DataFrame({"n": [None, None]}),
    "negative zero": pandas.DataFrame({"f": [-0.0, np.nan], "h": np.array([1.5, np.nan], "f2")}),
    "text index": pandas.DataFrame({"a": [1, 2]}, index=["x", "y"]),
    "named index": pandas.DataFrame({"a": [1, 2]}, index=pandas.Index(["x", "y"], name="k")),
    "index named as a column": pandas.DataFrame({"k": [1, 2]}, index=pandas.Index(["x", "y"], name="k")),
    "levels": pandas.DataFrame(
        {"a": [1, 2]}, index=pandas.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["p", None])
    ),
    "range": pandas.DataFrame({"a": [1, 2]}, index=pandas.RangeIndex(5, 9, 2)),
    "named range": pandas.DataFrame({"a": [1, 2]}, index=pandas.RangeIndex(0, 2, name="r")),
    "category index": pandas.DataFrame({"a": [1, 2]}, index=pandas.CategoricalIndex(["u", "v"])),
    "duplicate labels": pandas.DataFrame([[1, "x", 2.5, 4]], columns=["a", "a", "a.1", "a"]),
    "mixed labels": pandas.DataFrame([[1, "x", 2.5]], columns=["a", 1, None]),
    "boolean labels": pandas.DataFrame([[1, 2]], columns=[True, False]),
    "number labels": pandas.DataFrame([[1, 2]]),
    "float labels": pandas.DataFrame([[1, 2]], columns=[0.5, 7]),
    "duplicate numbers": pandas.DataFrame([[1, 2]], columns=[5, 5]),
    "empty labels": pandas.DataFrame([[1, 2]], columns=["", " "]),
    "label levels": pandas.DataFrame(
        [[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", "x"), ("a", "y")], names=["p", "q"])
    ),
    "named labels": pandas.DataFrame([[1, 2]], columns=pandas.Index(["a", "b"], name="n")),
    "named duplicate labels": pandas.DataFrame([[1, 2]], columns=pandas.Index(["a", "a"], name="n")),
    "date labels": pandas.DataFrame([[1, 2]], columns=pandas.to_datetime(["2020", "2021"])),
    "odd labels": pandas.DataFrame([[1, 2, 3]], columns=["a.b", "日本 😀", "a\nb"]),
    "categories": pandas.DataFrame(
        {
            "text": pandas.Categorical(["b", None, "b"], categories=["c", "b", "a"], ordered=True),
            "whole": pandas.Categorical([3, 1, None], categories=[7, 3, 1], ordered=True),
            "float": pandas.Categorical([1.5, None, 2.5], categories=[9.0, 2.5, 1.5]),
            "time": pandas.Categorical(TIMES, categories=TIMES[:2][::-1]),
            "bool": pandas.Categorical([True, False, None]),
            "none": pandas.Categorical([None] * 3),
        }
    ),
    "nullable index": pandas.DataFrame({"a": [1, 2]}, index=pandas.Index([2**53 + 1, None], dtype="Int64")),
    "nullable levels": pandas.DataFrame(
        {"a": [1, 2]},
        index=pandas.MultiIndex.from_arrays([pandas.Index([2**53 + 1, None], dtype="Int64"), ["x", "y"]]),
    ),
    "integer level": pandas.DataFrame(
        {"a": [1, 2]},
        index=pandas.MultiIndex(
            levels=[pandas.Index([2**53 + 1], dtype="Int64"), pandas.Index([2**64 - 1], dtype="UInt64")],
            codes=[[0, -1], [-1, 0]],
        ),
    ),
    "no categories": pandas.DataFrame({"t": pandas.Series([], dtype="category")}),
    "categories without rows": pandas.DataFrame({"t": pandas.Categorical([], categories=["x", "y"])}),
    "nullable": pandas.DataFrame(
        {
            "I": pandas.array([1, None], dtype="Int64"),
            "U": pandas.array([1, None], dtype="UInt8"),
            "B": pandas.array([True, None], dtype="boolean"),
            "F": pandas.array([1.5, None], dtype="Float32"),
            "S": pandas.array(["x", None], dtype="string"),
        }
    ),
    "times": pandas.DataFrame(
        {
            "t": TIMES,
            "ns": pandas.to_datetime(["2020-01-01 00:00:00.123456789", None, None]).astype("datetime64[ns]"),
            "zoned": TIMES.tz_localize("Europe/Berlin"),
            "delta": pandas.to_timedelta([1, None, 2], unit="s"),
            "date": [datetime.date(2020, 1, 1), None, None],
            "time": [datetime.time(1, 2, 3), None, None],
        }
    ),
    "nested": pandas.DataFrame(
        {
            "list": [[1, 2], None],
            "struct": [{"a": 1, "b": "x"}, None],
            "deep": [[[1]], []],
            "decimal": [decimal.Decimal("1.20"), None],
            "bytes": [b"x", None],
        }
    ),
    "arrow types": pandas.DataFrame({"a": pandas.array([1, None], dtype="int64[pyarrow]")}),
    "periods": pandas.DataFrame(
        {"p": pandas.period_range("2020-01", periods=2, freq="M"), "i": pandas.interval_range(0, 2)}
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frame_round_trips(name: str) -> None:
    frame = FRAMES[name]
    before = frame.copy(deep=True)
    bench = Bench()
    back = bench.frame(bench.build({"t": frame}), "t")
    pandas.testing.assert_frame_equal(back, frame, check_index_type="equiv")
    pandas.testing.assert_frame_equal(frame, before)


@pytest.mark.slow
def test_categories_of_many_blocks_round_trip() -> None:
    rows = 150_000
    frame = pandas.DataFrame(
        {
            "k": np.arange(rows),
            "c": pandas.Categorical.from_codes(np.arange(rows) % 3, categories=[30, 10, 20, 40]),
            "t": pandas.Categorical.from_codes(
                np.repeat([0, 1, 2], rows // 3), categories=["z", "y", "x", "w"], ordered=True
            ),
            "many": pandas.Categorical.from_codes(
                np.arange(rows) % 70_000, categories=[f"a long category {i}" for i in range(70_000)]
            ),
        }
    )
    bench = Bench()
    built = bench.build({"t": frame})
    node = built.manifest.get("t")
    assert isinstance(node, TableNode)
    assert len(node.blocks) > 1
    pandas.testing.assert_frame_equal(bench.frame(built, "t"), frame)


def test_attributes_round_trip() -> None:
    frame = pandas.DataFrame({"a": [1]})
    frame.attrs = {"unit": "m"}
    bench = Bench()
    assert bench.frame(bench.build({"t": frame}), "t").attrs == {"unit": "m"}


def test_a_description_depends_on_types_alone() -> None:
    """No row counts and no versions: appended rows and another pandas leave old blocks as they are."""
    bench = Bench()
    one, two = (bench.table(bench.build({"t": pandas.DataFrame({"a": [1] * n})}), "t") for n in (1, 2))
    assert one.schema.metadata == two.schema.metadata
    text = one.schema.metadata[b"pandas"].decode()
    assert pandas.__version__ not in text
    assert pa.__version__ not in text
    assert pandas_metadata(one.schema)["index_columns"] == []


def test_seconds_are_kept_as_milliseconds() -> None:
    bench = Bench()
    frame = pandas.DataFrame({"t": TIMES.astype("datetime64[s]")})
    pandas.testing.assert_frame_equal(bench.frame(bench.build({"t": frame}), "t"), frame.astype("datetime64[ms]"))


def test_integers_beyond_64_bits_are_decimals_everywhere() -> None:
    big = 2**70
    frame = pandas.DataFrame(
        {"a": [big, 1], "c": pandas.Categorical([big, None]), "text": [10**40, 1], "mixed": [big, None]},
        index=pandas.MultiIndex.from_tuples([(big, "x"), (1, "y")]),
    )
    bench = Bench()
    back = bench.frame(bench.build({"t": frame}), "t")
    assert [int(value) for value in back["a"]] == [big, 1]
    assert [int(value) for value in back["c"].cat.categories] == [big]
    assert back["text"].tolist() == [str(10**40), "1"]
    assert back["mixed"].tolist() == [decimal.Decimal(big), None]
    assert [int(value) for value in back.index.get_level_values(0)] == [big, 1]
    single = bench.frame(bench.build({"t": pandas.DataFrame({"a": [1]}, index=[big])}), "t")
    assert [int(value) for value in single.index] == [big]


def test_arrow_types_that_parquet_changes_are_converted_first() -> None:
    table = pa.table(
        {
            "date64": pa.array([0, 86_400_000, None], pa.date64()),
            "seconds": pa.array([1, None, 3], pa.time32("s")),
            "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["x", None])),
            "view": pa.array(["a", None, "b"], pa.string_view()),
            "bytes": pa.array([b"a", None, b"b"], pa.large_binary()),
            "codes": pa.array(["a", None, "b"], pa.large_string()).dictionary_encode(),
        }
    )
    bench = Bench()
    back = bench.table(bench.build({"t": table}), "t")
    assert back.to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            pandas.DataFrame({"a": [1, "x"]}),
            "column 'a' holds values of several types: int \\(row 1\\), str \\(row 2\\)",
        ),
        (pandas.DataFrame({"a": [1 + 2j]}), "complex"),
        (pandas.DataFrame({"a": [object()]}), "column 'a'"),
        (pandas.DataFrame({"a": [{}]}), "column .a. holds only empty objects"),
        (pandas.DataFrame(), "no column"),
        (pandas.DataFrame([[1] * 3_000], columns=[f"{i:0300}" for i in range(3_000)]), "more than 640 KiB"),
        (pandas.DataFrame([[1, 2]], columns=[(1,), "b"]), "label"),
        (pa.table({"a": pa.array([[1]], pa.list_view(pa.int8()))}), "cannot keep"),
        (pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}), "interval"),
    ],
)
def test_unsupported_values_are_rejected(value: Any, reason: str) -> None:
    with pytest.raises(TransformFailed, match=reason):
        Bench().build({"t": value})


def test_duplicate_arrow_names_stay_as_labels() -> None:
    table = pa.table([pa.array([1]), pa.array(["x"]), pa.array([2.5])], names=["a", "a", "a.1"])
    bench = Bench()
    built = bench.build({"t": table})
    assert bench.table(built, "t").column_names == ["a", "a.2", "a.1"]
    expected = pandas.DataFrame([[1, "x", 2.5]], columns=["a", "a", "a.1"])
    pandas.testing.assert_frame_equal(bench.frame(built, "t"), expected)


def test_pandas_warnings_are_reported() -> None:
    frame = pandas.DataFrame({"a": [1]}, index=pandas.Index(["x"], name=5))
    built = Bench().build({"g": {"t": frame}})
    assert len(built.warnings) == 1
    assert built.warnings[0].startswith("g/t: The DataFrame has non-str index name")


def test_any_arrow_stream_is_a_table() -> None:
    class Other:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            nested = pa.array([["x", None], None], pa.list_(pa.string_view()))
            return pa.table({"l": nested, "s": pa.array(["a", None], pa.string_view())}).__arrow_c_stream__(
                requested_schema
            )

    bench = Bench()
    table = bench.table(bench.build(Other()), "data")
    assert table.to_pylist() == [{"l": ["x", None], "s": "a"}, {"l": None, "s": None}]


def test_categories_of_intervals_stay_intervals() -> None:
    spans = pandas.interval_range(pandas.Timestamp("2024-01-01", tz="Europe/Berlin"), periods=2)
    frame = pandas.DataFrame(
        {"i": pandas.Categorical([spans[1], None], spans)}, index=pandas.CategoricalIndex([spans[1], spans[0]])
    )
    found = table_from_frame(frame).to_pandas()
    assert found["i"].tolist()[:1] == [spans[1]]
    assert found["i"].isna().tolist() == [False, True]
    assert found.index.tolist() == [spans[1], spans[0]]


def test_categories_of_periods_stay_periods() -> None:
    months = pandas.period_range("2020-01", periods=2, freq="M")
    frame = pandas.DataFrame(
        {"p": pandas.Categorical([months[1], None], months)}, index=pandas.CategoricalIndex([months[1], months[0]])
    )
    found = table_from_frame(frame).to_pandas()
    assert found["p"].tolist() == [months[1], pandas.NaT]
    assert found.index.tolist() == [months[1], months[0]]
    assert isinstance(frame["p"].dtype, pandas.CategoricalDtype)
