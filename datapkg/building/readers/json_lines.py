"""Read JSON lines as a table: blocks of lines are parsed by pyarrow in threads where that gives what msgspec gives.

pyarrow's parser is told the types found so far: integers, floats, booleans and text, alone or in lists and objects. It
refuses other values, other names, names that occur twice and whatever is not JSON; such blocks are decoded by msgspec.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from datapkg.building.readers.batches import BATCH_ROWS
from datapkg.building.readers.compression import LONGEST_BYTES, open_text
from datapkg.building.readers.json_values import distinct, finite
from datapkg.building.readers.plain_types import plain_schema
from datapkg.building.readers.records import Group, Numbered, Records, record_groups
from datapkg.errors import InvalidInput
from datapkg.tables.arrow_values import zero_for_null
from datapkg.tables.ordered_map import in_threads
from datapkg.tables.table_stream import TablePart

_READ_BYTES = 1 << 20
_PARSED = (pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.null())
# From here on, a float may be an integer that is not exact.
_EXACT = 2.0**53
_MINUS_ZERO = np.float64(-0.0).view(np.int64)
_MINUS_ZERO_INTEGER = re.compile(rb"-0[\s,}\]]")

_BEHIND_KEYS = (b'":', b" :", b"\t:", b"\r:")
_NESTED = (dict, list)
_NEWLINE, _RETURN, _OPEN, _CLOSE = b"\n\r{}"


class JsonLines(Records):
    """The table of one record per line; empty lines are skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(lambda: _all_decoded(path), plain_schema)

    def parts(self) -> Iterator[TablePart]:
        """Yield and raise as `Records` does."""
        try:
            yield from super().parts()
        except InvalidInput:
            # A table does not tell which rows have integers among floats: this raises the error with all rows.
            self.check()
            raise

    def _pieces(self) -> Generator[Group | pa.Table, None, None]:
        kinds = pa.schema(zip(self.schema.names, self.schema.types, strict=True))
        if not kinds.names or not all(map(_is_parsed, kinds.types)):
            yield from super()._pieces()
            return
        with closing(in_threads(partial(_parsed, kinds=kinds), _blocks(self._path))) as found:
            number = 1
            for data, lines, table in found:
                if table is None:
                    yield from _decoded(data, number)
                else:
                    yield table
                number += lines


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield blocks of whole lines, without the last line end; a line that is longer is a block of its own."""
    before, size, is_first = [b""], 0, True
    with open_text(path) as stream:
        while text := stream.read(_READ_BYTES):
            text, is_first = text.removeprefix(codecs.BOM_UTF8) if is_first else text, False
            end = text.rfind(b"\n")
            if end >= 0:
                yield b"".join((*before, memoryview(text)[:end]))
                before, size = [], 0
            before.append(text[end + 1 :])
            size += len(before[-1])
            if size >= LONGEST_BYTES:
                raise InvalidInput(f"a line is longer than {LONGEST_BYTES >> 20} MiB")
    if last := b"".join(before):
        yield last


def _parsed(data: bytes, kinds: pa.Schema) -> tuple[bytes, int, pa.Table | None]:
    """Return a block, the number of its lines, and its table in these types.

    The table is None unless each line is certainly a record of such values.
    """
    import pyarrow.json

    # By numpy, which looks for line ends without the lock of Python, while other threads parse.
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    lines = len(ends) + 1
    if b"\0" in data or not _are_between_records(text, ends):
        return data, lines, None
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    parsing = pyarrow.json.ParseOptions(explicit_schema=kinds, unexpected_field_behavior="error")
    try:
        if not data.isascii():
            str(data, "utf-8")
        table = pyarrow.json.read_json(pa.BufferReader(pa.py_buffer(data)), reading, parsing).combine_chunks()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return data, lines, None
    is_same = len(table) == lines and table.schema.equals(kinds)
    is_same = is_same and all(_are_exact(column.chunk(0), data) for column in table.columns)
    return data, lines, table if is_same else None


def _is_parsed(kind: pa.DataType) -> bool:
    """Return whether pyarrow's parser gives the values of a type as they are."""
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_parsed(each.type) for each in kind.fields)
    if pa.types.is_list(kind):
        # In a list of nulls alone, it looks for their values, which are nowhere.
        return not pa.types.is_null(kind.value_type) and _is_parsed(kind.value_type)
    return kind in _PARSED


def _are_between_records(text: Any, ends: Any) -> bool:
    """Return whether each line end is between `}` and `{`: then, with as many rows as lines, each line is a record."""
    if not len(ends):
        return True
    if ends[0] == 0 or ends[-1] == len(text) - 1:
        return False
    before = text[ends - 1]
    # A carriage return at the very beginning is its own "before", and no end of a record.
    before = np.where(before == _RETURN, text[np.maximum(ends - 2, 0)], before)
    return bool((before == _CLOSE).all() and (text[ends + 1] == _OPEN).all())


def _are_exact(array: pa.Array, data: bytes) -> bool:
    """Return whether floats are finite and, if they were written as integers, equal to these: not the -0 of floats."""
    if pa.types.is_struct(array.type):
        return all(_are_exact(each, data) for each in array.flatten())
    if pa.types.is_list(array.type):
        return _are_exact(array.flatten(), data)
    if not pa.types.is_floating(array.type) or array.null_count == len(array):
        return True
    values = zero_for_null(array, np.float64)
    if not (np.abs(values) < _EXACT).all():
        return False
    return not ((values.view(np.int64) == _MINUS_ZERO).any() and _MINUS_ZERO_INTEGER.search(data))


def _all_decoded(path: Path) -> Iterator[Group]:
    number = 1
    for data in _blocks(path):
        yield from _decoded(data, number)
        number += data.count(b"\n") + 1


def _decoded(data: bytes, number: int) -> Iterator[Group]:
    """Yield the records of a block, some thousand lines at a time, decoded without a step of Python for each.

    `number` is that of its first line, counted from 1.
    """
    decoder = msgspec.json.Decoder()
    every = data.split(b"\n")
    for start in range(0, len(every), BATCH_ROWS):
        lines = every[start : start + BATCH_ROWS]
        try:
            records = list(map(decoder.decode, filter(None, lines)))
            is_plain = set(map(type, records)) <= {dict} and _are_distinct(lines, records)
        except msgspec.MsgspecError:
            is_plain = False
        if is_plain:
            if records:
                yield records
        else:
            yield from record_groups(_one_by_one(decoder, lines, number + start), "line")


def _one_by_one(decoder: Any, lines: list[bytes], number: int) -> Iterator[Numbered]:
    for at, line in enumerate(lines, start=number):
        try:
            if line.strip():
                yield at, len(line), _value(decoder, line)
        except ValueError as error:
            raise InvalidInput(f"line {at} is not JSON: {error}") from error


def _value(decoder: Any, line: bytes) -> Any:
    """Return the value of a line: by msgspec, which is faster, else by `json`, which accepts more, such as NaN."""
    try:
        value = decoder.decode(line)
        if _are_distinct([line], [value]):
            return value
    except msgspec.MsgspecError:
        pass
    return json.loads(line, object_pairs_hook=distinct, parse_float=finite)


def _are_distinct(lines: list[bytes], records: list[Any]) -> bool:
    """Return whether certainly no object has a key twice: msgspec, like `json`, takes the last one.

    Each key is followed by a colon, behind its quote or a blank, so there are at most as many as of these.
    """
    data = b"\n".join(lines)
    most = sum(map(data.count, _BEHIND_KEYS))
    return most == sum(map(len, filter(_is_object, records))) or most == sum(map(_keys, records))


def _is_object(value: Any) -> bool:
    return type(value) is dict


def _keys(value: Any) -> int:
    """Return the number of keys in a value, at all depths."""
    if type(value) is dict:
        return len(value) + sum(_keys(each) for each in value.values() if type(each) in _NESTED)
    return sum(_keys(each) for each in value if type(each) in _NESTED) if type(value) is list else 0
