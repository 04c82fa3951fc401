"""A Parquet source keeps its bytes, and its content hash is the hash of its values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.errors import TransformFailed
from datapkg.format.manifest.parsed import TableNode
from datapkg.reading.tables.pandas_reader import to_pandas
from tests.building.builds import Bench, write


def test_bytes_are_kept(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1, 2], "t": ["x", None]}, index=pandas.Index(["p", "q"], name="k"))
    frame.to_parquet(tmp_path / "t.parquet")
    bench = Bench()
    built = bench.build(tmp_path)
    node = built.manifest.get("t")
    assert isinstance(node, TableNode)
    (block,) = node.blocks
    assert bench.objects.read(block.hash) == (tmp_path / "t.parquet").read_bytes()
    assert (node.rows, node.file_name, block.size) == (2, "t.parquet", (tmp_path / "t.parquet").stat().st_size)
    pandas.testing.assert_frame_equal(bench.frame(built, "t"), frame)


def test_rewriting_keeps_the_content_hash(tmp_path: Path) -> None:
    rows = 150_000
    table = pa.table({"i": np.arange(rows), "t": [f"r{i}" for i in range(rows)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=10_000)
    text = "contents:\n  kept: {file: t.parquet}\n  ours: {file: t.parquet, kwargs: {rewrite: true}}\n"
    bench = Bench()
    built = bench.build(write(tmp_path, {"build.yml": text}))
    kept, ours = built.manifest.get("kept"), built.manifest.get("ours")
    assert isinstance(kept, TableNode)
    assert isinstance(ours, TableNode)
    assert kept.content == ours.content
    assert len(kept.blocks) == 1
    assert len(ours.blocks) > 1
    assert bench.table(built, "ours").equals(table)


def test_writer_does_not_change_the_content_hash(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, None], "t": ["x", None, "y"]})
    bench = Bench()
    pq.write_table(table, tmp_path / "t.parquet")
    first = bench.build(tmp_path)
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd")
    second = bench.build(tmp_path, previous=first.manifest)
    assert second.manifest == first.manifest
    assert (second.built, second.reused) == (0, 1)


def test_old_and_buggy_pandas_metadata(tmp_path: Path) -> None:
    for number, description in enumerate(
        (b"{", b"[]", b'{"index_columns": 3, "columns": "x", "column_indexes": {}}', b"\xff")
    ):
        table = pa.table({"a": [1]}).replace_schema_metadata({b"pandas": description})
        pq.write_table(table, tmp_path / f"t{number}.parquet")
    built = Bench().build(tmp_path)
    assert len({node.content for node in built.manifest.nodes if isinstance(node, TableNode)}) == 1


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1 and then no more PAR1", b"a,b\n1,2\n"])
def test_file_that_is_not_parquet(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(TransformFailed, match="cannot be read as parquet"):
        Bench().build(write(tmp_path, {"t.parquet": body}))


def test_corrupt_pages_are_detected_at_build(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": np.random.default_rng(1).normal(size=5_000)}), sink, write_page_checksum=True)
    body = bytearray(sink.getvalue())
    body[2_000:2_100] = bytes(100)
    with pytest.raises(TransformFailed):
        Bench().build(write(tmp_path, {"t.parquet": bytes(body)}))


def test_duplicate_column_names_need_rewrite(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array(["x"])], names=["a", "a"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(TransformFailed, match="column 'a' is in it twice") as caught:
        Bench().build(tmp_path)
    assert caught.value.hint == "set kwargs: {rewrite: true}"
    bench = Bench()
    write(tmp_path, {"build.yml": "contents: {t: {file: t.parquet, kwargs: {rewrite: true}}}\n"})
    assert list(bench.frame(bench.build(tmp_path), "t").columns) == ["a", "a"]


def test_no_columns(tmp_path: Path) -> None:
    pandas.DataFrame(index=range(3)).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(TransformFailed, match="no column"):
        Bench().build(tmp_path)


def nested_extensions() -> pa.Table:
    json = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", None]))
    uuid = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16)))
    matrix = pa.fixed_shape_tensor(pa.float64(), (2, 2), permutation=[1, 0])
    return pa.table(
        {
            "list": pa.ListArray.from_arrays([0, 1, 2], json),
            "struct": pa.StructArray.from_arrays([uuid, json], ["u", "j"]),
            "map": pa.MapArray.from_arrays([0, 1, 2], pa.array(["a", "b"]), uuid),
            "fixed": pa.FixedSizeListArray.from_arrays(uuid, 1),
            "tensor": pa.ExtensionArray.from_storage(
                matrix, pa.array([[1.0, 2, 3, 4], None], pa.list_(pa.float64(), 4))
            ),
            "top": uuid,
        }
    )


@pytest.mark.parametrize("form", ["parquet", "arrow", "value"])
def test_nested_extension_types_are_read_as_their_storage(form: str, tmp_path: Path) -> None:
    table = nested_extensions()
    source: Any = tmp_path
    if form == "parquet":
        pq.write_table(table, tmp_path / "t.parquet")
    elif form == "arrow":
        with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    else:
        source = {"t": table}
    bench = Bench()
    built = bench.build(source)
    found = bench.table(built, "t")
    assert found.column("list").to_pylist() == [["{}"], [None]]
    assert found.column("struct").to_pylist()[0] == {"u": b"0" * 16, "j": "{}"}
    assert found.column("map").to_pylist() == [[("a", b"0" * 16)], [("b", None)]]
    assert found.column("tensor").to_pylist() == [[1, 2, 3, 4], None]
    assert found.schema.field("top").type == pa.uuid()
    assert len(to_pandas(found)) == 2
    notes = [each for each in built.warnings if "is kept as" in each]
    assert [name for name in table.column_names if any(f"'{name}'" in each for each in notes)] == [
        *("list", "struct", "map", "fixed", "tensor"),
    ]


def test_int96_beyond_nanoseconds_is_microseconds(tmp_path: Path) -> None:
    times = pa.array([253_402_300_799 * 10**6, 1_704_067_200 * 10**6, None], pa.timestamp("us"))
    table = pa.table({"t": times, "in a list": pa.ListArray.from_arrays([0, 1, 1, 3], times)})
    pq.write_table(table, tmp_path / "far.parquet", use_deprecated_int96_timestamps=True)
    pq.write_table(table.slice(1), tmp_path / "near.parquet", use_deprecated_int96_timestamps=True)
    bench = Bench()
    built = bench.build(tmp_path)
    assert bench.table(built, "far").to_pylist() == table.to_pylist()
    assert bench.table(built, "near").schema.field("t").type == pa.timestamp("ns")
    assert [each for each in built.warnings if "INT96" in each] == [
        "far.parquet: INT96 times beyond what nanoseconds can hold are kept in microseconds"
    ]
