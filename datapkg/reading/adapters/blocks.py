"""The blocks of a table one at a time, so that no more than one of them need be in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec
import pandas as pd
import pyarrow as pa

from datapkg.errors import CorruptObject
from datapkg.format.frames import pandas_metadata, restore_categories
from datapkg.format.manifest import TableNode
from datapkg.reading import frames, parquet
from datapkg.reading.nodes.interchange import Exchanged


def starts(table: Exchanged) -> list[int]:
    """The number of the row that each block begins with, and the number of all rows."""
    return [0, *accumulate(block.rows for block in table.__entry__.objects_)]


def schema(table: Exchanged) -> pa.Schema:
    """The schema of what `node.arrow()` gives, categories too; reads the end of the first object."""
    return restore_categories(parquet.schema(table.__source__, table.__entry__).empty_table()).schema


def read(table: Exchanged, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one block as Arrow keeps them."""
    return parquet.read(table.__source__, _only(table.__entry__, number), columns)


def read_frame(table: Exchanged, number: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of one block as a DataFrame, with the labels that they have in the whole table."""
    frame = frames.read(table.__source__, _only(table.__entry__, number), columns)
    if isinstance(frame.index, pd.RangeIndex):
        start, step, name = _range(parquet.schema(table.__source__, table.__entry__))
        first = start + step * starts(table)[number]
        frame.index = pd.RangeIndex(first, first + step * len(frame), step, name=name)
    return frame


def stream(table: Exchanged) -> pa.RecordBatchReader:
    """All rows, block by block; what is wrong with the first block is found here, with others when they are reached."""
    first = read(table, 0)
    return pa.RecordBatchReader.from_batches(first.schema, _batches(table, first))


def _batches(table: Exchanged, first: pa.Table) -> Iterator[pa.RecordBatch]:
    kind = first.schema
    yield from first.to_batches()
    del first
    for number in range(1, len(table.__entry__.objects_)):
        block = read(table, number)
        if not block.schema.equals(kind):
            place = f"{table.__source__.ref.package}/{table.__at__}"
            raise CorruptObject(f"{place}: its objects differ in the types of their columns")
        yield from block.to_batches()


def _only(entry: TableNode, number: int) -> TableNode:
    block = entry.objects_[number]
    return msgspec.structs.replace(entry, objects_=[block], rows=block.rows)


def _range(schema: pa.Schema) -> tuple[int, int, str | None]:
    """Where the range that is a table's index starts, its step, and its name."""
    described = pandas_metadata(schema).get("index_columns")
    if isinstance(described, list) and len(described) == 1 and isinstance(described[0], dict):
        start, step, name = map(described[0].get, ("start", "step", "name"))
        if isinstance(start, int) and isinstance(step, int) and step:
            return start, step, name if isinstance(name, str) else None
    return 0, 1, None
