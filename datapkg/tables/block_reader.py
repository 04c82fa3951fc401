"""Open the Parquet objects of tables: every read of a stored block goes through `open_block`.

pandas keeps text with 64-bit offsets. The Arrow schema in a footer overrides what a reader asks for, so `long_text`
reads the footer without it: pyarrow then decodes text a fifth faster, and pandas need not convert it.
"""

from __future__ import annotations

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

_ARROW_SCHEMA, _UNUSED_KEY = b"ARROW:schema", b"unused.types"  # of one length, so that the footer stays valid
_TAIL = 8
PIECE_BYTES = 16 << 20


def open_block(block: BinaryIO | pa.Buffer, *, checked: bool = False, long_text: bool = False) -> pq.ParquetFile:
    """Open a block, from memory or from a stream that the caller closes.

    If `checked`, verify the checksum of each page that is read. With `long_text` (only of a buffer), read text with
    64-bit offsets; see `with_long_text` on when nothing else changes. Raise pyarrow's errors for what is not Parquet.
    """
    source = pa.BufferReader(block) if isinstance(block, pa.Buffer) else block
    if not long_text:
        return pq.ParquetFile(source, page_checksum_verification=checked)
    # A column of that name is renamed too; `with_long_text` finds that when it compares the schemas.
    metadata = read_footer(_ending(block).replace(_ARROW_SCHEMA, _UNUSED_KEY))
    return pq.ParquetFile(source, metadata=metadata, binary_type=pa.large_binary(), page_checksum_verification=checked)


def rows_at_once(file: pq.ParquetFile, most: int) -> int:
    """Return how many rows of a file to decode at once: at most so many, and on average not above `PIECE_BYTES`."""
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(number).total_byte_size for number in groups)
    return max(1, min(most, PIECE_BYTES * file.metadata.num_rows // max(1, size)))


def read_footer(data: bytes) -> pq.FileMetaData:
    """Return the metadata in the footer of a block, given with its length and the magic bytes that end the block."""
    return pq.read_metadata(pa.BufferReader(data))


def with_long_text(buffer: pa.Buffer, schema: pa.Schema) -> pa.Schema | None:
    """Return the schema of a block with long text; None if it has no text, or if types other than text would change."""
    if not any(types.is_string(kind) for kind in schema.types):
        return None
    wide = pa.schema([_wide(field) for field in schema], schema.metadata)
    return wide if open_block(buffer, long_text=True).schema_arrow.equals(wide) else None


def footer_bytes(block: pa.Buffer) -> bytes:
    """Return the footer of a block, without its length and the magic bytes; raise ArrowInvalid."""
    return _ending(block)[:-_TAIL]


def _ending(block: pa.Buffer) -> bytes:
    length = int.from_bytes(block.slice(max(0, block.size - _TAIL), 4).to_pybytes(), "little") + _TAIL
    if length > block.size:
        raise pa.ArrowInvalid("the footer is longer than the object")
    return bytes(block.slice(block.size - length).to_pybytes())


def _wide(field: pa.Field) -> pa.Field:
    if types.is_string(field.type):
        return field.with_type(pa.large_string())
    return field.with_type(pa.large_binary()) if types.is_binary(field.type) else field
