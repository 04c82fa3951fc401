"""Columnar files are read in batches: the table is the same, and it is never held in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

from datapkg.building.readers import TRANSFORMS, batches
from datapkg.tables.table_stream import TableStream
from tests.building.builds import Bench, write

ROWS = 10_000
TABLE = pa.table(
    {"id": range(ROWS), "text": [f"row {at}" if at % 7 else None for at in range(ROWS)], "x": [0.5] * ROWS}
)


def ipc_file(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)


def ipc_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)


FORMS: dict[str, tuple[str, Callable[[pa.Table, Path], None], dict[str, object]]] = {
    "parquet": (
        "a.parquet",
        lambda table, path: pq.write_table(table, path, row_group_size=1000),
        {"rewrite": True},
    ),
    "orc": ("a.orc", lambda table, path: orc.write_table(table, path, stripe_size=1024, batch_size=100), {}),
    "feather": ("a.feather", lambda table, path: feather.write_feather(table, path, chunksize=1000), {}),
    "arrow": ("a.arrow", ipc_file, {}),
    "stream": ("a.arrows", ipc_stream, {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_file_is_read_in_batches(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_MOST_ROWS", 3000)
    name, save, kwargs = FORMS[form]
    save(TABLE, tmp_path / name)
    transform = TRANSFORMS[form if form in TRANSFORMS else "arrow"]
    assert transform.read is not None
    found = transform.read(tmp_path / name, kwargs, print)
    assert isinstance(found, TableStream)
    tables = [part.table for part in found.parts()]
    assert len(tables) > 1
    assert pa.concat_tables(tables).equals(TABLE)
    words = ", kwargs: {rewrite: true}" if kwargs else ""
    write(tmp_path, {"build.yml": f"contents:\n  a: {{file: {name}, transform: {transform.name}{words}}}\n"})
    bench = Bench()
    assert bench.table(bench.build(tmp_path), "a").equals(TABLE)


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream"])
def test_categories_of_batches_are_unified(tmp_path: Path, form: str) -> None:
    name, save, kwargs = FORMS[form]
    chunks = [pa.array(values).dictionary_encode() for values in (["a", "b"], ["c", "a"], [None, "b"])]
    table = pa.table({"c": pa.chunked_array(chunks)}).unify_dictionaries()
    save(table, tmp_path / name)
    words = ", kwargs: {rewrite: true}" if kwargs else ""
    write(tmp_path, {"build.yml": f"contents:\n  a: {{file: {name}{words}}}\n"})
    bench = Bench()
    frame = bench.frame(bench.build(tmp_path), "a")
    assert frame["c"].tolist()[:4] == ["a", "b", "c", "a"]
    assert frame["c"].cat.categories.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("form", FORMS)
def test_no_rows(tmp_path: Path, form: str) -> None:
    name, save, _ = FORMS[form]
    save(TABLE.slice(0, 0), tmp_path / name)
    bench = Bench()
    built = bench.build(tmp_path)
    assert bench.table(built, "a").schema.names == TABLE.schema.names
    assert len(bench.table(built, "a")) == 0
