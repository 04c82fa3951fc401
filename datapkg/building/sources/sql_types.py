"""Infer the types of a query's columns: from PostgreSQL's type numbers, else from the values."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.types as types

from datapkg.building.readers.type_inference import TypeInference, array, decimal_type
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted

_MOMENT = pa.timestamp("us", "UTC")
# PostgreSQL's built-in type OIDs, which are the same on every server.
_POSTGRESQL: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    26: pa.int64(),
    25: pa.string(),
    18: pa.string(),
    19: pa.string(),
    1042: pa.string(),
    1043: pa.string(),
    114: pa.string(),
    3802: pa.string(),
    2950: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: _MOMENT,
    1186: pa.duration("us"),
}
_NUMERIC, _JSON = 1700, (114, 3802)  # type numbers of PostgreSQL: numeric; json, jsonb
_DIGITS_OF_64_BITS = 20  # of 2^64


@dataclass
class QueryColumn:
    """A column of a query result: its declared type, if known, and the types of its values so far."""

    name: str
    known: pa.DataType | None
    is_json: bool
    found: TypeInference

    @classmethod
    def of(cls, described: Sequence[Any]) -> QueryColumn:
        """Return a column from a cursor's description (PEP 249)."""
        name = str(described[0])
        # psycopg reports PostgreSQL's type numbers; those of other drivers have no common meaning.
        number = described[1] if type(described).__module__.startswith("psycopg") else None
        known = _POSTGRESQL.get(number) if isinstance(number, int) else None
        precision, scale = described[4], described[5]
        if (
            number == _NUMERIC
            and isinstance(precision, int)
            and isinstance(scale, int)
            and 0 <= scale <= precision <= 76
        ):
            known = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        return cls(name, known, number in _JSON, TypeInference(name))

    @property
    def type(self) -> pa.DataType:
        """Return the type that fits all values."""
        return self.known or self.found.type

    @property
    def nulls(self) -> int:
        """Return the number of nulls so far."""
        return self.found.nulls

    def see(self, values: Sequence[Any]) -> pa.Array:
        """Add the next values; return them as Arrow, for `settled`."""
        plain = [_as_json(each) for each in values] if self.is_json else _plain(self.name, values)
        if self.known is None:
            try:
                return self.found.see(plain)
            except InvalidInput as error:
                hint = f"write in the query: CAST({self.name} AS text)"
                raise InvalidInput(str(error), hint=hint, column=self.name) from error
        found = array(self.name, plain, self.known)
        self.found.take(found)
        return found

    def settled(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return an array from `see`, cast to the type that fits all values."""
        if types.is_integer(column.type) and types.is_decimal(self.type):
            # Arrow casts an integer only to a decimal that can hold every value of the integer type.
            column = column.cast(decimal_type(_DIGITS_OF_64_BITS, self.type.scale))
        return column if column.type == self.type else column.cast(self.type)


def _as_json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _plain(name: str, values: Sequence[Any]) -> Sequence[Any]:
    """Return values that Arrow supports, each converted by its own type, independent of the values before it."""
    kinds = set(map(type, values))
    if decimal.Decimal in kinds:
        _check_finite(name, values)
    if kinds <= _AS_THEY_ARE:
        return values
    converters = {kind: _converter(kind) for kind in kinds}
    return [converters[type(each)](each) for each in values]


def _converter(kind: type) -> Callable[[Any], Any]:
    if kind in _AS_THEY_ARE:
        return lambda value: value
    return next((convert for types_, convert in _CONVERSIONS if issubclass(kind, types_)), str)


def _check_finite(name: str, values: Sequence[Any]) -> None:
    odd = next((each for each in values if isinstance(each, decimal.Decimal) and not each.is_finite()), None)
    if odd is not None:
        hint = f"write in the query: CAST({name} AS double precision)"
        raise InvalidInput(f"column {quoted(name)} holds {odd}, which a decimal cannot be", hint=hint, column=name)


def _moment(value: Any) -> Any:
    """Return a time with a zone in UTC, and one without unchanged."""
    return value if value.tzinfo is None else value.astimezone(datetime.UTC)


_AS_THEY_ARE = {type(None), bool, int, float, str, bytes, decimal.Decimal, datetime.date, datetime.timedelta}
_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (datetime.datetime, _moment),  # before `date`, of which it is a subclass
    (datetime.date, lambda value: value),
    (datetime.time, lambda value: value.isoformat() if value.tzinfo else value),
    ((bytearray, memoryview), bytes),
    (dict, _as_json),
    ((list, tuple), list),
)
