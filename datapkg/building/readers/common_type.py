"""Find the common type of two Arrow types, which holds the values of both exactly."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as types

from datapkg.building.readers.type_inference import decimal_type
from datapkg.tables.type_names import is_list

_UNITS = ("s", "ms", "us", "ns")


def widened(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the type of a column that holds values of both types; raise `TypeError` with both names if there is none.

    Integers with floats become float64; the caller must check that each value is exact. Times take the finer unit,
    decimals the digits of both, text and binary the longer offsets.
    """
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    for fits, join in _JOINS:
        if fits(one) and fits(other) and (joined := join(one, other)) is not None:
            return joined
    raise TypeError(f"{one} in one and {other} in the other")


def _integers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if types.is_signed_integer(one) == types.is_signed_integer(other):
        return max(one, other, key=lambda each: each.bit_width)
    unsigned, signed = sorted((one, other), key=types.is_signed_integer)
    bits = max(signed.bit_width, 2 * unsigned.bit_width)
    # None for uint64: no integer type has its values and negative ones.
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)


def _numbers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if types.is_floating(one) and types.is_floating(other):
        return max(one, other, key=lambda each: each.bit_width)
    return None if types.is_integer(one) and types.is_integer(other) else pa.float64()


def _decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    return decimal_type(max(one.precision - one.scale, other.precision - other.scale), max(one.scale, other.scale))


def _timestamps(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    return pa.timestamp(_finer(one, other), one.tz) if one.tz == other.tz else None


def _durations(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    return pa.duration(_finer(one, other))


def _finer(one: pa.DataType, other: pa.DataType) -> str:
    return max(one.unit, other.unit, key=_UNITS.index)


def _texts(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    return pa.large_string()


def _binaries(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    return pa.large_binary()


def _lists(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    return pa.large_list(widened(one.value_type, other.value_type))


def _structs(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    names = [[field.name for field in kind.fields] for kind in (one, other)]
    if names[0] != names[1]:
        return None
    return pa.struct([(name, widened(one.field(at).type, other.field(at).type)) for at, name in enumerate(names[0])])


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind))


_JOINS = (
    (types.is_integer, _integers),
    (_is_number, _numbers),
    (types.is_decimal, _decimals),
    (types.is_timestamp, _timestamps),
    (types.is_duration, _durations),
    (_is_text, _texts),
    (_is_binary, _binaries),
    (is_list, _lists),
    (types.is_struct, _structs),
)
