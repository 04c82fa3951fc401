"""Tables: what comes back is what was stored, fresh and writable, and no more is read than is asked for."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.errors import CorruptObject, InvalidInput, NodeNotFound
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from datapkg.reading.nodes.tables import Table
from datapkg.reading.tables.pandas_reader import to_pandas
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.pandas_metadata import remember_categories
from tests.reading.packages import CONTENT, install, iris_frame, table_node


def stored(home: Home, *blocks: pd.DataFrame | pa.Table) -> Table:
    install(home, "me/t", table_node(home, "t", *blocks))
    node = load("me/t/t", home)
    assert isinstance(node, Table)
    return node


@pytest.fixture
def blocks(home: Home) -> Table:
    """Ten rows in three blocks."""
    frame = pd.DataFrame({"n": range(10), "x": np.arange(10) / 2, "s": list("abcdefghij")})
    return stored(home, frame[:4], frame[4:8], frame[8:])


@pytest.fixture
def measurements(iris: Package) -> Table:
    node = iris["measurements"]
    assert isinstance(node, Table)
    return node


EVERYTHING = pd.DataFrame(
    {
        "int": [1, 2, 3],
        "float": [0.5, None, -0.0],
        "text": ["a", None, "ç"],
        "bool": [True, False, True],
        "nullable": pd.array([1, None, 2**60 + 1], dtype="Int64"),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "time": pd.to_datetime(["2020-01-01 00:00", None, "2021-06-01 12:00"]),
        "zoned": pd.date_range("2020-03-29", periods=3, freq="h", tz="Europe/Berlin"),
        "length": pd.to_timedelta([1, None, 3], unit="s"),
        "category": pd.Categorical(["b", "a", None], categories=["c", "b", "a"], ordered=True),
        "period": pd.period_range("2020-01", periods=3, freq="M"),
        "date": [datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)],
        "exact": [decimal.Decimal("1.10"), None, decimal.Decimal("2.25")],
        "list": [[1, 2], None, []],
        "bytes": [b"\x00", None, b"b"],
    }
)


def test_every_type_round_trips(home: Home) -> None:
    found = stored(home, table_from_frame(EVERYTHING))()
    pd.testing.assert_frame_equal(found.drop(columns="list"), EVERYTHING.drop(columns="list"))
    assert [None if each is None else list(each) for each in found["list"]] == [[1, 2], None, []]


def test_every_column_is_writable(home: Home) -> None:
    node = stored(home, EVERYTHING)
    found = node()
    for at, name in enumerate(found.columns):
        found.iloc[0, at] = found.iloc[2, at]
        one = node(columns=[name])
        one.iloc[0, 0] = one.iloc[2, 0]
        assert repr(found[name].iloc[0]) == repr(one[name].iloc[0]) == repr(found[name].iloc[2])


def test_frames_share_no_memory(measurements: Table) -> None:
    one, two = measurements(), measurements()
    one.loc[0, "petal_length"] = 99.0
    one["more"] = 1
    assert two.equals(iris_frame())
    assert measurements().equals(iris_frame())


def test_unused_categories_and_their_order_round_trip(home: Home) -> None:
    categories = pd.Categorical([3, 1, None], categories=[9, 3, 1], ordered=True)
    table = remember_categories(pa.Table.from_pandas(pd.DataFrame({"c": categories})))
    node = stored(home, table.slice(0, 2), table.slice(2))
    for found in (node()["c"], node["c"], node.head(2)["c"]):
        assert found.cat.categories.tolist() == [9, 3, 1]
        assert found.cat.ordered
    assert node()["c"].tolist()[:2] == [3, 1]


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(["x", "y", "z"], name="key"),
        pd.Index([5, 3, 1]),
        pd.RangeIndex(10, 40, 10, name="r"),
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["l", "n"]),
        pd.date_range("2020", periods=3, tz="UTC", name="at"),
    ],
    ids=["named", "nameless", "range", "levels", "times"],
)
def test_index_round_trips_with_some_columns(home: Home, index: pd.Index) -> None:
    frame = iris_frame().set_index(index)
    node = stored(home, table_from_frame(frame))
    pd.testing.assert_frame_equal(node(), frame, check_freq=False)
    pd.testing.assert_frame_equal(node[["class", "petal_width"]], frame[["class", "petal_width"]], check_freq=False)
    pd.testing.assert_series_equal(node["class"], frame["class"], check_freq=False)


def test_the_index_can_be_read_as_a_column(home: Home) -> None:
    node = stored(home, iris_frame().set_index("class"))
    assert node.columns == ["petal_length", "petal_width", "class"]
    assert node["class"].tolist() == ["setosa", "versicolor", "virginica"]


def test_odd_column_names_round_trip(home: Home) -> None:
    nested = pa.array([{"b": 1}, {"b": 2}])
    columns = {"a": nested, "a.b": [1, 2], "": [3, 4], "日本 \n": [5, 6], "rows": [7, 8]}
    node = stored(home, pa.table(columns), pa.table(columns))
    assert node.columns == list(columns)
    for name in columns:
        assert node(columns=[name]).columns.tolist() == [name]
    assert node["a"].tolist() == [{"b": 1}, {"b": 2}] * 2
    assert node["rows"].tolist() == [7, 8] * 2
    assert node.rows == 4


def test_duplicate_and_non_text_labels_round_trip(home: Home) -> None:
    for labels in (["x", "x", "y"], [0, 1, 2], ["x", 1, None]):
        frame = iris_frame().set_axis(labels, axis=1)
        pd.testing.assert_frame_equal(stored(home, table_from_frame(frame))(), frame)


def test_duplicate_stored_names_are_read(home: Home) -> None:
    twice = pa.table([[1, 2], [3, 4], [5, 6]], names=["x", "x", "y"])
    node = stored(home, twice, twice)
    assert node().to_numpy().tolist() == [[1, 3, 5], [2, 4, 6]] * 2
    assert node["x"].to_numpy().tolist() == [[1, 3], [2, 4]] * 2
    assert node["y"].tolist() == [5, 6, 5, 6]
    assert node(filters=[("y", ">", 5)])["y"].tolist() == [6, 6]


def test_blocks_are_one_table(blocks: Table) -> None:
    assert blocks()["n"].tolist() == list(range(10))
    assert blocks().index.tolist() == list(range(10))
    assert (len(blocks), blocks.shape) == (10, (10, 3))
    assert blocks(columns=["s", "n"], filters=[("n", ">", 2), ("x", "<", 3)]).to_dict("list") == {
        "s": ["d", "e", "f"],
        "n": [3, 4, 5],
    }
    assert blocks(columns=["s"], filters=[[("n", "=", 0)], [("n", "in", [8, 9])]])["s"].tolist() == ["a", "i", "j"]
    assert blocks.head(6)["n"].tolist() == list(range(6))
    assert blocks.head(100)["n"].tolist() == list(range(10))
    assert blocks.head(0).columns.tolist() == ["n", "x", "s"]


def test_only_requested_columns_are_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    node = stored(home, pd.DataFrame({"a": [1], "b": [2], "c": [3]}))
    asked: list[Any] = []
    read = pq.ParquetFile.read

    def noted(self: pq.ParquetFile, columns: list[str] | None = None, **options: Any) -> pa.Table:
        asked.append(columns)
        return read(self, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read", noted)
    assert node["b"].tolist() == [2]
    assert asked == [["b"]]


def test_properties_are_answered_by_the_manifest(home: Home, measurements: Table) -> None:
    for hash in home.store.objects:
        if hash in measurements.__source__.manifest.objects():
            home.store.objects.delete(hash)
    assert measurements.columns == ["petal_length", "petal_width", "class"]
    assert measurements.dtypes["petal_length"] == "double"
    assert (measurements.rows, len(measurements), measurements.shape) == (3, 3, (3, 3))
    assert (measurements.name, measurements.kind, measurements.content) == ("measurements", "table", CONTENT)
    assert "class" in measurements
    assert measurements.size > 0


def test_arrow_and_its_stream_are_the_same_table(measurements: Table) -> None:
    table = measurements.arrow()
    assert table.equals(pa.table(measurements))
    assert table.schema.equals(measurements.schema)
    assert measurements.arrow(columns=["class"]).num_columns == 1


def test_paths_lead_to_parquet(home: Home, measurements: Table, blocks: Table) -> None:
    assert measurements.path.name == "iris.parquet"
    assert pd.read_parquet(measurements.path).equals(iris_frame())
    with measurements.open() as stream:
        assert stream.read() == measurements.path.read_bytes()
    assert sorted(each.suffix for each in Path(blocks.path).iterdir()) == [".parquet"] * 3
    assert pd.read_parquet(blocks.path)["n"].tolist() == list(range(10))
    with pytest.raises(InvalidInput, match=r"3 Parquet objects; their folder is node\.path"):
        blocks.open()


def test_invalid_arguments_show_what_exists(measurements: Table) -> None:
    for ask in (
        lambda: measurements["petal"],
        lambda: measurements(columns=["petal"]),
        lambda: measurements(filters=[("petal", ">", 1)]),
    ):
        with pytest.raises(NodeNotFound, match=r"no column 'petal'; did you mean 'petal_length' or 'petal_width'\?$"):
            ask()
    for filters in (("petal_length", ">", 1), [("petal_length", "~", 1)], "petal_length > 1", 3, [("class", ">", 3)]):
        with pytest.raises(InvalidInput):
            measurements(filters=filters)
    with pytest.raises(InvalidInput, match="columns is a list"):
        measurements(columns="class")
    with pytest.raises(TypeError, match=r"for rows, write node\("):
        measurements[0]


def test_frame_attributes_show_how_to_load(measurements: Table) -> None:
    with pytest.raises(AttributeError, match=r"load it first: iris\.measurements\(\)\.groupby\(…\)$"):
        measurements.groupby  # noqa: B018
    with pytest.raises(AttributeError, match=r"taken with \['petal_length'\]"):
        measurements.petal_length  # noqa: B018
    with pytest.raises(TypeError, match=r"write: for each in iris\.measurements\(\)"):
        list(measurements)


def test_bad_pandas_metadata_are_ignored(home: Home) -> None:
    """Behaviour 31 of Quilt 2."""
    table = pa.Table.from_pandas(iris_frame())
    for bad in (b"{", b"{}", b"[]", b'{"index_columns": ["gone"], "columns": [], "column_indexes": []}', b"\xff"):
        node = stored(home, table.replace_schema_metadata({b"pandas": bad}))
        assert node()["class"].tolist() == iris_frame()["class"].tolist()
        assert node["petal_width"].tolist() == iris_frame()["petal_width"].tolist()


def test_foreign_extension_types_are_read_as_storage(home: Home) -> None:
    metadata = {"ARROW:extension:name": "evil.pickle", "ARROW:extension:metadata": b"\x80\x04."}
    field = pa.field("e", pa.int64(), metadata=metadata)
    found = stored(home, pa.table([[1, 2]], schema=pa.schema([field])))()
    assert found["e"].tolist() == [1, 2]


def test_objects_that_differ_from_the_manifest_are_rejected(home: Home) -> None:
    right = table_node(home, "t", iris_frame())
    short = table_node(home, "t", iris_frame()[:2])
    other = table_node(home, "t", iris_frame().rename(columns={"class": "kind"}))
    text = home.store.objects.put_bytes(b"no Parquet")
    for objects, what in [
        ([short.blocks[0]], "has 2 rows"),
        (other.blocks, "'kind'"),
        ([{"hash": text}], "cannot be read as Parquet"),
    ]:
        hash = objects[0]["hash"] if isinstance(objects[0], dict) else objects[0].hash
        block = type(right.blocks[0])(hash, 3, home.store.objects.size(hash))
        node = type(right)(path="t", columns=right.columns, content=CONTENT, blocks=[block], rows=3)
        install(home, "me/t", node)
        for ask in (load("me/t/t", home), load("me/t/t", home).head, load("me/t/t", home).arrow):
            with pytest.raises(CorruptObject, match=what):
                ask()


def test_blocks_of_different_types_are_rejected(home: Home) -> None:
    node = stored(home, pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]}))
    with pytest.raises(CorruptObject, match="differ in the types"):
        node()


def test_values_without_a_python_type() -> None:
    """A build refuses them; packages of others may hold them."""
    table = pa.table({"day": pa.array([3_000_000], pa.int32()).view(pa.date32())})
    with pytest.raises(InvalidInput, match="pandas cannot hold these values") as caught:
        to_pandas(table)
    assert "arrow()" in caught.value.hint


def test_lists_of_bytes_of_one_length_and_of_views() -> None:
    table = pa.table(
        {
            "bytes": pa.array([[b"ab", None]], pa.list_(pa.binary(2))),
            "views": pa.array([[{"x": ["a"]}]], pa.list_(pa.struct([("x", pa.list_(pa.string_view()))]))),
        }
    )
    frame = to_pandas(table)
    assert list(frame["bytes"][0]) == [b"ab", None]
    assert list(frame["views"][0][0]["x"]) == ["a"]
