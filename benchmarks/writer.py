"""Which way of writing blocks is best in size, write time, read time, and new bytes after an edit?

One thread, CPU time, the minimum of a few tries. Sizes are compared with one plain Parquet file (zstd), times to read
with the file that pandas writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import _data
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from _bench import MB, Row, options, report
from _edits import insert_row
from _pages import new_bytes, object_part, page_parts

from datapkg.tables.block_boundaries import cut_batches
from datapkg.tables.block_writer import WRITER, Choices, choose, write_block
from datapkg.tables.storage_types import to_storage_types

TABLES = ("trips", "readings", "posts", "orders")
TWO = {
    "trips": ["fare", "zone"],
    "readings": ["time", "wind"],
    "posts": ["score", "author"],
    "orders": ["price", "product"],
}
KIB = 1 << 10


@dataclass(frozen=True)
class Way:
    """A way of writing: the choices for a table, and the differences from `WRITER`."""

    choose: Callable[[pa.Table], Choices] = choose
    writer: dict[str, Any] = field(default_factory=dict)


def few_values(first: pa.Table) -> Choices:
    """Choose dictionaries if every value occurs sixteen times, and compress everything."""
    first = first.slice(0, 65_536)
    counts = {name: pc.count_distinct(first[name], mode="all").as_py() for name in first.column_names}
    return Choices([name for name, count in counts.items() if count * 16 <= len(first)])


def uncompressed(first: pa.Table) -> Choices:
    """Keep the choices, but compress nothing."""
    chosen = choose(first)
    return replace(chosen, compressed=[], uncompressed=first.column_names)


WAYS = {
    "as chosen": Way(),
    "zstd 3": Way(writer={"level": 3}),
    "pages of 32 to 128 KiB": Way(writer={"page_bytes": [32 * KIB, 128 * KIB]}),
    "pages of 128 to 512 KiB": Way(writer={"page_bytes": [128 * KIB, 512 * KIB]}),
    "all zstd, dictionaries of few values": Way(few_values),
    "all zstd, dictionaries everywhere": Way(lambda first: Choices(first.column_names)),
    "all zstd, no dictionaries": Way(lambda first: Choices()),
    "nothing compressed": Way(uncompressed),
}


def least(work: Callable[[], Any], tries: int) -> float:
    """Return the minimum CPU time of a few tries."""
    taken = []
    for _ in range(tries):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def read(files: list[pa.Buffer], columns: list[str] | None) -> None:
    for data in files:
        pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)


def written_as(table: pa.Table, **how: Any) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **how)
    return sink.getvalue()


def measured(name: str, size: int, tries: int) -> list[Row]:
    """Measure every way of writing one table."""
    table = to_storage_types(_data.table(name, max(3_000, size // _data.ROW_BYTES[name])))
    edited = insert_row(table, to_storage_types(_data.table(name, 1, start=40_000_000)))
    blocks, after = ([block.combine_chunks() for block in cut_batches([each], each.schema)] for each in (table, edited))
    plain = written_as(table, compression="zstd").size
    theirs = [written_as(pa.Table.from_pandas(table.to_pandas()), compression="snappy", row_group_size=1 << 20)]
    rows: list[Row] = []
    usual = dict(WRITER)
    for what, way in WAYS.items():
        WRITER.update(usual | way.writer)
        choices = way.choose(blocks[0])
        files = [write_block(block, choices) for block in blocks]
        row: Row = {"what": f"{name}: {what}", "times plain": sum(each.size for each in files) / plain}
        row["write CPU s"] = least(partial(write_all, blocks, choices), max(1, tries // 2))
        for column, columns in (("read, times pandas", None), ("two columns", TWO[name])):
            row[column] = least(partial(read, files, columns), tries) / least(partial(read, theirs, columns), tries)
        rows.append(row | new_after(files, [write_block(block, choices) for block in after]))
    WRITER.update(usual)
    return rows


def write_all(blocks: list[pa.Table], choices: Choices) -> None:
    for block in blocks:
        write_block(block, choices)


def new_after(files: list[pa.Buffer], after: list[pa.Buffer]) -> Row:
    """Return what is new in the second files, by object and by page."""
    before, later = ([each.to_pybytes() for each in datas] for datas in (files, after))
    whole = sum(map(len, before))
    objects = new_bytes(map(object_part, before), map(object_part, later))
    pages = ([part for data in datas for part in page_parts(data)] for datas in (before, later))
    return {"one row more: new % by object": 100 * objects / whole, "by page": 100 * new_bytes(*pages) / whole}


def main() -> None:
    chosen = options(__doc__, mb=(1, 10, 60), tries=(1, 2, 4))
    pa.set_cpu_count(1)
    report(chosen, [row for name in TABLES for row in measured(name, chosen.mb * MB, chosen.tries)])


if __name__ == "__main__":
    main()
