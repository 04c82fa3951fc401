"""How a block of a table is written: one Parquet object with one row group, its pages cut by content."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PAGE_BYTES = {"min_chunk_size": 65_536, "max_chunk_size": 262_144}
COMPRESSION = {"compression": "zstd", "compression_level": 1}
FEW_VALUES, ROWS_A_VALUE = 4_096, 16
_FIRST_ROWS = 65_536


def writer_choices(first: pa.Table) -> dict[str, Any]:
    """How a table is written, settled by its first block alone."""
    return {"use_dictionary": [name for name, column in zip(first.column_names, first.columns, strict=True)]}


def write_block(block: pa.Table, choices: dict[str, Any]) -> pa.Buffer:
    """The Parquet bytes of one block."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        block,
        sink,
        row_group_size=max(1, len(block)),
        use_content_defined_chunking=PAGE_BYTES,
        write_page_index=True,
        write_page_checksum=True,
        **COMPRESSION,
        **choices,
    )
    return sink.getvalue()
