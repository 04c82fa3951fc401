"""How a block of a table is written: one Parquet object with one row group, its pages cut by content."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

# As the record of a build has it.
WRITER: dict[str, Any] = {"compression": "zstd", "level": 1, "page_bytes": [65_536, 262_144]}
# A column has a dictionary if its first rows hold at most FEW_VALUES different ones, and each ROWS_A_VALUE times.
FEW_VALUES, ROWS_A_VALUE = 4_096, 16
_FIRST_ROWS = 65_536
# Above the limit pyarrow gives up a dictionary, and with it the order of categories and those that are not used.
_DICTIONARY_BYTES = 1 << 30


def columns_with_dictionaries(first: pa.Table) -> list[str]:
    """The columns of a table to write with a dictionary, settled by its first block alone."""
    first = first.slice(0, _FIRST_ROWS)
    return [name for name, column in zip(first.column_names, first.columns, strict=True) if _few_values(column)]


def _few_values(column: pa.ChunkedArray) -> bool:
    if types.is_dictionary(column.type):
        return True
    try:
        return pc.count_distinct(column, mode="all").as_py() <= min(FEW_VALUES, len(column) // ROWS_A_VALUE)
    except pa.ArrowNotImplementedError:
        return False


def write_block(block: pa.Table, dictionaries: list[str]) -> pa.Buffer:
    """The Parquet bytes of one block."""
    smallest, largest = WRITER["page_bytes"]
    sink = pa.BufferOutputStream()
    pq.write_table(
        block,
        sink,
        row_group_size=max(1, len(block)),
        compression=WRITER["compression"],
        compression_level=WRITER["level"],
        use_content_defined_chunking={"min_chunk_size": smallest, "max_chunk_size": largest},
        use_dictionary=dictionaries or False,
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        write_page_index=True,
        write_page_checksum=True,
    )
    return sink.getvalue()
