"""Delimited text as it is defined: each cell by itself, with patterns. Slow; what fast writers are compared with."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from datapkg.reading.tables.delimited_text import Dialect

_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_BLANKS = "\t\n\f\r "


def slow_text(table: pa.Table, dialect: Dialect) -> str:
    """Return a table as text, without an index."""
    columns = [_cells(column.combine_chunks(), dialect) for column in table.columns]
    missing = dialect.missing or (dialect.quote * 2 if len(columns) == 1 else "")
    rows = [table.column_names, *(list(row) for row in zip(*columns, strict=True))]
    return "".join(dialect.separator.join(missing if each is None else each for each in row) + "\n" for row in rows)


def _cells(array: pa.Array, dialect: Dialect) -> list[str | None]:
    is_number = types.is_integer(array.type) or types.is_floating(array.type)
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    texts = _texts(array, dialect)
    return [each if each is None or is_number else _quoted(each, dialect) for each in texts]


def _quoted(text: str, dialect: Dialect) -> str:
    special = {dialect.separator, dialect.quote, "\n", "\r"}
    if text and text[0] not in _BLANKS and text[-1] not in _BLANKS and not special & set(text):
        return text
    return dialect.quote + text.replace(dialect.quote, dialect.quote * 2) + dialect.quote


def _texts(array: pa.Array, dialect: Dialect) -> list[str | None]:
    kind = array.type
    if types.is_boolean(kind):
        return [None if each is None else dialect.booleans[not each] for each in array.to_pylist()]
    if types.is_floating(kind):
        plain = (array.cast(pa.float32()) if types.is_float16(kind) else array).cast(pa.string()).to_pylist()
        whole = [f"{each}.0" if each and re.fullmatch("-?[0-9]+", each) else each for each in plain]
        return [each and each.replace(".", dialect.decimal) for each in whole]
    if types.is_timestamp(kind):
        return _times(array)
    if types.is_duration(kind):
        return [None if each is None else _duration(each, kind.unit) for each in array.cast(pa.int64()).to_pylist()]
    if types.is_decimal(kind):
        return [None if each is None else f"{each:f}" for each in array.to_pylist()]
    return array.cast(pa.string()).to_pylist()


def _times(array: pa.Array) -> list[str | None]:
    values, width, zoned = array.cast(pa.int64()).to_pylist(), _NS[array.type.unit], array.type.tz is not None
    whole = {step: all(value % max(1, step // width) == 0 for value in values if value is not None) for step in _STEPS}
    digits = next(digits for step, digits in _STEPS.items() if whole[step] and not (zoned and digits is None))
    texts = array.cast(pa.string()).to_pylist()
    if any(each and each[0] == "<" for each in texts):
        far = np.datetime_as_string(array.to_numpy(zero_copy_only=False)).tolist()
        texts = [
            each and (other.replace("T", " ") if each[0] == "<" else each)
            for each, other in zip(texts, far, strict=True)
        ]
    return [each and _time(each, digits) for each in texts]


_STEPS: dict[int, Any] = {86_400 * 10**9: None, 10**9: 0, 10**6: 3, 10**3: 6, 1: 9}


def _time(text: str, digits: int | None) -> str:
    if digits is None:
        return text.partition(" ")[0]
    text = re.sub(r"\.([0-9]+)", lambda found: f".{found[1][:digits]}" if digits else "", text)
    return re.sub("Z$", "+00:00", re.sub("([+-][0-9]{2})([0-9]{2})$", r"\1:\2", text))


def _duration(value: int, unit: str) -> str:
    days, rest = divmod(value * _NS[unit], 86_400 * 10**9)
    seconds, fraction = divmod(rest, 10**9)
    shown = f".{fraction:09d}" if fraction else ""
    return f"{days} days {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{shown}"
