"""How a block of a table is written: one Parquet object with one row group, its pages cut by content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

from datapkg.tables.block_boundaries import MIN_ROWS, min_rows
from datapkg.tables.block_reader import open_block

# Goes into the record of a build.
WRITER: dict[str, Any] = {"compression": "zstd", "level": 1, "page_bytes": [65_536, 262_144]}
# Encodings are tried on the first rows of a table; a shorter table gains nothing from them.
_FIRST_ROWS, _FEWEST_ROWS = 32_768, 2_048
# A column may have a dictionary if each of its values occurs this often, on average.
_ROWS_A_VALUE = 2
# A column that compression shrinks less than this is not compressed: decompressing it takes longer than it saves.
_WORTH_COMPRESSING = 0.8
# Dictionaries of numbers, and differences, are read in half the time of compressed values, and may take more bytes than
# these; they must take fewer than uncompressed values, and dictionaries of text fewer than either.
_WORTH_NUMBERS, _WORTH_VALUES, _WORTH_TEXT = 1.2, 0.9, 0.75
# Above the limit pyarrow abandons a dictionary, and loses the order of categories and the unused ones.
_DICTIONARY_BYTES = 1 << 30
# A page has a header and an entry in an index, about 100 bytes in all: pages of 8 KiB make a block 1 % larger.
_MOST_PARTS = 8
_NO_NOTE: Mapping[bytes, bytes] = MappingProxyType({})

Paths = list[str]
"""Columns by their Parquet path: the name or, of a nested column, the names from the top, joined by dots."""


@dataclass(frozen=True)
class Choices:
    """How the columns of a table are written; where nothing is chosen, all of them are compressed."""

    dictionaries: Paths = field(default_factory=list)
    differences: Paths = field(default_factory=list)
    compressed: Paths = field(default_factory=list)
    uncompressed: Paths = field(default_factory=list)

    def record(self, columns: int) -> dict[str, Any]:
        """Return the choices for a table with this many columns as the record of a build has them."""
        more = {"differences": self.differences, "uncompressed": self.uncompressed}
        entry = {name: paths for name, paths in more.items() if paths}
        return {**WRITER, "page_bytes": list(page_bytes(columns)), "dictionaries": self.dictionaries, **entry}


def choose(first: pa.Table) -> Choices:
    """Return how to write a table, decided by its first block alone."""
    first = first.slice(0, _FIRST_ROWS)
    # Without a dictionary Parquet loses the categories.
    categorical = [field.name for field in first.schema if types.is_dictionary(field.type)]
    if len(first) < _FEWEST_ROWS:
        return Choices(categorical)
    best = _tried(first, Choices(categorical))
    countable, repetitive = _countable(first, set(best)), _repetitive(first, set(best))
    for names, choices in ((countable, Choices(differences=countable)), (repetitive, Choices(repetitive))):
        for path, tried in _tried(first.select(names), choices).items():
            is_number = types.is_primitive(first.schema.field(path).type)
            best[path] = tried if tried.is_better(best[path], is_number) else best[path]
    return Choices(
        [path for path, tried in best.items() if path in tried.choices.dictionaries],
        [path for path, tried in best.items() if path in tried.choices.differences],
        [path for path, tried in best.items() if tried.is_compressed],
        [path for path, tried in best.items() if not tried.is_compressed],
    )


def chosen(footer: pq.FileMetaData) -> Choices:
    """Return how the columns of a block were written, by its footer."""
    group = footer.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return Choices(
        [each.path_in_schema for each in columns if each.has_dictionary_page],
        [each.path_in_schema for each in columns if "DELTA_BINARY_PACKED" in each.encodings],
        [each.path_in_schema for each in columns if each.compression != "UNCOMPRESSED"],
        [each.path_in_schema for each in columns if each.compression == "UNCOMPRESSED"],
    )


def write_block(block: pa.Table, choices: Choices, note: Mapping[bytes, bytes] = _NO_NOTE) -> pa.Buffer:
    """Return the Parquet bytes of one block; `note` goes into its footer."""
    smallest, largest = page_bytes(block.num_columns)
    return _written(
        block,
        choices,
        note,
        use_content_defined_chunking={"min_chunk_size": smallest, "max_chunk_size": largest},
        write_page_index=True,
        write_page_checksum=True,
    )


def page_bytes(columns: int) -> tuple[int, int]:
    """Return how many bytes a page has at least and at most: fewer where blocks of wide tables have fewer rows."""
    parts = min(MIN_ROWS // min_rows(columns), _MOST_PARTS)
    smallest, largest = WRITER["page_bytes"]
    return smallest // parts, largest // parts


@dataclass(frozen=True)
class _Tried:
    """The bytes of a column that was written in one way, compressed and uncompressed."""

    choices: Choices
    compressed: int
    whole: int

    @property
    def is_compressed(self) -> bool:
        return self.compressed < _WORTH_COMPRESSING * self.whole

    @property
    def size(self) -> int:
        return self.compressed if self.is_compressed else self.whole

    def is_better(self, other: _Tried, is_number: bool) -> bool:
        """Return whether this dictionary, or these differences, should replace what was chosen before."""
        if not is_number:
            return self.size < _WORTH_TEXT * other.size
        return self.size < (_WORTH_NUMBERS if other.is_compressed else _WORTH_VALUES) * other.size


def _tried(table: pa.Table, choices: Choices) -> dict[str, _Tried]:
    """Return the size of each column when it is written with these choices, by its path."""
    if not table.num_columns:
        return {}
    group = open_block(_written(table, choices)).metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return {
        each.path_in_schema: _Tried(choices, each.total_compressed_size, each.total_uncompressed_size)
        for each in columns
    }


def _countable(first: pa.Table, paths: set[str]) -> Paths:
    """Return the columns whose differences are numbers again."""
    return [
        field.name
        for field in _flat(first, paths)
        if types.is_integer(field.type) or types.is_timestamp(field.type) or types.is_date32(field.type)
    ]


def _repetitive(first: pa.Table, paths: set[str]) -> Paths:
    """Return the columns whose values repeat often enough for a dictionary."""
    return [field.name for field in _flat(first, paths) if _comes_again(first.column(field.name))]


def _comes_again(column: pa.ChunkedArray) -> bool:
    if types.is_dictionary(column.type) or types.is_boolean(column.type) or types.is_null(column.type):
        return False
    try:
        return pc.count_distinct(column, mode="all").as_py() * _ROWS_A_VALUE <= len(column)
    except pa.ArrowNotImplementedError:
        return False


def _flat(first: pa.Table, paths: set[str]) -> list[pa.Field]:
    """Return the columns whose name is a path that no other column could have."""
    count = Counter(first.column_names)
    prefixes = tuple(f"{field.name}." for field in first.schema if types.is_nested(field.type))
    return [
        field
        for field in first.schema
        if count[field.name] == 1 and field.name in paths and not field.name.startswith(prefixes)
    ]


def _written(table: pa.Table, choices: Choices, note: Mapping[bytes, bytes] = _NO_NOTE, **options: Any) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    tried = bool(choices.compressed or choices.uncompressed)
    compression = dict.fromkeys(choices.compressed, WRITER["compression"]) | dict.fromkeys(choices.uncompressed, "none")
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression=compression if tried else WRITER["compression"],
        compression_level=dict.fromkeys(choices.compressed, WRITER["level"]) if tried else WRITER["level"],
        use_dictionary=choices.dictionaries or False,
        column_encoding=dict.fromkeys(choices.differences, "DELTA_BINARY_PACKED") or None,
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        **options,
    ) as writer:
        writer.write_table(table, row_group_size=max(1, len(table)))
        if note:
            writer.add_key_value_metadata(note)
    return sink.getvalue()
