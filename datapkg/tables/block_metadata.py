"""What the Parquet footer of a block holds of its values, so that rows can be appended to a table without reading it.

The key `datapkg.block` holds JSON: the columns that are the key of these rows (`tables/block_boundaries`) and their
digests (`tables/content_hash`, base64 of 32 bytes a column, under the name of the hash that they belong to). Both are
functions of the block's values alone, and so is whether the key is present: a block of fewer than `min_rows` rows has
none, since it can only be the last of its table. The digests need not be trusted: those of all blocks must give the
`content` that the manifest states.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.tables.block_boundaries import key_columns, min_rows
from datapkg.tables.pandas_metadata import BLOCK_KEY

_HASH, _WIDTH = "c1", 32


@dataclass(frozen=True)
class BlockNote:
    """The columns that are a block's key, by position, and one digest a column."""

    key: list[int]
    digests: list[bytes]


def metadata(block: pa.Table, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return what the footer of a block has besides its schema."""
    if len(block) < min_rows(block.num_columns):
        return {}
    note = {_HASH: base64.b64encode(b"".join(digests)).decode("ascii"), "key": key_columns(block)}
    return {BLOCK_KEY: json.dumps(note, separators=(",", ":")).encode("ascii")}


def note_in(footer: pq.FileMetaData) -> BlockNote | None:
    """Return the note in the footer of a block of these columns; None if there is none that can be read."""
    columns = len(footer.schema.to_arrow_schema())
    try:
        entry = json.loads((footer.metadata or {})[BLOCK_KEY])
        key, joined = entry["key"], base64.b64decode(entry[_HASH], validate=True)
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    is_key = isinstance(key, list) and all(type(at) is int and 0 <= at < columns for at in key)
    if not is_key or len(joined) != columns * _WIDTH:
        return None
    return BlockNote(key, [joined[start : start + _WIDTH] for start in range(0, len(joined), _WIDTH)])
