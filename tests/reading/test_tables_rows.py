"""Rows of a table: what is asked for comes back as it would from the whole frame, and nothing else is opened."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from datapkg.errors import CorruptObject, InvalidInput, NodeNotFound
from datapkg.format.manifest.parsed import Block, TableNode
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.tables import Table
from datapkg.reading.tables import arrow_cache_writer, block_access
from datapkg.tables.content_hash import column_texts
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.pandas_metadata import remember_categories
from tests.reading.packages import CONTENT, install, table_node

ROWS = 23
EDGES = [None, 0, 1, 4, 5, 9, 10, 22, 23, 40, -1, -5, -23, -40]
FRAMES = {
    "plain": None,
    "named": pd.Index([f"k{number}" for number in range(ROWS)], name="key"),
    "range": pd.RangeIndex(100, 100 - 3 * ROWS, -3, name="r"),
    "levels": pd.MultiIndex.from_arrays([np.arange(ROWS) // 4, np.arange(ROWS)], names=["a", "b"]),
}


def frame_of(index: pd.Index | None) -> pd.DataFrame:
    numbers = np.arange(ROWS)
    columns = {
        "n": numbers,
        "x": np.where(numbers % 5, numbers / 2, np.nan),
        "s": [f"text {number}" for number in numbers],
        "c.d": pd.Categorical(numbers % 3),
    }
    return pd.DataFrame(columns, index=index)


def node_of(home: Home, frame: pd.DataFrame, *ends: int) -> Table:
    """A node of a table whose blocks end at these rows."""
    table = remember_categories(table_from_frame(frame))
    starts = [0, *ends]
    install(home, "me/t", table_node(home, "t", *(table.slice(a, b - a) for a, b in zip(starts, ends, strict=False))))
    node = load("me/t/t", home)
    assert isinstance(node, Table)
    return node


@pytest.fixture(params=["objects", "warm"])
def is_warm(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "warm")


def heated(node: Table, is_warm: bool) -> Table:
    if is_warm:
        assert arrow_cache_writer.write(node.__stored__)
    return node


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], Sequence[str] | None]]:
    """The blocks and columns that are read from objects, footers alone left out."""
    noted: list[tuple[list[int], Sequence[str] | None]] = []
    buffers = block_access.buffers

    def note(
        table: Any, parts: Any, columns: Any = None, condition: Any = None, *, by_page: bool = False
    ) -> list[pa.Buffer]:
        if columns is None or columns:
            noted.append(([part.number for part in parts], columns))
        return buffers(table, parts, columns, condition, by_page=by_page)

    monkeypatch.setattr(block_access, "buffers", note)
    return noted


@pytest.mark.parametrize("index", FRAMES)
def test_slices_are_those_of_the_whole_frame(home: Home, index: str, is_warm: bool) -> None:
    frame = frame_of(FRAMES[index])
    node = heated(node_of(home, frame, 5, 10, 10, 22, 23), is_warm)
    steps = [None, 1, 3, -1, -4]
    for number, rows in enumerate(slice(a, b, step) for a in EDGES for b in EDGES for step in steps):
        if number % 17 == 0:
            pd.testing.assert_frame_equal(node(rows=rows), frame.iloc[rows])
    rows = slice(3, -2, 2)
    pd.testing.assert_frame_equal(node(["s"], rows=rows), frame[["s"]].iloc[rows])
    assert node.arrow(["n"], rows=rows)["n"].to_pylist() == frame["n"].iloc[rows].tolist()


@pytest.mark.parametrize("index", FRAMES)
def test_first_and_last_rows_are_those_of_the_whole_frame(home: Home, index: str, is_warm: bool) -> None:
    frame = frame_of(FRAMES[index])
    node = heated(node_of(home, frame, 5, 10, 22, 23), is_warm)
    for n in (0, 1, 5, 6, 23, 50, -3, -23, -50):
        pd.testing.assert_frame_equal(node.head(n), frame.head(n))
        pd.testing.assert_frame_equal(node.tail(n), frame.tail(n))
    pd.testing.assert_frame_equal(node.head(), frame.head())


@pytest.mark.parametrize("index", FRAMES)
def test_samples_are_rows_of_the_whole_frame(home: Home, index: str, is_warm: bool) -> None:
    frame = frame_of(FRAMES[index])
    node = heated(node_of(home, frame, 5, 10, 22, 23), is_warm)
    for seed in range(20):
        found = node.sample(4, seed=seed)
        pd.testing.assert_frame_equal(found, frame.iloc[found["n"].tolist()])
        pd.testing.assert_frame_equal(found, node.sample(4, seed=seed))
        assert found["n"].is_monotonic_increasing
    assert len({tuple(node.sample(4)["n"]) for _ in range(50)}) > 1
    pd.testing.assert_frame_equal(node.sample(99), frame)
    assert node.sample(0).shape == (0, 4)
    with pytest.raises(InvalidInput, match="how many rows"):
        node.sample(-1)


@pytest.mark.parametrize("index", FRAMES)
@pytest.mark.parametrize("rows", [1, 4, 5, 7, 23, 100])
def test_batches_are_the_frame_in_pieces(home: Home, index: str, rows: int, is_warm: bool) -> None:
    frame = frame_of(FRAMES[index])
    node = heated(node_of(home, frame, 5, 10, 10, 22, 23), is_warm)
    found = list(node.iter_batches(rows))
    assert [len(each) for each in found] == [len(frame[at : at + rows]) for at in range(0, ROWS, rows)]
    pd.testing.assert_frame_equal(pd.concat(found), frame)
    for at, each in enumerate(found):
        pd.testing.assert_frame_equal(each, frame[at * rows : (at + 1) * rows])
        each.iloc[0, 0] = -1
    batches = list(node.iter_batches(rows, arrow=True))
    assert pa.Table.from_batches(batches, node.schema).equals(node.arrow())
    filters = [("n", ">", 6), ("x", "<", 9)]
    passing = node(["s", "n"], filters)
    pd.testing.assert_frame_equal(pd.concat(node.iter_batches(rows, ["s", "n"], filters)), passing)
    assert passing["n"].tolist() == [n for n in range(7, 18) if n % 5]


def test_filters_apply_to_the_slice(home: Home, is_warm: bool) -> None:
    node = heated(node_of(home, frame_of(None), 5, 10, 22, 23), is_warm)
    assert node(["s"], [("n", ">", 7)], rows=slice(2, 11)).to_dict("list") == {"s": ["text 8", "text 9", "text 10"]}
    assert node(["s"], [("n", ">", 7)], rows=slice(11, 2, -1))["s"].tolist()[-1] == "text 8"
    expression = (pc.field("n") > 7) & (pc.field("x") < 5)
    assert node(["n"], expression, rows=slice(0, 11))["n"].tolist() == [8, 9]
    assert node(["n"], expression)["n"].tolist() == [8, 9]
    assert node(["n"], [("n", ">", 7)], rows=slice(0, 0))["n"].tolist() == []
    with pytest.raises(InvalidInput, match="compares it with 7"):
        node(["n"], [("s", ">", 7)], rows=slice(0, 3))
    with pytest.raises(InvalidInput, match="do not fit"):
        node(filters=pc.field("gone") > 3)
    with pytest.raises(InvalidInput, match="compares it with 7"):
        list(node.iter_batches(3, filters=[("s", ">", 7)]))


def test_only_blocks_with_wanted_rows_are_opened(home: Home, touched: list[tuple[list[int], Any]]) -> None:
    node = node_of(home, frame_of(None), 5, 10, 22, 23)
    node(["s"], rows=slice(6, 9))
    node.head(3)
    node.tail(2)
    node(["s"], [("n", ">", 7)], rows=slice(-1, None))
    node(rows=slice(2, 3), columns=["n"])
    node(rows=slice(4, None, 18), columns=["n"])
    node(rows=slice(0, 0))
    assert touched == [
        ([1], ["s"]),
        ([0], None),
        ([2, 3], None),
        ([3], ["s", "n"]),
        ([0], ["n"]),
        ([0, 3], ["n"]),
        ([], None),
    ]
    touched.clear()
    sample = node.sample(1, seed=1)["n"].iloc[0]
    assert touched == [([sum(sample >= end for end in (5, 10, 22))], None)]


def test_batches_open_a_block_when_they_come_to_it(home: Home, touched: list[tuple[list[int], Any]]) -> None:
    node = node_of(home, frame_of(None), 5, 10, 22, 23)
    batches = node.iter_batches(3, ["s"], [("n", ">", 2)])
    assert touched == []
    next(batches)
    assert touched == [([0], ["s", "n"]), ([1], ["s", "n"])]


def test_of_one_object_only_row_groups_with_wanted_rows_are_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    table, sink = remember_categories(table_from_frame(frame_of(FRAMES["named"]))), io.BytesIO()
    pq.write_table(table, sink, row_group_size=4)
    hash = home.store.objects.put_bytes(sink.getvalue())
    columns = column_texts(table.schema)
    objects = [Block(hash, ROWS, len(sink.getvalue()))]
    install(home, "me/t", TableNode(path="t", columns=columns, content=CONTENT, blocks=objects, rows=ROWS))
    node = load("me/t/t", home)
    assert isinstance(node, Table)
    read: list[list[int]] = []
    whole, first = pq.ParquetFile.read_row_groups, pq.ParquetFile.iter_batches

    def note_groups(self: pq.ParquetFile, groups: list[int], *more: Any, **options: Any) -> pa.Table:
        read.append(groups)
        return whole(self, groups, *more, **options)

    def note_batches(self: pq.ParquetFile, size: int, groups: list[int] | None, *more: Any, **options: Any) -> Any:
        read.append(groups or [self.metadata.num_rows])
        return first(self, size, groups, *more, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", note_groups)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", note_batches)
    frame = frame_of(FRAMES["named"])
    for rows in (slice(5, 7), slice(4, 8), slice(3, 18, 7), slice(0, 1), slice(7, 6, -1)):
        pd.testing.assert_frame_equal(node(rows=rows), frame.iloc[rows])
    assert read == [[1], [1], [0, 2, 4], [0], [1]]
    read.clear()
    assert sum(len(each) for each in node.iter_batches(100, ["n"], [("n", "in", [1, 9])])) == 2
    assert read == [[0, 2]]


def test_one_object_gives_only_the_columns_of_question_and_filters(
    home: Home, touched: list[tuple[list[int], Any]]
) -> None:
    node = node_of(home, frame_of(FRAMES["named"]), 23)
    assert node(["c.d"], [("n", "<", 2)])["c.d"].tolist() == [0, 1]
    assert node.arrow(["s"], pc.field("x") < 1)["s"].to_pylist() == ["text 1"]
    assert touched == [([0], ["c.d", "key", "n"]), ([0], ["s", "x"])]


def test_non_slice_is_rejected(home: Home) -> None:
    node = node_of(home, frame_of(None), 5, 23)
    wrong: Any
    for wrong in (3, [1, 2], slice("a", "b"), slice(0, 3, 0), slice(0.5, 2)):
        with pytest.raises(InvalidInput, match=r"rows is a slice of whole numbers, as in rows=slice\(0, 100\)"):
            node(rows=wrong)
    for wrong in (0, -1, "many", 2.5, True):
        with pytest.raises(InvalidInput, match="how many rows a batch has"):
            node.iter_batches(wrong)
    with pytest.raises(NodeNotFound, match="no column 'm'"):
        node.iter_batches(2, ["m"])
    with pytest.raises(TypeError, match=r"write node\(rows=slice\(0, 10\)\)"):
        node[2:3]  # type: ignore[index]


def test_a_table_without_rows(home: Home, is_warm: bool) -> None:
    node = heated(node_of(home, frame_of(None)[:0], 0), is_warm)
    for found in (node(), node.head(), node.tail(), node.sample(), node(rows=slice(3, 1, -1))):
        assert found.shape == (0, 4)
    assert list(node.iter_batches(5)) == []


def test_corrupt_block_is_found_when_its_rows_are_read(home: Home) -> None:
    node = node_of(home, frame_of(None), 5, 10, 23)
    short = table_node(home, "t", table_from_frame(frame_of(None)[:2]))
    blocks = list(node.__entry__.blocks)
    blocks[1] = Block(short.blocks[0].hash, 5, short.blocks[0].size)
    entry = node.__entry__
    install(home, "me/t", TableNode(path="t", columns=entry.columns, content=CONTENT, blocks=blocks, rows=ROWS))
    node = load("me/t/t", home)  # type: ignore[assignment]
    assert node.head(5)["n"].tolist() == list(range(5))
    with pytest.raises(CorruptObject, match="has 2 rows"):
        node.head(6)
    batches = node.iter_batches(5)
    assert len(next(batches)) == 5
    with pytest.raises(CorruptObject, match="has 2 rows"):
        next(batches)
