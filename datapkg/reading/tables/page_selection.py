"""Choose the pages of an object that an answer needs, by rows and by the values in the page index, and read them.

Only objects with a page index have pages that can be chosen, and only of columns that are neither nested nor repeated;
of other columns the whole row group is read. It pays for large row groups: parsing a footer again takes time.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

from datapkg.reading.tables import nan_rows, row_filters, row_selection
from datapkg.reading.tables.row_selection import Picks
from datapkg.store.byte_ranges import Stretch
from datapkg.tables.block_reader import footer_bytes, open_block
from datapkg.tables.page_file import Bounds, Footer, PageRange

# Pages are selected only where that saves at least this share of so many bytes.
_WORTH_BYTES, _WORTH_SHARE = 1 << 20, 0.5
_MAX_CHUNKS, _MAX_SPANS = 4_096, 1_024
_NUMBERS = {"INT32": "<i4", "INT64": "<i8", "FLOAT": "<f4", "DOUBLE": "<f8"}
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}

Bring = Callable[[list[Stretch]], None]
"""Makes ranges of the object readable."""


def all_here(stretches: list[Stretch]) -> None:
    """Do nothing: the object is on this machine."""


@dataclass
class GroupPages:
    """What is read of a row group: ranges of its rows, the pages of columns (by number), and `whole` other columns."""

    group: int
    spans: list[range]
    pages: dict[int, list[PageRange]] = field(default_factory=dict)
    whole: list[int] = field(default_factory=list)


@dataclass
class PagePlan:
    """The pages that are read of an object, and the names of its columns, by number."""

    footer: Footer
    names: list[str]
    groups: list[GroupPages]

    def stretches(self) -> list[Stretch]:
        """Return where what is read begins and ends, each page by itself."""
        found: list[Stretch] = []
        for each in self.groups:
            found += [self.footer.chunk_place(each.group, number) for number in each.whole]
            for number, pages in each.pages.items():
                dictionary = self.footer.dictionary_place(each.group, number) if pages else None
                found += [dictionary] if dictionary else []
                found += [(page.start, page.stop) for page in pages]
        return found


def plan(
    buffer: pa.Buffer,
    rows: Picks | None,
    names: Collection[str] | None,
    condition: pc.Expression | None,
    bring: Bring = all_here,
) -> PagePlan | None:
    """Return what is read of an object for these rows (None: all) and columns (None: all), if choosing pages pays.

    Of an object that is not wholly here, the footer is, and `bring` is called for the page index.
    """
    if rows is None and condition is None:
        return None
    file = open_block(buffer)
    metadata, schema = file.metadata, file.schema_arrow
    columns = [metadata.schema.column(at).path.partition(".")[0] for at in range(metadata.num_columns)]
    is_odd = len(set(schema.names)) < len(schema.names) or any("." in name for name in schema.names)
    groups = row_selection.needed(metadata, rows, row_selection.groups_with(buffer, condition, schema)).groups
    wanted = [at for at, name in enumerate(columns) if names is None or name in names]
    chunks = [metadata.row_group(group).column(at) for group in groups[:_MAX_CHUNKS] for at in wanted[:_MAX_CHUNKS]]
    total = sum(chunk.total_compressed_size for chunk in chunks)
    has_index = any(chunk.has_offset_index for chunk in chunks)
    if (
        is_odd
        or not groups
        or not has_index
        or total < _WORTH_BYTES
        or metadata.num_row_groups * len(columns) > _MAX_CHUNKS
    ):
        return None
    try:
        made = PagePlan(Footer(footer_bytes(buffer)), columns, [])
        tested = row_filters.columns_of(condition, schema) if condition is not None else []
        chosen = _Chooser(buffer, metadata, schema, made, bring, wanted, [columns.index(name) for name in tested])
        chosen.tested = [at for at in chosen.tested if chosen.is_flat(at)]
        made.groups += chosen.groups(groups, rows, condition)
    except (ValueError, LookupError, TypeError, pa.ArrowException):  # an index that is not as it should be
        return None
    size = sum(stop - start for start, stop in made.stretches())
    return made if size <= _WORTH_SHARE * total else None


@dataclass
class _Chooser:
    """Chooses pages of one object: of the columns (by number) in `wanted`, by those in `tested` for a condition."""

    buffer: pa.Buffer
    metadata: pq.FileMetaData
    schema: pa.Schema
    made: PagePlan
    bring: Bring
    wanted: list[int]
    tested: list[int]

    def groups(self, groups: list[int], rows: Picks | None, condition: pc.Expression | None) -> Iterator[GroupPages]:
        footer, paged = self.made.footer, [at for at in self.wanted if self.is_flat(at)]
        places = {(group, at): footer.index_place(group, at) for group in groups for at in {*paged, *self.tested}}
        bounds = {(group, at): footer.index_place(group, at, bounds=True) for group in groups for at in self.tested}
        self.bring(sorted({place for place in (*places.values(), *bounds.values()) if place}))
        starts = np.cumsum([0, *(footer.rows(group) for group in range(self.metadata.num_row_groups))]).tolist()
        for group in groups:
            pages = {
                at: footer.pages(group, at, self._bytes(place))
                for at in {*paged, *self.tested}
                if (place := places[group, at])
            }
            known = {at: footer.bounds(self._bytes(place)) for at in self.tested if (place := bounds[group, at])}
            spans = [range(footer.rows(group))]
            if rows is not None:
                spans = _spans(row_selection.within(rows, starts[group], footer.rows(group)))
            if condition is not None:
                found = {at: list(zip(pages[at], known[at], strict=True)) for at in self.tested if at in known}
                spans = _common(spans, self._with(condition, found, footer.rows(group)))
            chosen = {at: _touched(pages[at], spans) for at in paged if at in pages}
            yield GroupPages(group, spans, chosen, [at for at in self.wanted if at not in chosen])

    def is_flat(self, at: int) -> bool:
        """Return whether a column has one value in each row."""
        column = self.metadata.schema.column(at)
        return column.max_repetition_level == 0 and column.path == self.made.names[at]

    def _bytes(self, place: Stretch) -> bytes:
        return bytes(self.buffer.slice(place[0], place[1] - place[0]).to_pybytes())

    def _with(
        self, condition: pc.Expression, pages: dict[int, list[tuple[PageRange, Bounds]]], rows: int
    ) -> list[range]:
        """Return the rows of pages that may meet a condition.

        Arrow decides it, as for row groups, for each stretch of rows that no page ends in.
        """
        stated = {at: [(page.first, self._stated(at, each)) for page, each in found] for at, found in pages.items()}
        ends = sorted({0, rows, *(page.end for found in pages.values() for page, _ in found)})
        cases = nan_rows.nan_cases(condition, self.schema)
        if cases is None:
            return [range(rows)]
        facts = [self._facts(stated, start, case) for case in ({}, *cases) for start in ends[:-1]]
        found_at = {number % (len(ends) - 1) for number in nan_rows.possible(facts, condition, self.schema)}
        return [range(ends[number], ends[number + 1]) for number in sorted(found_at)]

    def _facts(
        self,
        stated: dict[int, list[tuple[int, pc.Expression | None]]],
        start: int,
        case: dict[str, pc.Expression],
    ) -> pc.Expression:
        """Return what is known of the rows from `start` on: what pages state, but for columns that are NaN."""
        known = [
            found[bisect_right(found, start, key=lambda each: each[0]) - 1][1]
            for at, found in stated.items()
            if self.made.names[at] not in case
        ]
        return nan_rows.together([*case.values(), *(each for each in known if each is not None)])

    def _stated(self, at: int, bounds: Bounds) -> pc.Expression | None:
        """Return the bounds of a page as a condition on its values; None if they do not have the type of the column."""
        name = self.made.names[at]
        column, kind = pc.field(name), self.schema.field(name).type
        if bounds.least is None or bounds.greatest is None:
            return column.is_null()
        values = _values(self.metadata.schema.column(at), kind, [bounds.least, bounds.greatest])
        if values is None or (types.is_floating(kind) and pc.any(pc.is_nan(values)).as_py()):
            return None
        lower, upper = column >= values[0], column <= values[1]
        if bounds.has_nulls:  # in the only form that Arrow can use
            return (lower | column.is_null()) & (upper | column.is_null())
        return lower & upper


def _values(column: pq.ColumnSchema, kind: pa.DataType, stored: list[bytes]) -> pa.Array | None:
    """Return stored bounds as values of an Arrow type; None for types in which they mean something else."""
    physical = column.physical_type
    try:
        if physical == "BYTE_ARRAY" and (types.is_string(kind) or types.is_large_string(kind)):
            return pa.array(stored, pa.binary()).cast(kind)
        if physical not in _NUMBERS:
            return None
        numbers = np.frombuffer(b"".join(stored), _NUMBERS[physical])
        if types.is_timestamp(kind):
            unit = json.loads(column.logical_type.to_json()).get("timeUnit")
            return pa.array(numbers).view(kind) if _UNITS.get(unit) == kind.unit else None
        if types.is_unsigned_integer(kind):
            return pa.array(numbers.view("<u4" if physical == "INT32" else "<u8")).cast(kind)
        if types.is_integer(kind) or types.is_date32(kind) or types.is_floating(kind):
            return pa.array(numbers).cast(kind)
    except (pa.ArrowException, ValueError):
        pass
    return None


def _spans(rows: Picks) -> list[range]:
    """Return positions as ranges; raise ValueError for more than `_MAX_SPANS`."""
    if isinstance(rows, range) and rows.step == 1:
        return [rows]
    positions = np.asarray(rows)
    ends = np.flatnonzero(np.diff(positions) > 1)
    firsts, lasts = positions[[0, *(ends + 1)]], positions[[*ends, -1]]
    if len(firsts) > _MAX_SPANS:
        raise ValueError("too many ranges of rows")
    return [range(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]


def _common(some: list[range], others: list[range]) -> list[range]:
    """Return the rows that are in both, each in order."""
    found, at = [], 0
    for one in some:
        while at < len(others) and others[at].stop <= one.start:
            at += 1
        for other in others[at:]:
            if other.start >= one.stop:
                break
            found.append(range(max(one.start, other.start), min(one.stop, other.stop)))
    joined: list[range] = []
    for each in found:
        if joined and joined[-1].stop == each.start:
            joined[-1] = range(joined[-1].start, each.stop)
        else:
            joined.append(each)
    return joined


def _touched(pages: list[PageRange], spans: list[range]) -> list[PageRange]:
    """Return the pages that have a row of a range."""
    ends = [page.end for page in pages]
    chosen = {
        number
        for span in spans
        for number in range(bisect_right(ends, span.start), bisect_right(ends, span.stop - 1) + 1)
    }
    return [pages[number] for number in sorted(chosen)]


def read(buffer: pa.Buffer, chosen: PagePlan, *, checked: bool, long_text: bool) -> pa.Table:
    """Return the planned rows and columns, columns in the order of the file."""
    file = open_block(buffer, checked=checked, long_text=long_text)
    names = dict.fromkeys(chosen.names[at] for each in chosen.groups[:1] for at in (*each.pages, *each.whole))
    fields = [each for each in file.schema_arrow if each.name in names]
    parts = [_read_group(buffer, chosen, each, file, checked, long_text) for each in chosen.groups if each.spans]
    schema = pa.schema(fields, file.schema_arrow.metadata)
    tables = [pa.table([part[each.name] for each in fields], schema) for part in parts]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _read_group(
    buffer: pa.Buffer, chosen: PagePlan, each: GroupPages, file: pq.ParquetFile, checked: bool, long_text: bool
) -> dict[str, pa.ChunkedArray]:
    by_rows: dict[tuple[range, ...], list[int]] = {}
    for number, pages in each.pages.items():
        by_rows.setdefault(tuple(range(page.first, page.end) for page in pages), []).append(number)
    found: dict[str, pa.ChunkedArray] = {}
    for covered, numbers in by_rows.items():
        pages_of = {number: each.pages[number] for number in numbers}
        data = chosen.footer.file_of(each.group, sum(map(len, covered)), pages_of, lambda a, b: bytes(buffer[a:b]))
        small = open_block(pa.py_buffer(data), checked=checked, long_text=long_text)
        part = small.read_row_group(0, [chosen.names[number] for number in numbers])
        found |= _sliced(part, covered, each.spans)
    if each.whole:
        names = list(dict.fromkeys(chosen.names[number] for number in each.whole))
        whole = file.read_row_group(each.group, names)
        found |= _sliced(whole, (range(len(whole)),), each.spans)
    return found


def _sliced(part: pa.Table, covered: Sequence[range], spans: list[range]) -> dict[str, pa.ChunkedArray]:
    """Return the rows of the spans of a table that has the covered rows."""
    pieces, before = [], 0
    for rows in covered:
        for span in _common([rows], spans):
            pieces.append(part.slice(before + span.start - rows.start, len(span)))
        before += len(rows)
    together = pa.concat_tables(pieces) if pieces else part.slice(0, 0)
    return dict(zip(together.column_names, together.columns, strict=True))
