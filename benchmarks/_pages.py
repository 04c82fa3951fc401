"""Split a Parquet file at its pages into parts that stay the same when other parts change.

This reader is for measurements of files written by the benchmark itself: it does not validate what it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Part = tuple[bytes, int]
"""A hash and a size in bytes."""


def page_parts(data: bytes) -> Iterator[Part]:
    """Return the pages of a Parquet file, each with its header, and the bytes between them."""
    view = memoryview(data)
    ends = sorted(_ends(data))
    for start, end in pairwise(ends):
        yield hashlib.blake2b(view[start:end], digest_size=16).digest(), end - start


def object_part(data: bytes) -> Part:
    """Return a file as one part."""
    return hashlib.blake2b(data, digest_size=16).digest(), len(data)


def new_bytes(before: Iterable[Part], after: Iterable[Part]) -> int:
    """Return the size of the parts that did not exist before, each counted once."""
    known = {hash for hash, _ in before}
    return sum({hash: size for hash, size in after if hash not in known}.values())


def column_bytes(files: list[Path], name: str) -> int:
    """Return the bytes of a column in these files."""
    total = 0
    for path in files:
        metadata = pq.read_metadata(path)
        place = metadata.schema.names.index(name)
        groups = range(metadata.num_row_groups)
        total += sum(metadata.row_group(each).column(place).total_compressed_size for each in groups)
    return total


def _ends(data: bytes) -> set[int]:
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
    ends = {0, 4, len(data)}
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            start = column.data_page_offset
            if column.has_dictionary_page:
                start = min(start, column.dictionary_page_offset or start)
            stop = start + column.total_compressed_size
            while start < stop:
                ends.add(start)
                fields, body = _struct(data, start)
                start = body + fields[3]  # compressed_page_size
            ends.add(stop)
    return ends


def _struct(data: bytes, at: int) -> tuple[dict[int, int], int]:
    """Return the integer fields of a struct in Thrift's compact protocol by field number, and its end."""
    fields: dict[int, int] = {}
    number = 0
    while header := data[at]:
        at += 1
        kind = header & 15
        if header >> 4:
            number += header >> 4
        else:
            number, at = _signed(data, at)
        if kind in (4, 5, 6):
            fields[number], at = _signed(data, at)
        elif kind == 8:
            length, at = _unsigned(data, at)
            at += length
        elif kind == 12:
            _, at = _struct(data, at)
        elif kind not in (1, 2):
            raise ValueError(f"a page header has no field of kind {kind}")
    return fields, at + 1


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] > 127:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return value | data[at] << shift, at + 1


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _unsigned(data, at)
    return value >> 1 ^ -(value & 1), at
