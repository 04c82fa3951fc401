"""Feather and Arrow files become the tables that Arrow reads from them, in every variant of the format."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pytest
from pyarrow import feather

from datapkg.errors import InvalidBuildFile, TransformFailed
from tests.building.builds import Bench, kinds, write

TABLE = pa.table(
    {
        "n": pa.array([1, None, 3], pa.int32()),
        "t": pa.array(["a", None, "é"], pa.string_view()),
        "when": pa.array([0, 1, None], pa.timestamp("ns", "Europe/Zurich")),
        "list": [[1, 2], None, []],
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    }
)


def ipc_file(table: Any, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def ipc_stream(table: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


@pytest.mark.parametrize(
    "body",
    [ipc_file(TABLE), ipc_file(TABLE, compression="lz4"), ipc_file(TABLE, compression="zstd"), ipc_stream(TABLE)],
    ids=["file", "lz4", "zstd", "stream"],
)
@pytest.mark.parametrize("name", ["a.feather", "a.arrow", "a.arrows", "a.ARROW"])
def test_every_variant_under_every_file_name(tmp_path: Path, name: str, body: bytes) -> None:
    bench = Bench()
    built = bench.build(write(tmp_path, {name: body}))
    assert kinds(built) == {"a": "table"}
    back = bench.table(built, "a")
    assert back.to_pylist() == TABLE.to_pylist()
    assert back.schema.field("n").type == pa.int32()
    assert back.schema.field("when").type == pa.timestamp("ns", "Europe/Zurich")


@pytest.mark.parametrize("chunks", [1, 3])
def test_variant_does_not_change_the_content_hash(tmp_path: Path, chunks: int) -> None:
    table = pa.concat_tables([TABLE] * chunks)
    bodies = {"a.arrow": ipc_file(table), "b.arrows": ipc_stream(table), "c.feather": ipc_file(table.combine_chunks())}
    built = Bench().build(write(tmp_path, bodies))
    assert len({node.content for node in built.manifest.nodes}) == 1  # type: ignore[union-attr]


def test_files_written_by_pandas_round_trip(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {
            "c": pandas.Categorical(["lo", "hi", None], ["lo", "mid", "hi"], ordered=True),
            "i": pandas.array([1, None, 3], dtype="Int16"),
            "z": pandas.to_datetime(["2024-01-02", None, "2024-03-04"]).tz_localize("UTC"),
        }
    )
    frame.to_feather(tmp_path / "f.feather")
    bench = Bench()
    pandas.testing.assert_frame_equal(bench.frame(bench.build(tmp_path), "f"), frame)


def test_feather_version_1(tmp_path: Path) -> None:
    table = TABLE.select(["n", "kind"]).append_column("t", pa.array(["a", None, "b"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        feather.write_feather(table, str(tmp_path / "old.feather"), version=1)
    bench = Bench()
    built = bench.build(tmp_path)
    assert bench.table(built, "old").to_pylist() == table.to_pylist()
    assert built.warnings == []


def test_duplicate_column_names_are_kept_as_labels(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    bench = Bench()
    frame = bench.frame(bench.build(write(tmp_path, {"a.arrow": ipc_file(table)})), "a")
    assert list(frame.columns) == ["x", "x"]


def test_column_selection(tmp_path: Path) -> None:
    write(tmp_path, {"a.arrow": ipc_file(TABLE), "build.yml": _with("columns: [t, n]")})
    bench = Bench()
    assert bench.table(bench.build(tmp_path), "a").column_names == ["t", "n"]


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ("columns: [t, nn]", "no column 'nn'; did you mean 'n'?|no column 'nn'"),
        ("columns: t", "list of names"),
        ("columns: []", "list of names"),
        ("columns: [1]", "list of names"),
    ],
)
def test_missing_columns_are_an_error(tmp_path: Path, kwargs: str, reason: str) -> None:
    write(tmp_path, {"a.arrow": ipc_file(TABLE), "build.yml": _with(kwargs)})
    with pytest.raises(TransformFailed, match=reason):
        Bench().build(tmp_path)


def test_unsupported_kwargs(tmp_path: Path) -> None:
    write(tmp_path, {"a.arrow": ipc_file(TABLE), "build.yml": _with("column: [t]")})
    with pytest.raises(InvalidBuildFile, match="did you mean 'columns'"):
        Bench().build(tmp_path)


@pytest.mark.parametrize(
    "body",
    [b"", b"ARROW1", b"FEA1", b"id,amount\n1,2\n", ipc_file(TABLE)[:-20], ipc_stream(TABLE)[:300], b"\xff" * 100],
    ids=["empty", "magic", "old magic", "text", "cut file", "cut stream", "noise"],
)
def test_file_that_is_not_arrow_is_rejected(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(TransformFailed, match="cannot be read as arrow") as caught:
        Bench().build(write(tmp_path, {"a.arrow": body}))
    assert "transform: id" in caught.value.hint


def test_offsets_outside_the_file_are_rejected(tmp_path: Path) -> None:
    table = pa.table({"t": ["abcd", "efgh"]})
    body = ipc_file(table).replace((4).to_bytes(4, "little") + (8).to_bytes(4, "little"), b"\x04\0\0\0\0\0\0\x7f")
    assert body != ipc_file(table)
    with pytest.raises(TransformFailed, match="cannot be read as arrow"):
        Bench().build(write(tmp_path, {"a.arrow": body}))


def test_extension_type_becomes_its_storage_type_or_is_rejected(tmp_path: Path) -> None:
    storage = pa.field("x", pa.int64(), metadata={"ARROW:extension:name": "foreign", "ARROW:extension:metadata": "m"})
    table = pa.table([pa.array([1, 2])], schema=pa.schema([storage]))
    bench = Bench()
    built = bench.build(write(tmp_path, {"a.arrow": ipc_file(table)}))
    assert bench.frame(built, "a")["x"].tolist() == [1, 2]


def _with(kwargs: str) -> str:
    return f"contents:\n  a: {{file: a.arrow, kwargs: {{{kwargs}}}}}\n"
