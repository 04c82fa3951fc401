"""The rules about column values: a table with one small function for each kind of check.

For its argument and a column, a function returns a test, which is called with the column's values piece by piece, in
order, and returns for each row whether it violates the rule. Missing values (null, NaN) violate only `not_null`. A
function raises `Unfit` if the rule does not apply to such a column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.building.checks.columns import CheckedColumn, Unfit
from datapkg.building.checks.comparing import WIDEST_DECIMAL, beside, cast, is_text, plainly
from datapkg.building.checks.value_hashes import (
    all_value_hashes,
    are_among,
    comparable,
    distinct,
    hash_type,
    present,
    repeated_rows,
    value_hashes,
)
from datapkg.format.texts import listed, quoted

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Test = Callable[[Any], Mask]


@dataclass(frozen=True)
class Rule:
    """`make(argument, column)` returns the test; `describe(argument)` ends the sentence "3 of 150 rows are …"."""

    make: Callable[[Any, CheckedColumn], Test]
    describe: Callable[[Any], str]


def not_null(_: Any, column: CheckedColumn) -> Test:
    """Return a test for missing values."""
    return lambda values: _mask(pc.is_null(values, nan_is_null=types.is_floating(values.type)))


def unique(_: Any, column: CheckedColumn) -> Test:
    """Return a test for repeated values; the column is read once before, using eight bytes for each value."""
    return _Repeats(repeated_rows(column))


class _Repeats:
    def __init__(self, rows: Any) -> None:
        self.rows, self.first = rows, 0

    def __call__(self, values: Any) -> Mask:
        start, stop = np.searchsorted(self.rows, [self.first, self.first + len(values)])
        mask = np.zeros(len(values), dtype=np.bool_)
        mask[self.rows[start:stop] - self.first] = True
        self.first += len(values)
        return mask


def minimum(argument: Any, column: CheckedColumn) -> Test:
    """Return a test for values below a limit."""
    return _compared(argument, column, pc.less)


def maximum(argument: Any, column: CheckedColumn) -> Test:
    """Return a test for values above a limit."""
    return _compared(argument, column, pc.greater)


def between(argument: Any, column: CheckedColumn) -> Test:
    """Return a test for values outside of two limits."""
    low, high = minimum(argument[0], column), maximum(argument[1], column)
    return lambda values: low(values) | high(values)


def _compared(argument: Any, column: CheckedColumn, wrong: Callable[[Any, Any], Any]) -> Test:
    limit = beside([argument], column.kind)
    return lambda values: _mask(wrong(cast(values, limit.type), limit[0]))


def regex(argument: str, column: CheckedColumn) -> Test:
    """Return a test for text that a regular expression does not match completely."""
    if not is_text(column.kind):
        raise Unfit(f"a regular expression is for text, and this is {column.type_text}")
    whole = rf"\A(?:{argument})\z"  # RE2's form of Python's `\Z`
    return lambda values: _mask(pc.invert(pc.match_substring_regex(cast(values, pa.large_string()), pattern=whole)))


def isin(argument: list[Any], column: CheckedColumn) -> Test:
    """Return a test for values that are not in a list."""
    allowed = _one_zero(beside(argument, column.kind))

    def test(values: Any) -> Mask:
        mask = np.zeros(len(values), dtype=np.bool_)
        there = present(values)
        known = pc.is_in(_one_zero(cast(values.take(pa.array(there)), allowed.type)), value_set=allowed)
        mask[there] = ~known.to_numpy(zero_copy_only=False)
        return mask

    return test


def _one_zero(values: pa.Array) -> pa.Array:
    """Return the values with 0.0 for -0.0, which is equal, but another value for Arrow's `is_in`."""
    return pc.add(values, pa.scalar(0, values.type)) if types.is_floating(values.type) else values


def monotonic(argument: str, column: CheckedColumn) -> Test:
    """Return a test for values that are out of order relative to the value before."""
    kind = pa.float32() if types.is_float16(column.kind) else column.kind  # Arrow cannot compare half floats
    wrong = _OUT_OF_ORDER[argument][0]
    try:
        wrong(pa.array([], kind), pa.array([], kind))
    except pa.ArrowNotImplementedError:
        raise Unfit(f"values of type {column.type_text} have no order") from None
    return _InOrder(kind, wrong)


class _InOrder:
    def __init__(self, kind: pa.DataType, wrong: Callable[[Any, Any], Any]) -> None:
        self.last, self.wrong = pa.array([], kind), wrong

    def __call__(self, values: Any) -> Mask:
        mask = np.zeros(len(values), dtype=np.bool_)
        there = present(values)
        run = pa.concat_arrays([self.last, cast(values.take(pa.array(there)), self.last.type)])
        if len(run) > 1:
            mask[there[len(there) - len(run) + 1 :]] = _mask(self.wrong(run[1:], run[:-1]))
        self.last = run[-1:] if len(run) else run
        return mask


def foreign_key(argument: str, column: CheckedColumn) -> Test:
    """Return a test for values that the other column lacks; it is read once before, eight bytes per distinct value."""
    other = column.tables.column(argument)
    kind = _common(column, other)
    known = distinct(all_value_hashes(other, kind)[0])

    def test(values: Any) -> Mask:
        there = present(values)
        mask = np.zeros(len(values), dtype=np.bool_)
        mask[there] = True
        there = comparable(values, kind)
        mask[there] = ~are_among(value_hashes(values.take(pa.array(there)), kind), known)
        return mask

    return test


def _common(one: CheckedColumn, other: CheckedColumn) -> pa.DataType:
    kinds = {hash_type(one.kind), hash_type(other.kind)}
    if types.is_decimal(one.kind) and types.is_decimal(other.kind):
        scale = max(one.kind.scale, other.kind.scale)
        if max(each.kind.precision - each.kind.scale for each in (one, other)) + scale <= WIDEST_DECIMAL:
            return pa.decimal256(WIDEST_DECIMAL, scale)
    elif len(kinds) == 1 and not types.is_decimal(one.kind) and not types.is_decimal(other.kind):
        return kinds.pop()
    if all(types.is_integer(each) or types.is_floating(each) for each in (one.kind, other.kind)):
        return pa.float64() if pa.float64() in kinds else pa.int64()
    raise Unfit(
        f"{one.type_text} cannot be compared with {other.type_text}, the type of {other.node.path}.{other.name}"
    )


def _mask(found: Any) -> Mask:
    """Return an Arrow boolean array as numpy's; null, the result of comparing missing values, counts as valid."""
    mask: Mask = pc.fill_null(found, False).to_numpy(zero_copy_only=False)
    return mask


_OUT_OF_ORDER: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "increasing": (pc.less, "below the value before"),
    "decreasing": (pc.greater, "above the value before"),
    "strictly increasing": (pc.less_equal, "not above the value before"),
    "strictly decreasing": (pc.greater_equal, "not below the value before"),
}

RULES: dict[str, Rule] = {
    "not_null": Rule(not_null, lambda _: "missing"),
    "unique": Rule(unique, lambda _: "equal to an earlier one"),
    "min": Rule(minimum, lambda limit: f"below {plainly(limit)}"),
    "max": Rule(maximum, lambda limit: f"above {plainly(limit)}"),
    "between": Rule(between, lambda limits: f"not between {plainly(limits[0])} and {plainly(limits[1])}"),
    "regex": Rule(regex, lambda pattern: f"no match of {quoted(pattern)}"),
    "isin": Rule(isin, lambda allowed: f"none of {_few(allowed)}"),
    "monotonic": Rule(monotonic, lambda order: _OUT_OF_ORDER[order][1]),
    "foreign_key": Rule(foreign_key, lambda reference: f"not in {reference}"),
}


def _few(values: list[Any]) -> str:
    return listed(values, 10, plainly)
