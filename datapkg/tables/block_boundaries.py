"""Where the blocks of a table end: a function of the values alone, so that every writer cuts equal tables alike.

A block ends before a row that is a boundary: one whose key hashes to a boundary, as one row in `MIN_ROWS` does. The key
is the leading columns, as many as the first rows need to be mostly distinct. A block has at least `MIN_ROWS` rows (the
last may have fewer), twice that on average, at most `MAX_ROWS`; if no row in that range is a boundary, the one with the
smallest hash is used. With more than `WIDE_COLUMNS` columns, these numbers are halved until `MIN_ROWS` rows have at
most `WIDE_CELLS` cells, so that a few blocks fit in memory. Only columns that are not nested count for a key; of text,
the first 32 bytes and the length. Changing anything here changes every `content`, hence its prefix `c1:`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

MIN_ROWS = 32_768
MAX_ROWS = 8 * MIN_ROWS
FIRST_ROWS = 4_096
WIDE_COLUMNS, WIDE_CELLS = 128, 1 << 20
_FEWEST_ROWS = 32
_DISTINCT = 0.9
_TEXT_WORDS = 4
_PIECE_ROWS = 65_536
_NULL = np.uint64(0x9E3779B97F4A7C15)
_NAN = np.uint64(0x7FF8000000000000)
_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(9)], dtype=np.uint64)

Words = np.ndarray[Any, np.dtype[np.uint64]]


def min_rows(columns: int) -> int:
    """Return how many rows a block has at least, if the table has this many columns."""
    rows = MIN_ROWS
    while columns > WIDE_COLUMNS and rows > _FEWEST_ROWS and rows * columns > WIDE_CELLS:
        rows //= 2
    return rows


def first_rows(columns: int) -> int:
    """Return on how many rows, from the first, the key of a table depends."""
    return min(FIRST_ROWS, min_rows(columns))


def _hit(columns: int) -> np.uint64:
    return np.uint64(2**64 // min_rows(columns))


def cut_batches(parts: Iterable[pa.Table], schema: pa.Schema, *, as_narrow: bool = False) -> Iterator[pa.Table]:
    """Yield the blocks of a table that comes in parts of any length; keep at most one block of rows in memory.

    With `as_narrow`, cut a wide table like others, as was done before wide ones were told apart.
    """
    cutter = Cutter(as_narrow=as_narrow)
    some = False
    for part in parts:
        for block in cutter.add(part):
            some = True
            yield block.rows
    for block in cutter.finish():
        some = True
        yield block.rows
    if not some:
        yield schema.empty_table()


@dataclass(frozen=True)
class BlockCut:
    """A block, and whether its first row is a boundary: one before which a block may end whatever precedes it."""

    rows: pa.Table
    hit: bool


class Cutter:
    """Cuts rows that come in parts into blocks; `key` is given if the first rows of the table were seen before."""

    def __init__(self, key: list[int] | None = None, *, as_narrow: bool = False) -> None:
        self.key = key
        self._as_narrow = as_narrow
        self._waiting: list[pa.Table] = []
        self._count = 0
        self._hashes: Words = np.empty(0, dtype=np.uint64)

    def add(self, part: pa.Table) -> Iterator[BlockCut]:
        """Add the next rows; return the blocks whose end later rows cannot change."""
        self._waiting.append(part)
        self._count += len(part)
        if self._count > min_rows(self._columns(part)):
            yield from self._cut(last=False)

    def finish(self) -> Iterator[BlockCut]:
        """Return the blocks of the remaining rows, once all rows were added."""
        if self._count:
            yield from self._cut(last=True)

    def is_hit(self, rows: pa.Table) -> bool:
        """Return whether the first of these rows is a boundary; the key must be known."""
        assert self.key is not None
        return bool(row_hashes(rows.slice(0, 1), self.key)[0] < _hit(rows.num_columns))

    def _columns(self, rows: pa.Table) -> int:
        return 0 if self._as_narrow else rows.num_columns

    def _cut(self, last: bool) -> Iterator[BlockCut]:
        rows = pa.concat_tables(self._waiting)
        if self.key is None:
            self.key = key_columns(rows, first_rows(self._columns(rows)))
        hashes = np.concatenate([self._hashes, row_hashes(rows.slice(len(self._hashes)), self.key)])
        start, hit = 0, _hit(self._columns(rows))
        cuts = []
        for end in _ends(hashes, self._columns(rows), last):
            cuts.append(BlockCut(rows.slice(start, end - start), bool(hashes[start] < hit)))
            start = end
        self._waiting, self._count, self._hashes = [rows.slice(start)], self._count - start, hashes[start:]
        yield from cuts


def _ends(hashes: Words, columns: int, last: bool) -> Iterator[int]:
    """Return the row numbers at which blocks end; without `last`, only those that later rows cannot change."""
    least, hit, start = min_rows(columns), _hit(columns), 0
    most = least * (MAX_ROWS // MIN_ROWS)
    while start < len(hashes):
        window = hashes[start + least : start + most + 1]
        hits = np.flatnonzero(window < hit)
        if len(hits):
            end = start + least + int(hits[0])
        elif len(hashes) - start > most:
            end = start + least + int(np.argmin(window))
        elif last:
            end = len(hashes)
        else:
            return
        yield end
        start = end


def key_columns(table: pa.Table, first: int | None = None) -> list[int]:
    """Return the leading flat columns that make nine in ten of the first rows distinct; all of them if none do."""
    rows = table.slice(0, first or first_rows(table.num_columns))
    key = []
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for index, column in enumerate(rows.columns):
        words = _column_words(column)
        if words is None:
            continue
        key.append(index)
        hashes = _add(hashes, words)
        if len(np.unique(hashes)) >= _DISTINCT * len(rows):
            break
    return key


def row_hashes(table: pa.Table, key: list[int]) -> Words:
    """Return one 64-bit hash a row over the columns of the key."""
    hashes = np.zeros(len(table), dtype=np.uint64)
    for index in key:
        words = _column_words(table.column(index))
        assert words is not None
        hashes = _add(hashes, words)
    return hashes


def _add(hashes: Words, words: list[Words]) -> Words:
    """Mix each word into the hashes, in turn, by the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    for word in words:
        hashes = (hashes + np.uint64(0x9E3779B97F4A7C15)) ^ word
        hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashes = hashes ^ (hashes >> np.uint64(31))
    return hashes


def _column_words(column: pa.ChunkedArray) -> list[Words] | None:
    parts = [_words(piece) for chunk in column.chunks for piece in _pieces(chunk)]
    if any(part is None for part in parts):
        return None
    if not parts:
        return [] if _words(pa.nulls(1, column.type)) is not None else None
    return [np.concatenate(pieces) for pieces in zip(*[part for part in parts if part is not None], strict=True)]


def _pieces(array: pa.Array) -> Iterator[pa.Array]:
    """Yield slices that are short enough for copies of their text to be small."""
    return (array.slice(start, _PIECE_ROWS) for start in range(0, len(array), _PIECE_ROWS))


def _words(array: pa.Array) -> list[Words] | None:
    """Return the values as 64-bit words, one or more for each row; None for a type that cannot be a key.

    The words are the same in every encoding of the values.
    """
    kind = array.type
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _words(array.storage)
    if types.is_dictionary(kind):
        return _words(array.dictionary_decode())
    if types.is_boolean(kind):
        return [_hide_nulls(array, _numbers(array.cast(pa.uint8()), np.uint8).astype(np.uint64))]
    if types.is_integer(kind) or types.is_temporal(kind):
        if types.is_interval(kind):
            return None
        signed = "u" if types.is_unsigned_integer(kind) else "i"
        values = _numbers(array, np.dtype(f"<{signed}{kind.bit_width // 8}"))
        return [_hide_nulls(array, values.astype(np.int64 if signed == "i" else np.uint64).view(np.uint64))]
    if types.is_floating(kind):
        return [_hide_nulls(array, _float_words(_numbers(array, np.dtype(f"<f{kind.bit_width // 8}"))))]
    if types.is_decimal(kind):
        # At one precision, so that equal decimals give equal words whatever the width of their type.
        array = array.cast(pa.decimal256(76, kind.scale)) if kind.precision <= 76 else array
        low = _numbers(array, np.dtype("<u8"), words=4)
        return [_hide_nulls(array, low[:, 0]), _hide_nulls(array, low[:, 1])]
    if types.is_fixed_size_binary(kind):
        return _text_words(array.cast(pa.binary()).cast(pa.large_binary()))
    if any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view)):
        return _text_words(array.cast(pa.large_string()))
    if any(test(kind) for test in (types.is_binary, types.is_large_binary, types.is_binary_view)):
        return _text_words(array.cast(pa.large_binary()))
    return None


def _numbers(array: pa.Array, dtype: Any, words: int = 1) -> Any:
    buffer = array.buffers()[1]
    count = len(array) * words
    if buffer is None:
        return np.zeros(count, dtype=dtype)
    width = np.dtype(dtype).itemsize
    values = np.frombuffer(buffer, dtype=dtype, count=count, offset=array.offset * words * width)
    return values.reshape(-1, words) if words > 1 else values


def _float_words(values: Any) -> Words:
    # Adding 0.0 turns −0.0 into 0.0, and all NaNs become one word: values that are equal must hash alike.
    values = values.astype(np.float64) + 0.0
    words: Words = values.view(np.uint64)
    return np.where(np.isnan(values), _NAN, words)


def _hide_nulls(array: pa.Array, words: Words) -> Words:
    bits = array.buffers()[0]
    if not array.null_count or bits is None:
        return words
    valid = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")[array.offset :][: len(array)]
    return np.where(valid == 1, words, _NULL)


def _text_words(array: pa.Array) -> list[Words]:
    """Return the length and the first 32 bytes of each value, read as little-endian words and padded with zeros."""
    _, offsets_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64, count=len(array) + 1, offset=array.offset * 8)
    lengths = np.diff(offsets)
    first, last = int(offsets[0]), int(offsets[-1])
    # Padded with zeros, so that a word can be read at every place of the last value.
    data = np.zeros(last - first + 8 * _TEXT_WORDS, dtype=np.uint8)
    if data_buffer is not None:
        data[: last - first] = np.frombuffer(data_buffer, dtype=np.uint8, count=last - first, offset=first)
    at_each_byte: Words = np.ndarray((len(data) - 7,), dtype=np.dtype("<u8"), buffer=data, strides=(1,))
    starts = offsets[:-1] - first
    words = [_hide_nulls(array, lengths.astype(np.uint64))]
    for index in range(_TEXT_WORDS):
        here = np.minimum(starts + 8 * index, len(data) - 8)
        mask = _MASKS[np.clip(lengths - 8 * index, 0, 8)]
        words.append(_hide_nulls(array, at_each_byte[here] & mask))
    return words
