"""Infer the types of columns from Python values, over all rows as they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.tables.value_kinds import ValueKinds

_EXACT = 2**53  # beyond it, a float does not represent every integer
_TOO_BIG = "integers beyond 64 bits, or some above 2^63 and some below 0, for which there is no type"
_DIGITS = 76  # the most digits of Arrow's decimal256
# Deeper types take time and memory quadratic in their depth in everything that handles them.
MAX_DEPTH = 100


class TypeInference:
    """The inferred type of one column, which all its values so far have in common, and the number of missing values."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.type: pa.DataType = pa.null()
        self.nulls = 0
        self.lowest = self._highest = 0
        self._kinds = ValueKinds(f"column {quoted(name)}", of_frame=False)

    def see(self, values: Sequence[Any]) -> pa.Array:
        """Add the values of the next rows; return them as Arrow, in the type of these values alone.

        Raise `InvalidInput` with the column, the kinds and their rows if values have no common type.
        """
        try:
            plain = self._kinds.see(values)
        except InvalidInput as error:
            raise InvalidInput(str(error), column=self.name) from error
        found = array(self.name, plain)
        if _depth(found.type) > MAX_DEPTH:
            what = f"values nested in more than {MAX_DEPTH} levels"
            raise InvalidInput(f"column {quoted(self.name)} holds {what}", column=self.name)
        self.take(found)
        return found

    def take(self, found: pa.Array) -> None:
        """Add values that already have a type."""
        if types.is_integer(found.type):
            low, high = _range(found)
            self.lowest, self._highest = min(self.lowest, low), max(self._highest, high)
        try:
            self.type = joined(*self._beside_decimals(found), self.lowest)
        except TypeError as error:
            raise InvalidInput(f"column {quoted(self.name)} holds {error}", column=self.name) from None
        self.nulls += found.null_count
        biggest = max(self._highest, -self.lowest)
        if types.is_floating(self.type) and biggest > _EXACT:
            what = f"fractions beside the integer {biggest}, which a float does not hold exactly"
            raise InvalidInput(f"column {quoted(self.name)} holds {what}", column=self.name)

    def _beside_decimals(self, found: pa.Array) -> tuple[pa.DataType, pa.DataType]:
        """Return the two types to join; beside decimals, integers are decimals of as many digits as they have."""
        kinds = (self.type, found.type)
        if not any(map(types.is_decimal, kinds)):
            return kinds
        digits = decimal_type(len(str(max(self._highest, -self.lowest))), 0)
        return (digits if types.is_integer(kinds[0]) else kinds[0], digits if types.is_integer(kinds[1]) else kinds[1])

    def see_typed(self, found: pa.Array) -> pa.Array:
        """Add the values of the next rows, which have a type already; return them."""
        self._kinds.see_typed(found)
        self.take(found)
        return found

    def missing(self, rows: int) -> None:
        """Add rows that do not have this column."""
        self.nulls += rows
        self._kinds.missing(rows)


def _depth(kind: pa.DataType) -> int:
    """Return the nesting depth of a type, counted without recursion."""
    depth, level = 0, [kind]
    while level and depth <= MAX_DEPTH:
        depth, level = depth + 1, [each.field(at).type for each in level for at in range(each.num_fields)]
    return depth


def _range(integers: pa.Array) -> tuple[int, int]:
    import pyarrow.compute as pc

    found = pc.min_max(integers)
    return found["min"].as_py() or 0, found["max"].as_py() or 0


def array(name: str, values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Return Python values as Arrow; raise `InvalidInput` with the column's name if they have no common type."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        whole = _unsigned(values)
        if whole is not None and kind is None:
            return whole
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        several = f"values of several types: {', '.join(kinds)}" if len(kinds) > 1 and kinds != ["float", "int"] else ""
        what = _TOO_BIG if kinds == ["int"] else several or " ".join(str(error).split())
        raise InvalidInput(f"column {quoted(name)} holds {what}", column=name) from error


def _unsigned(values: Iterable[Any]) -> pa.Array | None:
    """Return non-negative integers below 2^64 as uint64, which pyarrow does not infer; None for other values."""
    if not all(value is None or (type(value) is int and 0 <= value < 2**64) for value in values):
        return None
    return pa.array(values, pa.uint64())


def joined(one: pa.DataType, other: pa.DataType, lowest: int = -1) -> pa.DataType:
    """Return the type of a column that holds values of both; raise `TypeError` if there is none.

    `lowest` is a lower bound of the integers among them.
    """
    if {one, other} == {pa.int64(), pa.uint64()} and lowest >= 0:
        return pa.uint64()
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    for fits, join in _JOINS:
        if fits(one) and fits(other):
            return join(one, other)
    raise TypeError(f"values of several types: {', '.join(sorted((plain(one), plain(other))))}")


def _numbers(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if types.is_floating(one) or types.is_floating(other):
        return pa.float64()
    raise TypeError(_TOO_BIG)


def _decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    return decimal_type(max(one.precision - one.scale, other.precision - other.scale), max(one.scale, other.scale))


def decimal_type(whole: int, places: int) -> pa.DataType:
    """Return decimals with these digits before and after the point; raise `TypeError` beyond Arrow's limit."""
    if whole + places > _DIGITS:
        raise TypeError(f"decimals of more than {_DIGITS} digits")
    return (
        pa.decimal128(max(whole + places, 1), places) if whole + places <= 38 else pa.decimal256(whole + places, places)
    )


def _structs(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    fields = {one.field(at).name: one.field(at).type for at in range(one.num_fields)}
    for at in range(other.num_fields):
        field = other.field(at)
        fields[field.name] = joined(fields.get(field.name, pa.null()), field.type)
    return pa.struct(fields)


def _lists(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    return pa.list_(joined(one.value_type, other.value_type))


def _is_number(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind))


_JOINS = ((_is_number, _numbers), (types.is_decimal, _decimals), (types.is_struct, _structs), (types.is_list, _lists))


def plain(kind: pa.DataType) -> str:
    """Return the name of a type for messages, by Python's type names where possible."""
    names = {pa.int64(): "int", pa.uint64(): "int", pa.float64(): "float", pa.string(): "str", pa.bool_(): "bool"}
    return names.get(kind) or ("dict" if types.is_struct(kind) else "list" if types.is_list(kind) else str(kind))
