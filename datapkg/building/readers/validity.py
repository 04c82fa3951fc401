"""Validate the values of columnar files when a package is built.

Arrow's readers copy bytes without checking them. Otherwise text that is not UTF-8, or a time before midnight, would be
noticed only when a user loads the table.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.tables.extension_types import storage_of
from datapkg.tables.type_names import is_list

_EPOCH = datetime.date(1970, 1, 1).toordinal()
# Days since 1970 of the first and last date of Python's datetime, 0001-01-01 and 9999-12-31.
_FIRST_DAY, _LAST_DAY = datetime.date.min.toordinal() - _EPOCH, datetime.date.max.toordinal() - _EPOCH
_PER_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


def check_values(table: pa.Table, row: int = 0) -> None:
    """Raise `InvalidInput` with the first column that has an invalid value; `row` is the first row's number, from 0.

    Values must pass Arrow's full validation (UTF-8, offsets, times of day, decimal digits, dictionary indices), and
    dates and times with a zone must be in the years 1 to 9999, the range of Python's datetime.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
            for leaf in leaves(column) if _has_dates(column.type) else ():
                _check_range(leaf)
        except (pa.ArrowException, ValueError) as error:
            rows = f"row {row + 1:,}" if len(table) == 1 else f"rows {row + 1:,} to {row + len(table):,}"
            reason = str(error).rpartition("Invalid: ")[2]
            raise InvalidInput(
                f"column {quoted(name)} ({column.type}) holds values that are not valid, in {rows}: {reason}",
                hint=_hint(error),
                column=name,
            ) from error


def _hint(error: Exception) -> str:
    return "write the column as binary, or as text in UTF-8" if "UTF8" in str(error) else ""


def leaves(column: pa.ChunkedArray | pa.Array) -> Iterator[pa.Array]:
    """Yield the leaf arrays of a valid column, with extension types as their storage."""
    for each in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        kind = storage_of(each.type)
        array = each if kind == each.type else each.cast(kind)
        if isinstance(kind, pa.BaseExtensionType):
            yield from leaves(array.storage)
        elif types.is_dictionary(kind):
            yield from leaves(array.dictionary)
        elif types.is_map(kind):
            yield from leaves(array.keys)
            yield from leaves(array.items)
        elif is_list(kind) or types.is_fixed_size_list(kind):
            yield from leaves(array.flatten())
        elif types.is_struct(kind):
            for child in array.flatten():
                yield from leaves(child)
        else:
            yield array


def _has_dates(kind: pa.DataType) -> bool:
    """Return whether a type contains values that `_check_range` checks."""
    if isinstance(kind, pa.BaseExtensionType):
        return _has_dates(kind.storage_type)
    if types.is_dictionary(kind):
        return _has_dates(kind.value_type)
    is_zoned = types.is_timestamp(kind) and kind.tz is not None
    return is_zoned or types.is_date(kind) or any(_has_dates(kind.field(at).type) for at in range(kind.num_fields))


def _check_range(array: pa.Array) -> None:
    """Raise `ValueError` for a date or a zoned time that Python cannot represent."""
    kind = array.type
    is_zoned = types.is_timestamp(kind) and kind.tz is not None
    if not (types.is_date(kind) or is_zoned):
        return
    if is_zoned and not _is_known(kind.tz):
        raise ValueError(f"the time zone {quoted(kind.tz)} is not known here")
    day = 1 if types.is_date32(kind) else _PER_DAY["ms" if types.is_date(kind) else kind.unit]
    numbers = array.cast(pa.int32() if types.is_date32(kind) else pa.int64())
    found: Any = pc.min_max(numbers).as_py()
    # One day less at both ends, since the local time of another zone may be on the day before or after.
    slack = 1 if is_zoned else 0
    for value in found.values():
        if value is not None and not _FIRST_DAY + slack <= value // day <= _LAST_DAY - slack:
            year = int(1970 + value / day // 365.2425)
            raise ValueError(f"a date in the year {year:,}; only the years 1 to 9999 can be read")


@cache
def _is_known(zone: str) -> bool:
    try:
        pa.lib.string_to_tzinfo(zone)
    except (ValueError, KeyError, pa.ArrowException, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True
