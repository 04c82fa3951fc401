"""Where the pages of a Parquet file end, found by reading page headers alone.

A page is the unit of compression, so two files share bytes page by page. The pages of a file follow each other from
byte 4 on, each after its header, a Thrift struct in the compact protocol (`PageHeader` in parquet-format). What follows
the last page (page indexes, footer) cannot be parsed as a header, so the footer is not needed. Every read is bounded:
a hostile file ends the sequence of pages early, and the caller cuts the rest by its content.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

MAGIC = b"PAR1"
MAX_HEADER_BYTES = 64 << 10
MAX_PAGE_BYTES = 1 << 31
_MAX_DEPTH = 8
_MAX_FIELDS = 10_000
_PAGE_TYPES = range(4)  # data page, index page, dictionary page, data page v2
_I32, _STRUCT = 5, 12
_TYPE, _UNCOMPRESSED, _COMPRESSED = 1, 2, 3
_DATA_HEADERS, _VALUES = {0: 5, 3: 8}, 1
_FIXED_BYTES = {1: 0, 2: 0, 3: 1, 7: 8}  # true and false (in the field's head), byte, double
_VARINTS = (4, 5, 6)
_BINARY, _LIST, _SET = 8, 9, 10


_Fields: TypeAlias = "dict[int, int | _Fields]"


class _NotAHeader(Exception):
    """The bytes are not a page header."""


class Page(NamedTuple):
    """A page: its size in bytes, header included, and its number of values, nulls included (0: not a data page)."""

    size: int
    values: int
    is_compressed: bool = True


def page_at(data: bytes | memoryview) -> Page | None:
    """Return the page that starts at the beginning of `data`; None without one.

    `data` should have `MAX_HEADER_BYTES`, or all that is left of the file.
    """
    try:
        fields, end = _struct(data, 0, _MAX_DEPTH)
    except (_NotAHeader, IndexError):
        return None
    kind, unpacked, packed = (_number(fields, field) for field in (_TYPE, _UNCOMPRESSED, _COMPRESSED))
    if kind not in _PAGE_TYPES or not 0 <= packed < MAX_PAGE_BYTES or not 0 <= unpacked < MAX_PAGE_BYTES:
        return None
    header = fields.get(_DATA_HEADERS.get(kind, 0))
    values = _number(header, _VALUES) if isinstance(header, dict) else 0
    return Page(end + packed, values, is_compressed=packed != unpacked)


def _number(fields: _Fields, field: int) -> int:
    found = fields.get(field)
    return found if isinstance(found, int) else -1


def _struct(data: bytes | memoryview, at: int, depth: int) -> tuple[_Fields, int]:
    """Return the 32-bit fields and structs of a struct by their ids, and where the struct ends."""
    fields: _Fields = {}
    field = 0
    for _ in range(_MAX_FIELDS):
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        kind = head & 15
        if head >> 4:
            field += head >> 4
        else:
            number, at = _varint(data, at)
            field = _zigzag(number)
        if kind == _I32:
            number, at = _varint(data, at)
            fields[field] = _zigzag(number)
        elif kind == _STRUCT and depth:
            fields[field], at = _struct(data, at, depth - 1)
        else:
            at = _skip(data, at, kind, depth)
    raise _NotAHeader


def _skip(data: bytes | memoryview, at: int, kind: int, depth: int) -> int:
    """Return where the value at `at` ends."""
    if depth == 0 or at > MAX_HEADER_BYTES:
        raise _NotAHeader
    if kind in _FIXED_BYTES:
        return at + _FIXED_BYTES[kind]
    if kind in _VARINTS:
        return _varint(data, at)[1]
    if kind == _BINARY:
        size, at = _varint(data, at)
        return at + size
    if kind == _STRUCT:
        return _struct(data, at, depth - 1)[1]
    if kind in (_LIST, _SET):
        return _skip_list(data, at, depth)
    raise _NotAHeader


def _skip_list(data: bytes | memoryview, at: int, depth: int) -> int:
    head = data[at]
    at += 1
    count, kind = head >> 4, head & 15
    if count == 15:
        count, at = _varint(data, at)
    if count > _MAX_FIELDS:
        raise _NotAHeader
    if kind in (1, 2):  # in a list a boolean takes a byte
        return at + count
    for _ in range(count):
        at = _skip(data, at, kind, depth - 1)
    return at


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    value = 0
    # A number of 64 bits has at most 10 bytes.
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _NotAHeader


def _zigzag(number: int) -> int:
    return (number >> 1) ^ -(number & 1)
