"""The kinds of checks and their arguments: a table, with one small function for each form of argument.

A reader returns the argument as a plain value, or raises `ValueError` with what was expected. Only regular expressions
import pyarrow, so that build files without them parse fast.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datapkg.building.spec.document import Item, scalar_value
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

# datapkg's names of types, each with the prefixes of the column types, as `datapkg show` prints them, that it matches.
TYPES: dict[str, tuple[str, ...]] = {
    "int": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "float": ("half", "float", "double"),
    "number": ("int", "uint", "half", "float", "double", "decimal("),
    "str": ("string",),
    "bool": ("bool",),
    "date": ("date32", "date64"),
    "datetime": ("timestamp[",),
    "time": ("time[",),
    "duration": ("duration[",),
    "decimal": ("decimal(",),
    "category": ("dictionary<",),
    "binary": ("binary", "fixed_size_binary["),
    "list": ("list<", "fixed_size_list<"),
}
_SAME_TYPES = {"integer": "int", "string": "str", "text": "str", "boolean": "bool", "timestamp": "datetime"}
_EXACT = ("double", "half", "timestamp[", "decimal(", "dictionary<", "struct<", "map<", "extension<", "null")
_LONGEST_SQL = 10_000
ORDERS = ("increasing", "decreasing", "strictly increasing", "strictly decreasing")


@dataclass(frozen=True)
class RuleKind:
    """How the argument of a kind is read, and whether the check must name its columns."""

    read: Callable[[Item], Any]
    needs_columns: bool = False


def switch(item: Item) -> bool:
    """Return a boolean; false is the same as no rule."""
    value = _value(item)
    if not isinstance(value, bool):
        raise ValueError(f"expected true, got {_got(item)}")
    return value


def bound(item: Item) -> Any:
    """Return a number, a date, a time of day or text."""
    value = _value(item)
    if value is None or isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"expected a number, a date or text, got {_got(item)}")
    return value


def bounds(item: Item) -> tuple[Any, Any]:
    """Return the lowest and the highest allowed value."""
    if item.kind != "list" or len(item.values) != 2:
        raise ValueError(f"expected [lowest, highest], got {_got(item)}")
    low, high = (bound(each) for each in item.values)
    if _family(low) != _family(high):
        raise ValueError(f"{low} and {high} are of two kinds")
    if _comparable(low) > _comparable(high):
        raise ValueError(f"{low} is above {high}")
    return low, high


def pattern(item: Item) -> str:
    """Return a regular expression in RE2 syntax, which takes linear time on any text."""
    text = _text(item, "a regular expression")
    import pyarrow
    import pyarrow.compute

    try:
        pyarrow.compute.match_substring_regex(pyarrow.array([""]), pattern=text)
    except pyarrow.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise ValueError(f"{quoted(text)} is not a regular expression: {reason}") from None
    return text


def values(item: Item) -> list[Any]:
    """Return the allowed values, all of one kind."""
    if item.kind != "list" or not item.values:
        raise ValueError(f"expected a list of the values that are allowed, got {_got(item)}")
    found = [_value(each) for each in item.values]
    if None in found:
        raise ValueError("a missing value is not one of the values: it always passes, unless `not_null` forbids it")
    kinds = {_family(each): each for each in found}
    if len(kinds) > 1:
        shown_kinds = " and ".join(f"{value!r} ({kind})" for kind, value in kinds.items())
        raise ValueError(f"expected values of one kind, got {shown_kinds}; quote what is text")
    return found


def row_count(item: Item) -> tuple[int, int | None]:
    """Return the minimum and maximum number of rows; a number means both, else {min: …, max: …}."""
    if item.kind == "scalar":
        count = _count(item)
        return count, count
    limits = {key.text: _count(value) for key, value in item.pairs} if item.kind == "mapping" else {}
    if not limits or limits.keys() - {"min", "max"}:
        raise ValueError("expected a number of rows, or {min: …, max: …}")
    fewest, most = limits.get("min", 0), limits.get("max")
    if most is not None and fewest > most:
        raise ValueError(f"{fewest} is above {most}")
    return fewest, most


def order(item: Item) -> str | bool:
    """Return one of `ORDERS`; true means increasing, false is the same as no rule."""
    if item.text in ORDERS:
        return item.text
    value = _value(item) if item.kind == "scalar" else None
    if not isinstance(value, bool):
        raise ValueError(f"expected {', '.join(ORDERS)} or true, got {_got(item)}")
    return ORDERS[0] if value else False


def reference(item: Item) -> str:
    """Return `node.column`, which names a column of a table of this package."""
    text = _text(item, "node.column")
    node, dot, column = text.partition(".")
    if not (node and dot and column):
        raise ValueError(f"expected node.column, got {quoted(text)}")
    return text


def expression(item: Item) -> str:
    """Return an SQL expression that is true for each valid row, or a query that returns invalid rows."""
    text = _text(item, "an SQL expression that each row fulfils, or a query that finds no row")
    if len(text) > _LONGEST_SQL:
        raise ValueError(f"SQL of {len(text):,} characters; at most {_LONGEST_SQL:,} are taken")
    return text.strip()


def function(item: Item) -> str:
    """Return `module:function`, of a module beside the build file."""
    return _text(item, "module:function")


def types(item: Item) -> tuple[str, ...]:
    """Return the allowed types: names of `TYPES`, or types as `datapkg show` prints them."""
    if item.kind == "list" and item.values:
        return tuple(_type(each) for each in item.values)
    return (_type(item),)


KINDS: dict[str, RuleKind] = {
    "not_null": RuleKind(switch),
    "unique": RuleKind(switch, needs_columns=True),
    "type": RuleKind(types),
    "min": RuleKind(bound),
    "max": RuleKind(bound),
    "between": RuleKind(bounds),
    "regex": RuleKind(pattern),
    "isin": RuleKind(values, needs_columns=True),
    "monotonic": RuleKind(order, needs_columns=True),
    "foreign_key": RuleKind(reference, needs_columns=True),
    "row_count": RuleKind(row_count),
    "sql": RuleKind(expression),
    "python": RuleKind(function),
}
ALIASES = {"enum": "isin"}


def _type(item: Item) -> str:
    text = _text(item, "the name of a type")
    name = _SAME_TYPES.get(text, text)
    if name in TYPES or name.startswith((*_EXACT, *(each for starts in TYPES.values() for each in starts))):
        return name
    hint = suggestion(text, (*TYPES, *_SAME_TYPES)) or ";"
    raise ValueError(f"unknown type {quoted(text)}{hint} there are {', '.join(TYPES)}")


def _value(item: Item) -> Any:
    if item.kind != "scalar":
        raise ValueError(f"expected one value, got {_got(item)}")
    return scalar_value(item)


def _count(item: Item) -> int:
    value = _value(item)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a number of rows, got {_got(item)}")
    return value


def _text(item: Item, expected: str) -> str:
    if item.kind != "scalar" or not item.text or item.is_null:
        raise ValueError(f"expected {expected}, got {_got(item)}")
    return item.text


def _got(item: Item) -> str:
    if item.kind != "scalar":
        return f"a {item.kind}" if item.values else f"an empty {item.kind}"
    return "nothing" if item.is_null else quoted(item.text)


def _family(value: Any) -> str:
    """Return number, text, date or boolean: values of the same family are comparable."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "date" if isinstance(value, datetime.date) else "text"


def _comparable(value: Any) -> Any:
    """Return a date as the time at which it begins, and a time with a zone in UTC."""
    if not isinstance(value, datetime.date):
        return value
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    return value if value.tzinfo is None else value.astimezone(datetime.UTC).replace(tzinfo=None)
