"""How a block of a table is written: one Parquet object with one row group, its pages cut by content."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

PAGES = {"min_chunk_size": 65_536, "max_chunk_size": 262_144}
COMPRESSION, LEVEL = "zstd", 1
# A column has a dictionary if its first rows hold at most FEW_VALUES different ones, and each ROWS_A_VALUE times.
FEW_VALUES, ROWS_A_VALUE = 4_096, 16
_FIRST_ROWS = 65_536
# Above the limit pyarrow gives up a dictionary, and with it the order of categories and those that are not used.
_DICTIONARY_BYTES = 1 << 30


def writer_choices(first: pa.Table) -> dict[str, Any]:
    """What is chosen for a table, by its first block alone: the columns with dictionaries."""
    first = first.slice(0, _FIRST_ROWS)
    few = [name for name, column in zip(first.column_names, first.columns, strict=True) if _few_values(column)]
    return {"dictionaries": few}


def _few_values(column: pa.ChunkedArray) -> bool:
    if types.is_dictionary(column.type):
        return True
    try:
        return pc.count_distinct(column).as_py() <= min(FEW_VALUES, len(column) // ROWS_A_VALUE)
    except pa.ArrowNotImplementedError:
        return False


def write_block(block: pa.Table, choices: dict[str, Any]) -> pa.Buffer:
    """The Parquet bytes of one block."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        block,
        sink,
        row_group_size=max(1, len(block)),
        compression=COMPRESSION,
        compression_level=LEVEL,
        use_content_defined_chunking=PAGES,
        use_dictionary=choices["dictionaries"] or False,
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        write_page_index=True,
        write_page_checksum=True,
    )
    return sink.getvalue()
