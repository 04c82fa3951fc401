"""Cached copies of tables in Arrow's memory format, in files of the cache that are mapped instead of read."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pyarrow as pa

from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import TableNode
from datapkg.objects.threads import ThreadPool
from datapkg.reading.tables.stored_table import StoredTable

if TYPE_CHECKING:
    from datapkg.store.arrow_cache import ArrowCache

FORMAT = 1


def key(table: TableNode) -> str:
    """Return the name of a table's copy: a hash of all that a reader can see of it, which its objects determine."""
    blocks = [[block.hash, block.rows] for block in table.blocks]
    return hash_bytes(json.dumps([FORMAT, table.columns, blocks]).encode())


def find(table: StoredTable) -> pa.Table | None:
    """Return the copy of a table, mapped into memory; None if there is none, or one that does not fit the manifest."""
    copies: ArrowCache = table.source.store.copies
    path = copies.find(key(table.node))
    if path is None:
        return None
    with contextlib.suppress(OSError, pa.ArrowException), pa.memory_map(str(path)) as mapped:
        found = pa.ipc.open_file(mapped).read_all()
        if len(found) == table.node.rows and found.column_names == [name for name, _ in table.node.columns]:
            return found
    return None


def copied(table: pa.Table) -> pa.Table:
    """Return the table in memory of its own, of a slice only its rows; columns are copied in parallel."""
    with ThreadPool(pa.cpu_count()) as pool:
        columns = [call.result() for call in [pool.submit(_copied, column) for column in table.columns]]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _copied(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([_own(chunk) for chunk in column.chunks], column.type)


def _own(chunk: pa.Array) -> pa.Array:
    if isinstance(chunk, pa.DictionaryArray):
        indices, values = _own(chunk.indices), _own(chunk.dictionary)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=chunk.type.ordered, safe=False)
    return pa.concat_arrays([chunk])
