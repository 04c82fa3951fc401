"""The columns of a table, and their cells as text: each column is rendered in one way from first row to last.

The Arrow type of a column decides, never the rows of one batch: an integer stays an integer beside nulls. Numbers have
the fewest digits that give the same value back, times as many as any value of their column needs.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from shlex import quote
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.errors import DatapkgError, InvalidInput, exhausted
from datapkg.reading.tables import arrow_reader, batches
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.arrow_values import boolean_array, text_scalar, zero_for_null
from datapkg.tables.ordered_map import in_threads
from datapkg.tables.pandas_metadata import pandas_metadata

Piece = TypeVar("Piece", bytes, bytes | memoryview)
_BATCH_CELLS = 512 << 10
_MAX_ROWS = 32_768
_UNITS = {0: "s", 3: "ms", 6: "us", 9: "ns"}
_DIGITS = {unit: digits for digits, unit in _UNITS.items()}
_SAMPLE = 1_024
_WORTH_ENCODING = 0.7  # with fewer distinct values in the sample, each is formatted once for all its cells
_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Liberia was the last to give up an offset with seconds, in January 1972.
_WHOLE_MINUTES_SINCE = 2 * 366 * 86_400
DAYS = -1
_BOTH = boolean_array(np.array([False, True]))
_FALSE = _BOTH[0]
_POINT_ZERO, _NOTHING = (text_scalar(each).cast(pa.string()) for each in (".0", ""))


@dataclass(frozen=True)
class TextColumn:
    """A column by its name and position in the schema, its label in the header, and whether it belongs to the index."""

    name: str
    at: int
    label: str
    kind: pa.DataType
    is_index: bool = False


def columns_of(schema: pa.Schema) -> list[TextColumn]:
    """Return the columns as text has them: those of the index first, each under its label."""
    described = pandas_metadata(schema).get("columns")
    entries = [each for each in described if isinstance(each, dict)] if isinstance(described, list) else []
    labels = {str(each.get("field_name") or each.get("name")): each.get("name") for each in entries}
    index = [name for name in dict.fromkeys(arrow_reader.index_columns(schema)) if schema.names.count(name) == 1]
    found = [
        TextColumn(each.name, at, _label(labels, each.name, each.name in index), each.type, each.name in index)
        for at, each in enumerate(schema)
    ]
    return sorted(found, key=lambda each: index.index(each.name) if each.is_index else len(index))


def _label(labels: dict[str, Any], name: str, is_index: bool) -> str:
    label = labels.get(name, name)
    if label is None and is_index:
        return ""
    return str(label) if isinstance(label, str | int | float) else name


def not_as_text(schema: pa.Schema) -> list[TextColumn]:
    """Return the columns whose values have no text form: nested, binary, and types of other libraries."""
    return [each for each in columns_of(schema) if not _is_plain(each.kind)]


def _is_plain(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_null, types.is_decimal, is_text)
    return any(test(kind) for test in tests) or types.is_temporal(kind)


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are text, whatever their offsets."""
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def pieces(table: StoredTable, names: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in batches of some hundred thousand cells and a few megabytes."""
    width = len(table.node.columns) if names is None else len(names)
    return batches.pieces(arrow_reader.ask(table, names), max(1, min(_MAX_ROWS, _BATCH_CELLS // max(1, width))))


def explained(table: StoredTable, text: Iterator[Piece]) -> Iterator[Piece]:
    """Yield what an iterator yields; raise `InvalidInput` that names the table for values that cannot be rendered."""
    try:
        yield from text
    except (DatapkgError, UnicodeEncodeError):
        raise
    except (pa.ArrowException, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        path = table.place
        message = f"{path} cannot be written as text: {reason}"
        hint = f"datapkg export {quote(path)} FILE.parquet"
        raise exhausted(error, f"writing {path} as text") or InvalidInput(message, hint=hint) from error


def cell_text(array: pa.Array, digits: int | None = None) -> pa.Array:
    """Return each value as text; nulls stay nulls. `digits` is how many digits of a second times have, None for all.

    Nested values are JSON, binary ones base64.
    """
    kind = array.type
    if types.is_dictionary(kind):
        return cell_text(array.dictionary, digits).take(array.indices)
    if types.is_boolean(kind) or kind == pa.bool8():
        return pc.if_else(array.cast(pa.bool_()), text_scalar("True"), text_scalar("False"))
    if types.is_floating(kind):
        return _floats(array)
    if types.is_timestamp(kind):
        return _times(array, digits)
    if types.is_duration(kind):
        return _durations(array)
    if types.is_decimal(kind):
        return _decimals(array)
    if types.is_temporal(kind):
        return array.cast(pa.string())
    if _is_plain(kind):
        return array.cast(pa.string())
    values = json_values(array)
    texts = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
    return pa.array(texts, pa.large_string())


def compact(array: pa.Array) -> pa.Array:
    """Return booleans, and floats that repeat often, as a dictionary; one longer than its rows as plain values."""
    if types.is_dictionary(array.type):
        return array.dictionary_decode() if len(array.dictionary) > len(array) else array
    if types.is_boolean(array.type) and len(array) > len(_BOTH):
        return pa.DictionaryArray.from_arrays(array.cast(pa.int8()), _BOTH)
    if not types.is_float64(array.type) or len(array) < 4 * _SAMPLE:
        return array
    # As integers, since 0.0 and -0.0 are two texts.
    bits = array.view(pa.int64())
    if pc.count_distinct(bits.slice(0, _SAMPLE), mode="all").as_py() > _WORTH_ENCODING * _SAMPLE:
        return array
    encoded = bits.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices, encoded.dictionary.view(array.type))


def _floats(array: pa.Array) -> pa.Array:
    array = array.cast(pa.float32()) if types.is_float16(array.type) else array
    text = array.cast(pa.string())
    whole = pc.equal(array, pc.floor(array)).fill_null(_FALSE)
    if not pc.any(whole).as_py():
        return text
    some = text.filter(whole)
    # Large ones have an exponent, and infinities are words.
    digits = pc.match_substring_regex(some, "^-?[0-9]+$")
    some = pc.if_else(digits, pc.binary_join_element_wise(some, _POINT_ZERO, _NOTHING), some)
    return pc.replace_with_mask(text, whole, some)


def _times(array: pa.Array, digits: int | None) -> pa.Array:
    """Return times with this many digits of a second; no value needs more."""
    if digits == DAYS:
        array = array.cast(pa.date32())
    elif digits is not None and (unit := _UNITS[digits]) != array.type.unit:
        array = array.cast(pa.timestamp(unit, array.type.tz))
    text = _with_far_years(array, array.cast(pa.string()))
    if digits == DAYS or array.type.tz is None:
        return text
    text = _at_whole_minutes(array, text)
    text = pc.replace_substring_regex(text, "([+-][0-9]{2})([0-9]{2})$", r"\1:\2")
    return pc.replace_substring_regex(text, "Z$", "+00:00")


def _at_whole_minutes(array: pa.Array, text: pa.Array) -> pa.Array:
    """Return the text of zoned times whose local offset has seconds, at the same moment beside one of whole minutes.

    Arrow's text leaves out the seconds of an offset, which is then another moment. RFC 3339 (section 5.8) asks for a
    close offset that can be written.
    """
    width = 10**9 // _NS[array.type.unit]
    moments = zero_for_null(array.cast(pa.int64()), np.int64)
    if not len(moments) or moments.min() >= _WHOLE_MINUTES_SINCE * width:
        return text
    seconds = (zero_for_null(pc.local_timestamp(array).cast(pa.int64()), np.int64) - moments) // width
    odd = seconds % 60 != 0
    if not odd.any():
        return text
    minutes = seconds[odd] // 60
    local = pa.array(moments[odd] + minutes * 60 * width).view(pa.timestamp(array.type.unit)).cast(pa.string())
    offsets = [f"{'-' if each < 0 else '+'}{abs(each) // 60:02}{abs(each) % 60:02}" for each in minutes.tolist()]
    found = [time + offset for time, offset in zip(local.to_pylist(), offsets, strict=True)]
    return pc.replace_with_mask(text, boolean_array(odd), pa.array(found, text.type))


def _with_far_years(array: pa.Array, text: pa.Array) -> pa.Array:
    """Return the text of times, with numpy's form of years above 32,767, for which Arrow only has a placeholder."""
    if not pc.any(pc.starts_with(text, "<")).as_py():
        return text
    far = np.datetime_as_string(array.to_numpy(zero_copy_only=False))
    pairs = zip(text.to_pylist(), far.tolist(), strict=True)
    return pa.array([re.sub("(?<=[0-9])T", " ", other) if each and each[0] == "<" else each for each, other in pairs])


def _durations(array: pa.Array) -> pa.Array:
    """Return durations as pandas writes them: `1 days 00:00:02.000003000`."""
    width = _NS[array.type.unit]
    values = zero_for_null(array.cast(pa.int64()), np.int64)
    days, rest = np.divmod(values, 86_400 * 10**9 // width)
    clock = pa.array(rest * width).view(pa.time64("ns")).cast(pa.string())
    clock = pc.replace_substring(clock, ".000000000", "")
    text = pc.binary_join_element_wise(pa.array(days).cast(pa.string()), clock, " days ")
    return pc.if_else(array.is_valid(), text, pa.scalar(None, pa.string())) if array.null_count else text


def _decimals(array: pa.Array) -> pa.Array:
    text = array.cast(pa.string())
    if not pc.any(pc.match_substring(text, "E")).as_py():
        return text
    return pa.array([None if each is None else f"{each:f}" for each in array.to_pylist()], pa.string())


def digits_of_times(table: StoredTable, columns: Sequence[TextColumn]) -> dict[int, int]:
    """Return how many digits of a second the times of each column need, by its position; `DAYS` if all are midnights.

    Columns of times are read up to the row that needs all digits of its type.
    """
    kinds = {each.at: each.kind for each in columns if types.is_timestamp(each.kind)}
    found = dict.fromkeys(kinds, DAYS)
    most = {at: _DIGITS[kind.unit] for at, kind in kinds.items()}
    names = list(dict.fromkeys(each.name for each in columns if each.at in kinds))
    order = [at for name in names for at in sorted(each.at for each in columns if each.name == name)]

    def needed(batch: pa.RecordBatch) -> dict[int, int]:
        return {at: _needed(array, found[at]) for at, array in zip(order, batch.columns, strict=True) if at in kinds}

    for part in in_threads(needed, pieces(table, names) if names else ()):
        found = {at: max(digits, part[at]) for at, digits in found.items()}
        if found == most:
            break
    return found


def _needed(times: pa.Array, least: int) -> int:
    """Return how many digits these times need, at least so many."""
    if least == _DIGITS[times.type.unit]:
        return least
    values = zero_for_null(times.cast(pa.int64()), np.int64)
    # Text with a zone ends with its offset, which a date alone does not have.
    least = 0 if times.type.tz is not None else least
    width = _NS[times.type.unit]
    for digits, step in ((DAYS, 86_400 * 10**9), (0, 10**9), (3, 10**6), (6, 10**3)):
        if digits >= least and (step <= width or np.array_equal(values // (step // width) * (step // width), values)):
            return digits
    return 9


def json_values(array: pa.Array) -> list[Any]:
    """Return values as JSON can hold them: binary as base64, times as ISO text, decimals and durations as text.

    A map is a list of pairs, and so is a struct in which a name occurs twice. Values never become Python's types of
    time, which have neither nanoseconds nor years beyond 9999.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _json_extension(array)
    if types.is_dictionary(kind):
        values = json_values(array.dictionary)
        return [None if at is None else values[at] for at in array.indices.to_pylist()]
    if types.is_nested(kind):
        rows = _json_structs(array) if types.is_struct(kind) else _json_lists(array)
        return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]
    if types.is_temporal(kind) or types.is_decimal(kind):
        text = cell_text(array)
        return (_iso(text) if types.is_timestamp(kind) or types.is_time(kind) else text).to_pylist()
    return [_json_value(each) for each in array.to_pylist()]


def _json_extension(array: pa.Array) -> list[Any]:
    if array.type == pa.uuid():
        return [None if each is None else str(each) for each in array.to_pylist()]
    return json_values(array.cast(pa.bool_()) if array.type == pa.bool8() else array.storage)


def _json_structs(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type.fields]
    columns = [json_values(child) for child in array.flatten()]
    pairs = [list(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return [list(map(list, row)) for row in pairs] if len(set(names)) < len(names) else list(map(dict, pairs))


def _json_lists(array: pa.Array) -> list[Any]:
    if types.is_map(array.type):
        start, *stops = array.offsets.to_pylist()
        keys, items = (
            json_values(each.slice(start, stops[-1] - start)) if stops else [] for each in (array.keys, array.items)
        )
        flat: list[Any] = [list(pair) for pair in zip(keys, items, strict=True)]
        lengths = [stop - begin for begin, stop in zip([start, *stops], stops, strict=False)]
    else:
        flat = json_values(array.flatten())
        lengths = [length or 0 for length in pc.list_value_length(array).to_pylist()]
    ends = list(accumulate(lengths))
    return [flat[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _iso(text: pa.Array) -> pa.Array:
    """Return times in the form of ISO 8601, without zeros at the end of a fraction."""
    text = pc.replace_substring_regex(text, r"\.0+($|[+-])", r"\1")
    text = pc.replace_substring_regex(text, r"(\.[0-9]*[1-9])0+($|[+-])", r"\1\2")
    return pc.replace_substring(text, " ", "T", max_replacements=1)


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
