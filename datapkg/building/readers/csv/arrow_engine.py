"""The fast CSV engine: split a file into pieces, tokenize each with pyarrow, and verify each column's inferred type.

The types are inferred from the first piece. If a later piece needs other types, the rest is read for its types only,
and the file is read once more. Text that pyarrow may not read exactly as pandas does raises `UnsupportedByEngine`, and
a slower engine reads the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from datapkg.building.readers.csv.columns import convert, demands, least_demand
from datapkg.building.readers.csv.dialect import CsvDialect
from datapkg.building.readers.csv.inferred_types import INEXACT_FLOAT, demand, dtypes_of, join, same_values, widen
from datapkg.building.readers.csv.large_integers import inexact
from datapkg.building.readers.csv.numeric_fast_path import with_numbers
from datapkg.building.readers.csv.record_splitter import Piece, Text, pieces, record_end, row_starts
from datapkg.building.readers.csv.schemas import schema_of
from datapkg.building.readers.csv.tokenizer import tokens
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine
from datapkg.errors import InvalidInput
from datapkg.tables.ordered_map import cores, ordered_map
from datapkg.tables.table_stream import Needs, RestartRead, TablePart, TableStream

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Bytes of a block's text that are read if its values do not determine its demand.
_LOOKED_AT = 64 << 10
# Limits that hold for any number of cores and columns; parsed text takes about three times its length.
_MOST_WORKERS = 8
_MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class BlockSizeControl:
    """Bytes per piece, threads, and pieces that are parsed or queued; they do not change the result."""

    piece: int = 2 << 20
    workers: int = 0
    waiting: int = 0

    @property
    def threads(self) -> int:
        """Return the number of parser threads."""
        return self.workers or min(_MOST_WORKERS, cores())

    @property
    def pieces(self) -> int:
        """Return the number of pieces that are parsed or queued at once."""
        return self.waiting or max(2, min(self.threads + 1, _MOST_BYTES // self.piece))


@dataclass(frozen=True)
class _Parsed:
    piece: Piece
    columns: list[pa.Array | None]
    needs: tuple[str, ...]
    has_lines: bool


class ArrowCsvStream:
    """A table in a file whose types are inferred from its first piece.

    `slower(reason)` returns the stream that replaces this one if it meets something unsupported.
    """

    def __init__(
        self,
        text: Text,
        layout: CsvDialect,
        slower: Callable[[str], TableStream],
        pace: BlockSizeControl = BlockSizeControl(),
    ) -> None:
        """Raise `UnsupportedByEngine` if the first piece is already unsupported."""
        self._text, self._layout, self._slower, self._pace = text, layout, slower, pace
        self._instead: TableStream | None = None
        self._has_started_again = self._is_assumed = False
        self._schemas: dict[tuple[str, ...], pa.Schema] = {}
        self._as_text: set[int] = set()
        self._needs = self._first_needs()

    @property
    def layout(self) -> CsvDialect:
        """Return how records are read, except the types of columns."""
        return self._layout

    @property
    def schema(self) -> pa.Schema:
        """Return the schema for the types inferred so far."""
        if self._instead is not None:
            return self._instead.schema
        dtypes = self._dtypes
        if dtypes not in self._schemas:
            self._schemas[dtypes] = schema_of(self._layout.labels, dtypes)
        return self._schemas[dtypes]

    @property
    def _dtypes(self) -> tuple[str, ...]:
        return tuple(dtypes_of(self._needs, self._layout.given))

    def parts(self) -> Iterator[TablePart]:
        """Return an iterator over the rows, in order, which raises `RestartRead` at most once."""
        return self._parts(self._layout.first)

    def _parts(self, start: int) -> Iterator[TablePart]:
        if self._instead is not None:
            yield from self._instead.parts()
            return
        try:
            yield from self._verified(start)
        except UnsupportedByEngine as reason:
            self._start_again()
            self._instead = self._slower(str(reason))
            raise RestartRead from None

    def _verified(self, start: int) -> Iterator[TablePart]:
        schema = self.schema
        known: tuple[str, ...] = ()
        for parsed in (reading := self._read(start)):
            if parsed.needs != known:
                before, known = self._needs, parsed.needs
                self._needs = _widened(before, parsed)
                if not all(map(same_values, before, known, self._layout.given)):
                    # Assumed demands may be more than the text has, and from the middle on, not all of it was seen.
                    self._settle(None if self._is_assumed or start != self._layout.first else reading)
                    self._start_again()
                    raise RestartRead
            yield self._part(parsed, schema)

    def _settle(self, rest: Iterator[_Parsed] | None) -> None:
        """Read the rest, or the whole file if `rest` is None, to find what all pieces demand together."""
        if rest is None:
            self._needs, self._is_assumed = self._first_needs(), False
        for parsed in rest or self._read(self._layout.first):
            self._needs = _widened(self._needs, parsed)
        if INEXACT_FLOAT in self._needs:
            raise inexact(self._layout.labels[self._needs.index(INEXACT_FLOAT)])

    def _start_again(self) -> None:
        if self._has_started_again:
            raise InvalidInput("the file changed while it was read")
        self._has_started_again = True

    def _part(self, parsed: _Parsed, schema: pa.Schema) -> TablePart:
        return TablePart(_table(parsed.columns, schema))

    def _read(self, start: int) -> Iterator[_Parsed]:
        source = self._text.open()
        raw = pieces(source, start, self._pace.piece, self._layout.separator.encode())
        try:
            yield from ordered_map(self._parse, raw, self._pace.threads, self._pace.pieces)
        finally:
            source.close()

    def _parse(self, piece: Piece) -> _Parsed:
        converted, has_lines = with_numbers(piece.data, self._layout, self._needs, self._as_text), True
        if converted is None:
            texts, has_lines = tokens(piece.data, self._layout)
            converted = [convert(*each) for each in zip(texts, self._needs, self._layout.given, strict=True)]
        return _Parsed(piece, [array for array, _ in converted], tuple(need for _, need in converted), has_lines)

    def _first_needs(self) -> tuple[str, ...]:
        """Return exactly what the first rows demand."""
        source = self._text.open()
        try:
            separator = self._layout.separator.encode()
            for piece in pieces(source, self._layout.first, self._pace.piece, separator):
                texts, _ = tokens(piece.data, self._layout)
                if len(texts[0]):
                    return tuple(map(_first_need, texts, self._layout.given))
        finally:
            source.close()
        raise UnsupportedByEngine("no rows")


class ArrowTextStream(ArrowCsvStream):
    """The same for an uncompressed file, in which any record can be found again by its position."""

    @property
    def choices(self) -> str:
        """Return the settings that determine how the text is read, as text."""
        return self._layout.choices

    @property
    def first(self) -> int:
        """Return the position of the first record, in bytes."""
        return self._layout.first

    @property
    def size(self) -> int:
        """Return the size of the file in bytes."""
        return self._text.path.stat().st_size

    def parts(self, start: int | None = None) -> Iterator[TablePart]:
        """Return an iterator over the rows from the position `start` on, at which a row must begin."""
        return self._parts(self.first if start is None else start)

    def assume(self, needs: Needs) -> None:
        """Use these demands for the types; without any, infer them from the first piece."""
        if self._instead is not None:
            return
        self._has_started_again = False
        self._is_assumed = len(needs) == len(self._layout.given) and all(dtypes_of(needs, self._layout.given))
        self._needs = needs if self._is_assumed else self._first_needs()

    def needs(self, table: pa.Table, start: int, stop: int) -> Needs:
        """Return a lower bound of what the text of these rows demands."""
        if self._instead is not None:
            return ()
        texts = _FirstRows(self._text, self._layout, start, stop)
        return tuple(
            least_demand(table.column(position), given, partial(texts.column, position))
            for position, given in enumerate(self._layout.given)
        )

    def joined(self, needs: Needs, more: Needs) -> Needs:
        """Return what two parts of the text demand together."""
        return tuple(join(*each) for each in zip(needs, more, strict=True))

    def fits(self, needs: Needs) -> bool:
        """Return whether the demands of all parts give the types in use; False if another engine reads the file."""
        return (
            self._instead is None
            and len(needs) == len(self._needs)
            and tuple(dtypes_of(needs, self._layout.given)) == self._dtypes
        )

    def _part(self, parsed: _Parsed, schema: pa.Schema) -> TablePart:
        table = _table(parsed.columns, schema)
        if not parsed.has_lines:
            return TablePart(table)
        rows = _RowStarts(parsed.piece, self._layout.separator.encode(), len(table))
        return TablePart(table, parsed.piece.start, parsed.piece.stop, rows, parsed.piece.stop / self.size)


class _FirstRows:
    """The text of the first rows of a part of the file, read when it is first needed."""

    def __init__(self, text: Text, layout: CsvDialect, start: int, stop: int) -> None:
        self._text, self._layout, self._start, self._stop = text, layout, start, stop

    def column(self, position: int) -> pa.Array:
        """Return the text of one column."""
        return self._columns[position]

    @cached_property
    def _columns(self) -> list[pa.Array]:
        import pyarrow as pa

        source = self._text.open()
        try:
            data = source.at(self._start, min(_LOOKED_AT, self._stop - self._start))
        finally:
            source.close()
        end = record_end(data, self._layout.separator.encode(), self._start + len(data) == self._stop)
        try:
            return tokens(data[:end], self._layout)[0]
        except UnsupportedByEngine:
            return [pa.array([], pa.string())] * len(self._layout.used)


class _RowStarts:
    """The positions at which the rows of a piece begin, computed when they are first needed."""

    def __init__(self, piece: Piece, separator: bytes, rows: int) -> None:
        self._piece, self._separator, self._rows = piece, separator, rows

    def __call__(self, row: int) -> int | None:
        return self._piece.start + int(self._starts[row]) if len(self._starts) == self._rows else None

    @cached_property
    def _starts(self) -> np.ndarray:
        return row_starts(self._piece.data, self._separator)


def _first_need(text: pa.Array, given: str) -> str:
    return convert(text, "", given)[1] if given else demand(*demands(text))


def _widened(needs: tuple[str, ...], parsed: _Parsed) -> tuple[str, ...]:
    return tuple(widen(*each) for each in zip(needs, parsed.needs, strict=True))


def _table(columns: Sequence[pa.Array | None], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_arrays(columns, schema=schema)
