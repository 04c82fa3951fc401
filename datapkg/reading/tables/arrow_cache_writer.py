"""Write cached copies of tables: read a table once, and write it in Arrow's memory format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from datapkg.errors import InvalidInput, exhausted
from datapkg.reading.tables import arrow_cache, arrow_reader
from datapkg.reading.tables.batches import batches
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.reading.tables.summary import nbytes

# A smaller table is written in one chunk a column, which pandas can use in place; of a larger one, at most a batch is
# in memory.
ONE_PIECE_BYTES = 1 << 30
_BATCH_ROWS = 1 << 18


def write(table: StoredTable) -> bool:
    """Write a copy of a table, unless there is one; return whether it was written.

    Raise `InvalidInput` for a table that Arrow files cannot hold, and errors of reading.
    """
    if arrow_cache.find(table) is not None:
        return False
    source, node = table.source, table.node
    with source.store.copies.writing(arrow_cache.key(node), source.ref.package, node.path, node.rows) as path:
        try:
            _write(table, path)
        except pa.ArrowException as error:
            raise exhausted(error) or InvalidInput(f"{table.place} cannot be kept as Arrow: {error}") from error
    return True


def _write(table: StoredTable, path: Path) -> None:
    question = arrow_reader.ask(table)
    schema = arrow_reader.schema(table)
    parts: Iterable[pa.RecordBatch]
    if nbytes(table) <= ONE_PIECE_BYTES:
        parts = arrow_reader.read(question).unify_dictionaries().combine_chunks().to_batches()
    else:
        parts = batches(question, _BATCH_ROWS)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in parts:
            writer.write_batch(batch)
