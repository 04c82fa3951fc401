"""Compare values of a build file with those of a column, in a type that both convert to."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.building.checks.columns import Unfit
from datapkg.format.texts import quoted

WIDEST_DECIMAL = 76  # the most digits of Arrow's decimal256
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def beside(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return values of a build file as Arrow, in the type that a column of this type is cast to for the comparison.

    Raise `Unfit` if they cannot be compared.
    """
    for fits, convert in _CONVERSIONS:
        if fits(kind):
            try:
                found = convert(values, kind)
            except Unfit:
                raise
            except (pa.ArrowException, ValueError, OverflowError, decimal.DecimalException):
                found = None
            if found is not None:
                return found
    raise Unfit(f"{', '.join(map(plainly, values[:3]))} cannot be compared with {kind}")


def cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a column's values in the type of the comparison; beside fractions, integers beyond 2^53 may be rounded.

    Times beyond the range of a finer unit become the first or last time in it, which is beyond any limit too.
    """
    if values.type == kind:
        return values
    if types.is_timestamp(kind) and types.is_timestamp(values.type):
        values = _within(values, _PER_SECOND[kind.unit] // _PER_SECOND[values.type.unit])
    return values.cast(kind, safe=False)


def _within(times: pa.Array, steps: int) -> pa.Array:
    """Return times such that each, in a unit so many times as fine, fits into 64 bits."""
    most = (2**63 - 1) // max(steps, 1)
    numbers = times.cast(pa.int64())
    numbers = pc.min_element_wise(numbers, pa.scalar(most), skip_nulls=False)
    numbers = pc.max_element_wise(numbers, pa.scalar(-most), skip_nulls=False)
    return numbers.cast(times.type)


def plainly(value: Any) -> str:
    """Return a value of a build file as messages show it."""
    return quoted(value) if isinstance(value, str) else str(value)


def _integers(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    if not all(_is_number(each) for each in values):
        return None
    values = [int(each) if isinstance(each, float) and each.is_integer() else each for each in values]
    whole = all(isinstance(each, int) for each in values)
    wide = pa.uint64() if kind == pa.uint64() else pa.int64()
    low, high = (0, 2**64 - 1) if kind == pa.uint64() else (-(2**63), 2**63 - 1)
    if whole and all(low <= each <= high for each in values):
        return pa.array(values, wide)
    return pa.array([float(each) for each in values], pa.float64())


def _floats(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """Return values in the precision of the column, so that 0.1 equals the 0.1 stored there."""
    if not all(_is_number(each) for each in values):
        return None
    found = pa.array([float(each) for each in values], pa.float64()).cast(kind, safe=False)
    return found.cast(pa.float32()) if types.is_float16(kind) else found


def _decimals(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    if not all(_is_number(each) for each in values):
        return None
    # Through the text: the float 0.1 is not exactly the decimal 0.1 that the build file has.
    exact = [decimal.Decimal(str(each)) for each in values]
    places = [max(0, -int(each.as_tuple().exponent)) for each in exact]
    return pa.array(exact, pa.decimal256(WIDEST_DECIMAL, max(kind.scale, *places)))


def _texts(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    return pa.array(values, pa.large_string()) if all(isinstance(each, str) for each in values) else None


def _booleans(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    return pa.array(values, pa.bool_()) if all(isinstance(each, bool) for each in values) else None


def _dates(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    if all(isinstance(each, str) for each in values):
        return pa.array(values).cast(pa.date32())
    if any(isinstance(each, datetime.datetime) for each in values):
        return _moments(values, pa.timestamp("us"))
    return pa.array(values, pa.date32()) if all(isinstance(each, datetime.date) for each in values) else None


def _moments(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """Return times, and dates as midnight; a time without a zone is in UTC if the column has a zone."""
    wanted = pa.timestamp("ns" if kind.unit == "ns" else "us", kind.tz)
    if all(isinstance(each, str) for each in values):
        return pa.array(values).cast(wanted)
    if not all(isinstance(each, datetime.date) for each in values):
        return None
    moments = [each if isinstance(each, datetime.datetime) else _midnight(each) for each in values]
    if kind.tz is None and any(each.tzinfo is not None for each in moments):
        raise Unfit(f"a time with a time zone cannot be compared with {kind}, which has none")
    utc = [each if each.tzinfo is None else each.astimezone(datetime.UTC).replace(tzinfo=None) for each in moments]
    found = pa.array(utc, pa.timestamp("us")).cast(pa.timestamp(wanted.unit))
    return found if kind.tz is None else found.cast(pa.timestamp(wanted.unit, "UTC")).cast(wanted)


def _times(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    if not all(isinstance(each, str) for each in values):
        return None
    return pa.array([datetime.time.fromisoformat(each) for each in values], pa.time64("us")).cast(pa.time64("ns"))


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(kind: pa.DataType) -> bool:
    """Return whether this is one of Arrow's text types."""
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Sequence[Any], pa.DataType], Any]], ...] = (
    (types.is_integer, _integers),
    (types.is_floating, _floats),
    (types.is_decimal, _decimals),
    (is_text, _texts),
    (types.is_boolean, _booleans),
    (types.is_date, _dates),
    (types.is_timestamp, _moments),
    (types.is_time, _times),
)
