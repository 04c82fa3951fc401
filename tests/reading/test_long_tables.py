"""Long tables are read in other ways than short ones, and nobody can tell: whole, fresh, and to be written to."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.errors import CorruptObject
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.tables import Table
from datapkg.reading.tables.pandas_reader import to_pandas
from datapkg.tables.block_reader import open_block, with_long_text
from datapkg.tables.column_assembler import ColumnAssembler
from tests.reading.packages import install, table_node

ROWS = 70_000


def long_frame() -> pd.DataFrame:
    """A column of every kind that is kept in memory in its own way."""
    numbers = np.arange(ROWS)
    gaps = numbers % 7 == 0
    columns = {
        "integers": numbers,
        "small": (numbers % 100).astype("int8"),
        "floats": numbers / 3,
        "gaps": np.where(gaps, np.nan, numbers),
        "late gap": np.where(numbers == ROWS - 1, np.nan, numbers),
        "truth": gaps,
        "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(numbers, unit="s"),
        "zoned": pd.date_range("2024-01-01", periods=ROWS, freq="s", tz="Europe/Berlin"),
        "span": pd.to_timedelta(numbers, unit="s"),
        "text": numbers.astype(str),
        "category": pd.Categorical(np.array(["a", "b", "c"])[numbers % 3]),
        "nullable": pd.array(np.where(gaps, None, numbers), dtype="Int64"),
        "whole": pd.array(numbers, dtype="Int64"),
        "halves": (numbers % 100).astype("float16"),
        "day": [datetime.date(2024, 1, 1)] * ROWS,
    }
    return pd.DataFrame(columns, index=pd.Index(numbers * 2, name="row"))


@pytest.fixture(params=[1, 3])
def long(home: Home, request: pytest.FixtureRequest) -> Table:
    frame = long_frame()
    size = -(-ROWS // request.param)
    install(home, "me/t", table_node(home, "t", *(frame[at : at + size] for at in range(0, ROWS, size))))
    node = load("me/t/t", home)
    assert isinstance(node, Table)
    return node


def test_long_table_round_trips_and_is_writable(long: Table) -> None:
    frame = long()
    pd.testing.assert_frame_equal(frame, long_frame())
    for at in range(frame.shape[1]):
        frame.iloc[0, at] = value = frame.iloc[1, at]
        assert frame.iloc[0, at] == value
    pd.testing.assert_frame_equal(long(), long_frame())


def test_arrays_of_the_frame_are_writable(long: Table) -> None:
    frame = long()
    arrays = [frame.iloc[:, at].array for at in range(frame.shape[1])]
    below = [
        getattr(array, name) for array in arrays for name in ("_ndarray", "_codes", "_data") if hasattr(array, name)
    ]
    assert [each.dtype for each in below if isinstance(each, np.ndarray) and not each.flags.writeable] == []


def test_columns_are_in_the_requested_order(long: Table) -> None:
    frame = long(["text", "floats", "integers"])
    pd.testing.assert_frame_equal(frame, long_frame()[["text", "floats", "integers"]])
    assert long.arrow(["floats", "category", "small"]).column_names == ["floats", "category", "small"]


def test_numbers_without_nulls_are_contiguous(long: Table) -> None:
    table = long.arrow()
    table.validate(full=True)
    assert table["integers"].num_chunks == table["time"].num_chunks == 1
    assert table["gaps"].null_count + table["late gap"].null_count == ROWS // 7 + 1


def test_read_only_memory_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "mapped.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema({"n": pa.int64()})) as writer:
        writer.write_table(pa.table({"n": np.arange(ROWS)}))
    with pa.memory_map(str(path)) as mapped:
        frame = to_pandas(pa.ipc.open_file(mapped).read_all())
    frame.loc[0, "n"] = 7
    assert frame["n"].iloc[:2].tolist() == [7, 1]


def test_part_that_differs_from_its_footer_is_rejected() -> None:
    schema = pa.schema({"n": pa.int64()})
    for part in (pa.table({"n": [1]}), pa.table({"n": [1.0, 2.0]}), pa.table({"m": [1, 2]})):
        with pytest.raises(pa.ArrowInvalid, match="not what its footer says"):
            ColumnAssembler(schema, [2]).add(0, part)


def test_objects_of_several_types_are_corrupt(home: Home) -> None:
    install(home, "me/t", table_node(home, "t", pd.DataFrame({"n": [1]}), pd.DataFrame({"n": [1.5]})))
    node = load("me/t/t", home)
    assert isinstance(node, Table)
    with pytest.raises(CorruptObject, match="differ in the types"):
        node()


def test_parts_without_rows_and_without_columns() -> None:
    joint = ColumnAssembler(pa.schema({"n": pa.int32(), "s": pa.string()}), [0, 2])
    joint.add(1, pa.table({"n": pa.array([1, 2], pa.int32()), "s": ["a", None]}))
    joint.add(0, pa.schema({"n": pa.int32(), "s": pa.string()}).empty_table())
    assert joint.table().to_pylist() == [{"n": 1, "s": "a"}, {"n": 2, "s": None}]


@pytest.mark.parametrize("parts", [1, 3])
def test_text_is_read_wide_and_shown_as_stored(home: Home, parts: int) -> None:
    numbers = np.arange(ROWS)
    frame = pd.DataFrame({"n": numbers, "s": numbers.astype(str), "gaps": np.where(numbers % 7, "ä", None)})
    table = pa.Table.from_pandas(frame).cast(pa.schema({"n": pa.int64(), "s": pa.string(), "gaps": pa.string()}))
    size = -(-ROWS // parts)
    install(home, "me/t", table_node(home, "t", *(table.slice(at, size) for at in range(0, ROWS, size))))
    node = load("me/t/t", home)
    assert isinstance(node, Table)
    pd.testing.assert_frame_equal(node(), table.to_pandas())
    pd.testing.assert_frame_equal(node(["gaps", "s"]), table.to_pandas()[["gaps", "s"]])
    assert node.arrow().schema.types == [pa.int64(), pa.string(), pa.string()]


def parquet(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_text_is_widened_only_if_nothing_else_changes() -> None:
    text = pa.array(["a", None])
    table = pa.table({"s": text, "b": text.cast(pa.binary()), "n": [1, 2]})
    wide = with_long_text(parquet(table), table.schema)
    assert wide is not None
    assert wide.types == [pa.large_string(), pa.large_binary(), pa.int64()]
    assert open_block(parquet(table), long_text=True).read().equals(table.cast(wide))
    for other in (
        pa.array([1, 2], pa.duration("s")),
        text.dictionary_encode(),
        pa.array([0, 1], pa.timestamp("ms", "CET")),
    ):
        table = pa.table({"s": text, "other": other})
        assert with_long_text(parquet(table), table.schema) is None
    assert with_long_text(parquet(pa.table({"n": [1]})), pa.schema({"n": pa.int64()})) is None


def test_invalid_footer_is_rejected() -> None:
    for data in (b"", b"PAR1", b"\xff\xff\xff\x7fPAR1", b"\x00" * 20 + b"\x04\x00\x00\x00PAR1"):
        with pytest.raises((pa.ArrowException, OSError)):
            open_block(pa.py_buffer(data), long_text=True)
