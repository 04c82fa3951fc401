"""How columns are written is settled by the first rows, the same everywhere, and never changes what is read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.objects.chunking import cut
from datapkg.tables.block_writer import Choices, choose, write_block

ROWS = 40_000
RANDOM = np.random.default_rng(0)


def columns() -> dict[str, Any]:
    return {
        "rising": np.arange(ROWS),
        "noise": RANDOM.normal(size=ROWS),
        "few": RANDOM.integers(0, 50, ROWS),
        "words": pa.array(["some", "words", "again"]).take(pa.array(RANDOM.integers(0, 3, ROWS))),
        "texts": pa.array([f"text number {number}" for number in range(ROWS)]),
        "truth": RANDOM.random(ROWS) < 0.5,
        "list": pa.array([[number, 1] for number in range(ROWS)]),
        "struct": pa.array([{"a": number, "b": "x"} for number in range(ROWS)]),
        "category": pa.array(["x", "y"] * (ROWS // 2)).dictionary_encode(),
        "nothing": pa.nulls(ROWS),
    }


def read(data: pa.Buffer) -> tuple[pa.Table, Any]:
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    return file.read(), file.metadata.row_group(0)


def test_each_column_gets_its_encoding() -> None:
    table = pa.table(columns())
    choices = choose(table)
    assert choices.dictionaries == ["few", "words", "category"]
    assert choices.differences == ["rising"]
    assert {"noise", "few"} <= set(choices.uncompressed)
    assert {"texts", "struct.b"} <= set(choices.compressed)
    back, group = read(write_block(table, choices))
    assert back.equals(table)
    codecs = {group.column(at).path_in_schema: group.column(at).compression for at in range(group.num_columns)}
    assert {codecs[path] for path in choices.uncompressed} == {"UNCOMPRESSED"}
    assert {codecs[path] for path in choices.compressed} == {"ZSTD"}


def test_the_first_rows_alone_count() -> None:
    table = pa.table(columns())
    assert choose(pa.concat_tables([table, table.slice(0, 100)])) == choose(table) == choose(table.slice(0, 32_768))


def test_short_tables_are_only_compressed() -> None:
    table = pa.table(columns()).slice(0, 1_000)
    assert choose(table) == Choices(["category"])
    back, group = read(write_block(table.combine_chunks(), choose(table)))
    assert back.equals(table)
    assert group.column(0).compression == "ZSTD"


def test_names_that_could_mean_two_columns_get_nothing_special() -> None:
    numbers = pa.array(np.arange(ROWS))
    text = pa.array([f"{number}" for number in range(ROWS)])
    struct = pa.StructArray.from_arrays([text], ["b"])
    for arrays, names in (
        ([numbers, text], ["a", "a"]),
        ([struct, numbers], ["a", "a.b"]),
        ([numbers, numbers], ["", "·.🙂"]),
    ):
        table = pa.Table.from_arrays(arrays, names)
        choices = choose(table)
        assert read(write_block(table, choices))[0].equals(table)
        assert len(choices.differences) == (2 if names[0] == "" else 0)


def test_later_blocks_may_differ_from_the_first() -> None:
    choices = choose(pa.table({"n": np.arange(ROWS), "w": ["a"] * ROWS}))
    other = pa.table({"n": pa.array([None, -(2**63), 2**63 - 1] * 1_000), "w": [None, "long" * 99, ""] * 1_000})
    assert read(write_block(other, choices))[0].equals(other)
    assert read(write_block(other.slice(0, 0), choices))[0].equals(other.slice(0, 0))


def test_a_row_inserted_into_a_wide_table_changes_few_of_its_bytes() -> None:
    values = np.random.default_rng(1).normal(size=(8_000, 200))
    before, after = (
        pa.table({f"c{at}": rows[:, at] for at in range(200)}) for rows in (values, np.insert(values, 2_000, 1, axis=0))
    )
    known, cuts = (
        {bytes(piece): len(piece) for piece in cut(io.BytesIO(write_block(table, choose(table))))}
        for table in (before, after)
    )
    assert sum(size for piece, size in cuts.items() if piece not in known) < sum(cuts.values()) / 3
    assert choose(before).record(200)["page_bytes"] == [8_192, 32_768]
    assert choose(before).record(128)["page_bytes"] == [65_536, 262_144]
