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

from datapkg.tables.block_reader import open_block

# As the record of a build has it; what was measured is in DEVELOPING.md, "Writer choices".
WRITER: dict[str, Any] = {"compression": "zstd", "level": 1, "page_bytes": [65_536, 262_144]}
# How columns are written is tried on the first rows of a table; with fewer than these it makes no difference.
_FIRST_ROWS, _FEWEST_ROWS = 32_768, 2_048
# A column may have a dictionary if each of its values comes that often, on average.
_ROWS_A_VALUE = 2
# What compression makes no smaller than this stays as it is: to undo it takes longer than the bytes are worth.
_WORTH_COMPRESSING = 0.8
# Dictionaries of numbers, and differences, are read back in half the time of compressed values, and may take more room
# than these; they have to take less than values that are not compressed, and dictionaries of text less than any.
_WORTH_NUMBERS, _WORTH_VALUES, _WORTH_TEXT = 1.2, 0.9, 0.75
# Above the limit pyarrow gives up a dictionary, and with it the order of categories and those that are not used.
_DICTIONARY_BYTES = 1 << 30
_NO_NOTE: Mapping[bytes, bytes] = MappingProxyType({})

Paths = list[str]
"""Columns by the path that Parquet knows them by: their name, or of a nested one the names on the way, with dots."""


@dataclass(frozen=True)
class Choices:
    """How the columns of a table are written; where nothing is chosen, all of them are compressed."""

    dictionaries: Paths = field(default_factory=list)
    differences: Paths = field(default_factory=list)
    compressed: Paths = field(default_factory=list)
    uncompressed: Paths = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """As the record of a build has it."""
        more = {"differences": self.differences, "uncompressed": self.uncompressed}
        said = {name: paths for name, paths in more.items() if paths}
        return {**WRITER, "dictionaries": self.dictionaries, **said}


def choose(first: pa.Table) -> Choices:
    """How to write a table, settled by its first block alone."""
    first = first.slice(0, _FIRST_ROWS)
    # Without a dictionary Parquet forgets which categories there are.
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
    """How the columns of a block are written, by its footer."""
    group = footer.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return Choices(
        [each.path_in_schema for each in columns if each.has_dictionary_page],
        [each.path_in_schema for each in columns if "DELTA_BINARY_PACKED" in each.encodings],
        [each.path_in_schema for each in columns if each.compression != "UNCOMPRESSED"],
        [each.path_in_schema for each in columns if each.compression == "UNCOMPRESSED"],
    )


def write_block(block: pa.Table, choices: Choices, note: Mapping[bytes, bytes] = _NO_NOTE) -> pa.Buffer:
    """The Parquet bytes of one block; `note` goes into its footer."""
    smallest, largest = WRITER["page_bytes"]
    return _written(
        block,
        choices,
        note,
        use_content_defined_chunking={"min_chunk_size": smallest, "max_chunk_size": largest},
        write_page_index=True,
        write_page_checksum=True,
    )


@dataclass(frozen=True)
class _Tried:
    """The bytes of a column that was written in one way, compressed and not."""

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
        """Whether dictionary or differences are to be had rather than what is chosen so far."""
        if not is_number:
            return self.size < _WORTH_TEXT * other.size
        return self.size < (_WORTH_NUMBERS if other.is_compressed else _WORTH_VALUES) * other.size


def _tried(table: pa.Table, choices: Choices) -> dict[str, _Tried]:
    """What each column takes when it is written so, by its path."""
    if not table.num_columns:
        return {}
    group = open_block(_written(table, choices)).metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return {
        each.path_in_schema: _Tried(choices, each.total_compressed_size, each.total_uncompressed_size)
        for each in columns
    }


def _countable(first: pa.Table, paths: set[str]) -> Paths:
    """The columns that have differences which are numbers again."""
    return [
        field.name
        for field in _flat(first, paths)
        if types.is_integer(field.type) or types.is_timestamp(field.type) or types.is_date32(field.type)
    ]


def _repetitive(first: pa.Table, paths: set[str]) -> Paths:
    """The columns whose values come again often enough for a dictionary."""
    return [field.name for field in _flat(first, paths) if _comes_again(first.column(field.name))]


def _comes_again(column: pa.ChunkedArray) -> bool:
    if types.is_dictionary(column.type) or types.is_boolean(column.type) or types.is_null(column.type):
        return False
    try:
        return pc.count_distinct(column, mode="all").as_py() * _ROWS_A_VALUE <= len(column)
    except pa.ArrowNotImplementedError:
        return False


def _flat(first: pa.Table, paths: set[str]) -> list[pa.Field]:
    """The columns whose name is a path that no other column could have."""
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
