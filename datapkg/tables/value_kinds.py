"""The kinds of Python values in a column, checked before pyarrow infers a type from them.

pyarrow decides the type of a column by its first values: a date followed by a number becomes a time of 1970, and some
mixtures crash the process. So the kinds of all values are collected first, at every level of lists and dicts. One kind,
or kinds of which one type holds every value exactly (`_TOGETHER`), pass; all others are rejected. The result does not
depend on the order of values. pandas is not imported: its values can only occur if it is loaded already.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types

from datapkg.errors import InvalidInput
from datapkg.tables.arrow_values import is_valid
from datapkg.tables.value_conversions import Change, Level, change_of, is_null_type, zoned_nanoseconds

# The keys (and `ITEM` for lists) that lead from a value of the column to a level below it.
Path = tuple[Any, ...]
ITEM = None

NULL = ""
_ZONED = "with a time zone"
_INFINITE = "infinite Decimal"
_LARGE_INT = "int above 2^53"
_EXACT = 2**53  # beyond it, a float does not represent every integer
# The first match is the kind: numpy.timedelta64 is a subclass of numpy's integers, and NaT of datetime.
_KINDS: tuple[tuple[Any, str], ...] = (
    ((bool, np.bool_), "bool"),
    ((datetime.timedelta, np.timedelta64), "timedelta"),
    ((int, np.integer), "int"),
    ((float, np.float16, np.float32), "float"),
    (Decimal, "Decimal"),
    (str, "str"),
    ((bytes, bytearray, memoryview), "bytes"),
    ((datetime.datetime, np.datetime64), "datetime"),
    (datetime.date, "date"),
    (datetime.time, "time"),
    ((list, tuple, set, np.ndarray), "list"),
    (dict, "dict"),
)
# Kinds of which one type holds all values exactly; integers above 2^53 are a kind of their own beside floats.
_TOGETHER = ({"int", "float"}, {"int", "Decimal"})
# Kinds without a type in Arrow: a zone would be dropped silently.
_REFUSED = {f"time {_ZONED}", _INFINITE}
# Kinds that depend on the value too, and not on its type alone.
_BY_VALUE = {"datetime", "time", "timedelta", "Decimal"}
_WITH_NAN = {"float", "Decimal"}
_DAY_UNITS, _LONG_UNITS = ("D",), ("Y", "M", "W")
_TYPED = {pa.bool_(): "bool", pa.int64(): "int", pa.float64(): "float", pa.string(): "str"}

_known: dict[type, str] = {}


class ValueKinds:
    """The kinds that one column has shown so far.

    `place` names the column in messages, `counted` what the positions of values are called there. Values `of_frame`
    follow pandas: NaN is missing, and integers beyond 64 bits become decimals (text above 38 digits).
    """

    def __init__(self, place: str, *, of_frame: bool, counted: str = "row") -> None:
        self._place, self._of_frame, self._counted = place, of_frame, counted
        self._seen: dict[Path, dict[str, str]] = {}
        self._rows = 0

    def see(self, values: Sequence[Any]) -> Any:
        """Return the values of the next rows in a form from which pyarrow infers one type that holds them exactly.

        They are unchanged if they have that form already, and a pandas array if pyarrow infers no such type. Raise
        `InvalidInput` naming the column, the kinds and the first row of each, if no type holds all values.
        """
        changes: dict[Path, Change] = {}
        new: list[tuple[Path, str]] = []
        try:
            self._visit((), Level(values), values, changes, new)
            found = zoned_nanoseconds(values) if changes.get(()) is zoned_nanoseconds else _changed(values, (), changes)
        except InvalidInput:
            raise
        except (OverflowError, ValueError, TypeError) as error:
            raise InvalidInput(f"{self._place} holds values that no type holds exactly: {error}") from error
        for path, kind in new:
            # The first row of a nested kind is searched for only when a message needs it.
            self._seen[path][kind] = self._range(values) if path else self._where(path, kind, values)
        self._rows += len(values)
        return found

    def see_typed(self, values: pa.Array) -> None:
        """Add the next rows, whose values have a type: of text, booleans, numbers, lists and structs of them."""
        for path, level in _typed_levels((), values):
            if level.null_count == len(level):
                continue
            seen, kind = self._seen.setdefault(path, {}), _kind_of_arrow(level.type)
            if kind not in seen:
                seen[kind] = (
                    self._range(values)
                    if path
                    else f"{self._counted} {self._rows + 1 + int(is_valid(values).argmax())}"
                )
                self._check(path, ())
        self._rows += len(values)

    def missing(self, rows: int) -> None:
        """Count rows in which the column is absent."""
        self._rows += rows

    def _visit(
        self,
        path: Path,
        level: Level,
        column: Sequence[Any],
        changes: dict[Path, Change],
        new: list[tuple[Path, str]],
    ) -> None:
        """Add the kinds of a level and of all below it; `column` is the column that the level belongs to."""
        types = set(map(type, level.values)) | {type(level.sample)}
        seen = self._seen.setdefault(path, {})
        kinds = self._kinds(level, types, seen)
        for kind in kinds - seen.keys():
            seen[kind] = ""
            new.append((path, kind))
        self._check(path, column)
        change = change_of(level, types, kinds, path, self._of_frame)
        if change is not None:
            changes[path] = change
        if "list" in kinds:
            self._visit((*path, ITEM), _items(level.values), column, changes, new)
        if "dict" in kinds:
            for key, values in _by_key(level.values).items():
                self._visit((*path, key), Level(values), column, changes, new)

    def _kinds(self, level: Level, types: set[type], seen: dict[str, str]) -> set[str]:
        kinds = {kind_of_type(each) for each in types} - {NULL}
        by_value = _BY_VALUE | (_WITH_NAN if len(kinds | seen.keys()) > 1 else set())
        if kinds & by_value:
            kinds = set().union(*(self._kinds_of(each, level, kind_of_type(each) in by_value) for each in types)) - {
                NULL
            }
        if {"int", "float"} <= kinds | seen.keys() and any(map(_is_large, level.values)):
            kinds.add(_LARGE_INT)
        return kinds

    def _kinds_of(self, of: type, level: Level, by_value: bool) -> set[str]:
        """Return the kinds of those values of a level that have one type."""
        kind = kind_of_type(of)
        if not by_value or of is datetime.timedelta:
            return {kind}
        values: list[Any] = [value for value in level.values if type(value) is of]
        if issubclass(of, datetime.datetime | datetime.time):
            return {kind if value.tzinfo is None else f"{kind} {_ZONED}" for value in values}
        if kind == "Decimal" and all(value.is_finite() for value in values):
            return {kind}
        return {self._kind(value) for value in ([*values, level.sample] if type(level.sample) is of else values)}

    def _kind(self, value: Any) -> str:
        kind = kind_of_type(type(value))
        if kind in _WITH_NAN:
            is_nan = value.is_nan() if kind == "Decimal" else value != value
            is_infinite = kind == "Decimal" and value.is_infinite()
            return NULL if is_nan and self._of_frame else _INFINITE if is_infinite else kind
        return _kind_of_time(value, kind) if kind in _BY_VALUE else kind

    def _check(self, path: Path, column: Sequence[Any]) -> None:
        kinds = self._seen[path].keys() - ({"int"} if _LARGE_INT in self._seen[path] else set())
        if (len(kinds) <= 1 and not kinds & _REFUSED) or kinds in _TOGETHER:
            return
        found = sorted((kind, self._seen[path][kind] or self._where(path, kind, column)) for kind in kinds)
        what = "values of several types" if len(kinds) > 1 else "values that no type holds exactly"
        listed = ", ".join(f"{kind} ({where})" for kind, where in found)
        level = f", level {_shown(path)}," if path else ""
        raise InvalidInput(f"{self._place}{level} holds {what}: {listed}")

    def _where(self, path: Path, kind: str, column: Sequence[Any]) -> str:
        """Return the first row with a value of this kind, counted from 1."""
        for row, value in enumerate(column, self._rows + 1):
            for each in _below(value, path):
                if self._kind(each) == kind or (kind == _LARGE_INT and _is_large(each)):
                    return f"{self._counted} {row}"
        return self._range(column)

    def _range(self, column: Sequence[Any]) -> str:
        return f"{self._counted}s {self._rows + 1:,} to {self._rows + len(column):,}"


def kind_of_type(of: type) -> str:
    """Return the kind of all values of a type; of a type not in the table, its name, which fits no other."""
    kind = _known.get(of)
    if kind is None:
        named = (kind for types, kind in _KINDS if issubclass(of, types))
        kind = _known[of] = NULL if is_null_type(of) else next(named, of.__name__)
    return kind


def _kind_of_arrow(kind: pa.DataType) -> str:
    """Return the kind of the values of one of the types that `see_typed` takes."""
    if pyarrow.types.is_nested(kind):
        return "list" if pyarrow.types.is_list(kind) else "dict"
    return _TYPED[kind]


def _typed_levels(path: Path, values: pa.Array) -> Iterator[tuple[Path, pa.Array]]:
    """Yield a level and all below it."""
    yield path, values
    if pyarrow.types.is_list(values.type):
        yield from _typed_levels((*path, ITEM), values.flatten())
    elif pyarrow.types.is_struct(values.type):
        for field, below in zip(values.type.fields, values.flatten(), strict=True):
            yield from _typed_levels((*path, field.name), below)


def _kind_of_time(value: Any, kind: str) -> str:
    if isinstance(value, np.datetime64 | np.timedelta64):
        unit = np.datetime_data(value.dtype)[0]
        if np.isnat(value):
            return NULL
        if unit in _LONG_UNITS:
            return f"{type(value).__name__}[{unit}]"
        return "date" if kind == "datetime" and unit in _DAY_UNITS else kind
    return f"{kind} {_ZONED}" if getattr(value, "tzinfo", None) is not None else kind


def _is_large(value: Any) -> bool:
    return kind_of_type(type(value)) == "int" and not -_EXACT <= value <= _EXACT


def _items(values: Iterable[Any]) -> Level:
    """Return the level of the items of lists; a sample stands for arrays of one dtype, since they may be very long."""
    lists = [value for value in values if kind_of_type(type(value)) == "list"]
    dtypes = {each.dtype if isinstance(each, np.ndarray) else None for each in lists}
    if len(dtypes) == 1 and (dtype := dtypes.pop()) is not None and dtype.kind != "O":
        return Level([], np.zeros((), dtype)[()])
    return Level(list(chain.from_iterable(lists)))


def _by_key(values: Iterable[Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for value in values:
        if isinstance(value, dict):
            for key, each in value.items():
                found.setdefault(key, []).append(each)
    return found


def _below(value: Any, path: Path) -> Iterator[Any]:
    """Return the values at a level below one value of the column."""
    if not path:
        yield value
    elif path[0] is ITEM:
        if kind_of_type(type(value)) == "list":
            yield from chain.from_iterable(_below(each, path[1:]) for each in value)
    elif isinstance(value, dict) and path[0] in value:
        yield from _below(value[path[0]], path[1:])


def _changed(values: Sequence[Any], path: Path, changes: dict[Path, Callable[[Any], Any]]) -> Any:
    if not changes:
        return values
    return [_changed_value(value, path, changes) for value in values]


def _changed_value(value: Any, path: Path, changes: dict[Path, Callable[[Any], Any]]) -> Any:
    kind = kind_of_type(type(value))
    if kind == "list":
        return [_changed_value(each, (*path, ITEM), changes) for each in value]
    if kind == "dict":
        return {key: _changed_value(each, (*path, key), changes) for key, each in value.items()}
    change = changes.get(path)
    return value if change is None else change(value)


def _shown(path: Path) -> str:
    """Return a level as a message names it: `[].x` are the values under the key x of dicts in lists."""
    return "".join("[]" if step is ITEM else f".{step}" for step in path)
