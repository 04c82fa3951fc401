"""Conditions on columns of numbers, written such that Arrow compares each value exactly.

Arrow converts both sides to one type: to floats that do not hold large integers, which it then refuses, or to integers,
which refuses fractions. It accepts no literals above 63 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

_INTEGERS = {name: pa.type_for_alias(name) for bits in (8, 16, 32, 64) for name in (f"int{bits}", f"uint{bits}")}
_FLOATS: dict[str, Callable[[float], float]] = {
    "half": lambda value: float(np.float16(value)),
    "float": lambda value: float(np.float32(value)),
    "double": float,
}
# How a limit that is not an integer becomes one, for each operator.
_ROUNDED = {"<": math.ceil, "<=": math.floor, ">": math.floor, ">=": math.ceil}

Term = tuple[str, str, Any]


def exact(term: Term, column_type: str) -> Term:
    """Return a condition that means the same for a column of this type, by its name in the manifest.

    A number is compared with 32-bit floats in their precision, as by numpy: 0.1 is equal to the 0.1 stored there.
    Conditions on other columns, and with other values than numbers, are returned unchanged.
    """
    name, operator, value = term
    if operator in ("in", "not in"):
        return (name, operator, _members(value, column_type)) if isinstance(value, list) else term
    if not _is_number(value) or value != value:
        return term
    value = value.item() if isinstance(value, np.generic) else value
    if column_type in _INTEGERS:
        return _compared(name, "==" if operator == "=" else operator, value, _INTEGERS[column_type])
    if column_type in _FLOATS:
        with np.errstate(over="ignore"):
            found = _floats(value, _FLOATS[column_type])
        return (name, operator, found[0]) if found else term
    return term


def _compared(name: str, operator: str, value: Any, kind: pa.DataType) -> Term:
    """Return the comparison with an integer of the column's type."""
    least, greatest = _range(kind)
    if math.isinf(value):
        limit = greatest + 1 if value > 0 else least - 1
    elif operator in _ROUNDED:
        limit = _ROUNDED[operator](value)
    elif value == int(value):
        limit = int(value)
    else:
        limit = greatest + 1
    if least <= limit <= greatest:
        return name, operator, pa.scalar(limit, kind)
    is_met = operator in ("!=", *(("<", "<=") if limit > greatest else (">", ">=")))
    return name, ">=" if is_met else "<", pa.scalar(least, kind)


def _members(values: list[Any], column_type: str) -> Any:
    """Return the values that a column of this type may have; others are equal to none of its values."""
    is_float = column_type in _FLOATS
    if not (is_float or column_type in _INTEGERS) or not all(each is None or _is_number(each) for each in values):
        return values
    if is_float:
        with np.errstate(over="ignore"):
            return [each for value in values for each in _floats(value, _FLOATS[column_type])]
    kind = _INTEGERS[column_type]
    least, greatest = _range(kind)
    whole = [each if each is None else int(each) for each in values if each is None or _is_whole(each)]
    return pa.array([each for each in whole if each is None or least <= each <= greatest], kind)


def _floats(value: Any, rounded: Callable[[float], float]) -> list[Any]:
    if value is None or isinstance(value, float | np.floating):
        return [value if value is None else rounded(float(value))]
    try:
        found = rounded(float(value))
    except OverflowError:
        return []
    return [found] if found == value else []


def _is_whole(value: Any) -> bool:
    return bool(math.isfinite(value)) and value == int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _range(kind: pa.DataType) -> tuple[int, int]:
    found = np.iinfo(kind.to_pandas_dtype())
    return int(found.min), int(found.max)
