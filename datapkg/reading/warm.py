"""Warm copies: a table as Arrow keeps it in memory, in a file of the cache that is mapped and not read."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pyarrow as pa

from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest import TableNode
from datapkg.reading.source import Source

if TYPE_CHECKING:
    from datapkg.store.copies import Copies

FORMAT = 1


def key(table: TableNode) -> str:
    """The name of a table's copy: it tells all that a reader can see of it, since that is in its objects."""
    blocks = [[block.hash, block.rows] for block in table.objects_]
    return hash_bytes(json.dumps([FORMAT, table.columns, blocks]).encode())


def find(source: Source, table: TableNode) -> pa.Table | None:
    """The copy of a table, mapped into memory; None where there is none, or none that can be believed."""
    copies: Copies = source.store.copies
    path = copies.find(key(table))
    if path is None:
        return None
    with contextlib.suppress(OSError, pa.ArrowException), pa.memory_map(str(path)) as mapped:
        found = pa.ipc.open_file(mapped).read_all()
        if len(found) == table.rows and found.column_names == [name for name, _ in table.columns]:
            return found
    return None
