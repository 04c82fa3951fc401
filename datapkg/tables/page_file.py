"""Read some pages of a Parquet object: they are made into a small Parquet file, which any reader reads.

Arrow reads whole column chunks. A file with the wanted pages, a dictionary page before them, and the footer of the
object in which sizes and places are replaced gives the same types, values and checksums, and nothing else is read or
decoded. Where pages are is in the page index (`OffsetIndex` and `ColumnIndex` of parquet-format).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from datapkg.objects.parquet_pages import page_at
from datapkg.tables import thrift
from datapkg.tables.thrift import Struct

_MAGIC, _TAIL = b"PAR1", 8
_I64, _STRUCT = 6, 12
_ROWS, _GROUPS, _ENCRYPTION = 3, 4, 8
_COLUMNS, _GROUP_ROWS, _GROUP_PLACE = 1, 3, 5
_META, _OFFSETS, _BOUNDS = 3, (4, 5), (6, 7)
_VALUES, _COMPRESSED, _DATA, _DICTIONARY = 5, 7, 9, 11
_POINTERS = (10, 12, 14, 15, 16)  # index pages, statistics, Bloom filters, sizes: not those of the pages

Read = Callable[[int, int], bytes]
"""Returns the bytes of a range of the object."""


class PageRange(NamedTuple):
    """A page: its rows in the row group, and its bytes in the object."""

    first: int
    end: int
    start: int
    stop: int


class Bounds(NamedTuple):
    """The entry of the column index for a page: the least and greatest values as stored, None if all are null."""

    least: bytes | None
    greatest: bytes | None
    has_nulls: bool


class Footer:
    """The footer of an object, in which every field can be replaced."""

    def __init__(self, data: bytes) -> None:
        """Parse a footer, given without its length and the magic bytes; raise ValueError, KeyError."""
        self._fields = thrift.read(data)
        if _ENCRYPTION in self._fields:
            raise ValueError("the file is encrypted")
        self._groups: list[Struct] = self._fields[_GROUPS][1].values

    def rows(self, group: int) -> int:
        """Return the number of rows of a row group."""
        return int(self._groups[group][_GROUP_ROWS][1])

    def _column(self, group: int, column: int) -> Struct:
        found: Struct = self._groups[group][_COLUMNS][1].values[column]
        return found

    def index_place(self, group: int, column: int, *, bounds: bool = False) -> tuple[int, int] | None:
        """Return where the page index of a column chunk is, the part with places or with bounds; None without one."""
        chunk = self._column(group, column)
        start, size = (chunk.get(field, (0, 0))[1] for field in (_BOUNDS if bounds else _OFFSETS))
        return (start, start + size) if size > 0 else None

    def chunk_place(self, group: int, column: int) -> tuple[int, int]:
        """Return where the pages of a column chunk are."""
        meta = self._column(group, column)[_META][1]
        data, size = meta[_DATA][1], meta[_COMPRESSED][1]
        # Some writers state a dictionary at 0 where there is none.
        start = min(data, meta.get(_DICTIONARY, (0, 0))[1] or data)
        return start, start + size

    def pages(self, group: int, column: int, index: bytes) -> list[PageRange]:
        """Return the data pages of a column chunk by its offset index; raise ValueError, KeyError."""
        found = thrift.read(index)[1][1].values
        firsts = [each[3][1] for each in found]
        stop = self.chunk_place(group, column)[1]
        pages = [
            PageRange(each[3][1], end, each[1][1], each[1][1] + each[2][1])
            for each, end in zip(found, [*firsts[1:], self.rows(group)], strict=True)
        ]
        data = self._column(group, column)[_META][1][_DATA][1]
        ends = [(data, 0), *((page.stop, page.end) for page in pages)]
        if any(page.start != end or page.first != last for page, (end, last) in zip(pages, ends, strict=False)):
            raise ValueError("the pages of an index are not in order")
        if not pages or ends[-1] != (stop, self.rows(group)) or any(page.first >= page.end for page in pages):
            raise ValueError("the pages of an index are not those of the column")
        return pages

    def bounds(self, index: bytes) -> list[Bounds]:
        """Return the bounds of each page in a column index; raise ValueError, KeyError."""
        fields = thrift.read(index)
        nulls, least, greatest = (fields[field][1].values for field in (1, 2, 3))
        counts = fields[5][1].values if 5 in fields else [1] * len(nulls)
        return [
            Bounds(None, None, True) if is_null else Bounds(low, high, bool(count))
            for is_null, low, high, count in zip(nulls, least, greatest, counts, strict=True)
        ]

    def dictionary_place(self, group: int, column: int) -> tuple[int, int] | None:
        """Return where the dictionary page of a column chunk is; None without one."""
        start, data = self.chunk_place(group, column)[0], self._column(group, column)[_META][1][_DATA][1]
        return (start, data) if start < data else None

    def file_of(self, group: int, rows: int, pages: Mapping[int, Iterable[PageRange]], read: Read) -> bytes:
        """Return a Parquet file with these pages of some columns (by number), which have `rows` rows together.

        Other columns are in its schema and cannot be read.
        """
        body = bytearray(_MAGIC)
        columns = list(self._groups[group][_COLUMNS][1].values)
        for number, some in pages.items():
            meta: Struct = dict(columns[number][_META][1])
            start = len(body)
            if dictionary := self.dictionary_place(group, number):
                body += read(*dictionary)
                meta[_DICTIONARY] = _I64, start
            meta[_DATA] = _I64, len(body)
            for page in some:
                body += _checked(read(page.start, page.stop), page)
            meta[_VALUES], meta[_COMPRESSED] = (_I64, rows), (_I64, len(body) - start)
            for field in _POINTERS:
                meta.pop(field, None)
            columns[number] = {2: (_I64, 0), _META: (_STRUCT, meta)}
        changed = {**self._groups[group], _COLUMNS: self._list(columns), _GROUP_ROWS: (_I64, rows)}
        changed.pop(_GROUP_PLACE, None)
        footer = thrift.write({**self._fields, _ROWS: (_I64, rows), _GROUPS: self._list([changed])})
        return bytes(body) + footer + len(footer).to_bytes(4, "little") + _MAGIC

    @staticmethod
    def _list(structs: list[Struct]) -> tuple[int, Any]:
        return 9, thrift.List(_STRUCT, structs)


def _checked(data: bytes, page: PageRange) -> bytes:
    """Return a page; raise ArrowInvalid if its header counts other rows than the index."""
    found = page_at(data)
    if found is None or (found.size, found.values) != (len(data), page.end - page.first):
        raise pa.ArrowInvalid("the page index does not describe the pages")
    return data
