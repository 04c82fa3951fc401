"""Hash values to 64-bit words, to find equal values in a whole column with eight bytes per row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.building.checks.columns import CheckedColumn, Unfit
from datapkg.building.checks.comparing import cast, is_text
from datapkg.tables.arrow_values import numbers_of

Words = np.ndarray[Any, np.dtype[np.uint64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
# Up to this number of repeated rows, values with equal hashes are compared themselves.
LOOKED_AT = 1_000


def present(values: pa.Array) -> Rows:
    """Return the positions of the values that are neither null nor NaN."""
    missing = pc.is_null(values, nan_is_null=types.is_floating(values.type))
    return np.flatnonzero(~missing.to_numpy(zero_copy_only=False))


def comparable(values: pa.Array, kind: pa.DataType) -> Rows:
    """Return the positions of the values that are present and exact in another type; others equal none of its values.

    Integers are rounded beyond 2^53 in floats, and unsigned ones become negative beyond 2^63.
    """
    there = present(values)
    if kind == pa.int64() and values.type == pa.uint64():
        return there[numbers_of(values, np.uint64)[there] < 2**63]
    if not types.is_floating(kind) or not types.is_integer(values.type):
        return there
    dtype = np.dtype(values.type.to_pandas_dtype())
    numbers = numbers_of(values, dtype)[there]
    floats = numbers.astype(np.float64)
    is_within = floats < 2.0 ** (dtype.itemsize * 8 - (dtype.kind == "i"))
    return there[is_within & (np.where(is_within, floats, 0).astype(dtype) == numbers)]


def hash_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column's values are cast to before hashing; raise `Unfit` if they cannot be hashed."""
    if types.is_integer(kind) or types.is_boolean(kind):
        return pa.uint64() if kind == pa.uint64() else pa.int64()
    if types.is_floating(kind):
        return pa.float64()
    if is_text(kind) or types.is_decimal(kind):
        return pa.large_string()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.large_binary()
    if types.is_temporal(kind) and not types.is_interval(kind):
        return kind
    raise Unfit(f"values of type {kind} cannot be told apart")


def value_hashes(values: pa.Array, kind: pa.DataType) -> Words:
    """Return one 64-bit word for each value; there must be no missing values.

    Except for text, binary and decimals, different values have different words.
    """
    if types.is_decimal(kind):  # one text for each value of the type
        values, kind = values.cast(kind), pa.large_string()
    if types.is_large_string(kind) or types.is_large_binary(kind):
        import pandas

        return pandas.util.hash_array(cast(values, kind).to_numpy(zero_copy_only=False))
    plain = cast(values, kind)
    if types.is_floating(kind):
        # Adding 0.0 turns -0.0 into 0.0, which is equal but has other bits.
        return (plain.to_numpy() + 0.0).view(np.uint64)
    if kind.bit_width == 32:
        plain = plain.view(pa.int32())
    return cast(plain, pa.int64()).to_numpy().view(np.uint64) if kind != pa.uint64() else plain.to_numpy()


def all_value_hashes(column: CheckedColumn, kind: pa.DataType) -> tuple[Words, Rows]:
    """Return the hashes of all values of a column that are present and exact in this type, and their rows, from 0."""
    found: list[Words] = [np.empty(0, np.uint64)]
    rows: list[Rows] = [np.empty(0, np.int64)]
    first = 0
    for values in column.pieces():
        there = comparable(values, kind)
        found.append(value_hashes(values.take(pa.array(there)), kind))
        rows.append(there + first)
        first += len(values)
    return np.concatenate(found), np.concatenate(rows)


def distinct(found: Words) -> Words:
    """Return the distinct hashes, sorted; ten times as fast as `np.unique` on consecutive numbers."""
    ordered = np.sort(found)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def are_among(found: Words, known: Words) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return for each hash whether it is one of the known hashes, which are sorted."""
    if not len(known):
        return np.zeros(len(found), dtype=np.bool_)
    places = np.minimum(np.searchsorted(known, found), len(known) - 1)
    return np.asarray(known[places] == found)


def repeated_rows(column: CheckedColumn) -> Rows:
    """Return the rows, from 0, whose value occurs in an earlier row too, using about 32 bytes per row."""
    kind = hash_type(column.kind)
    found, rows = all_value_hashes(column, kind)
    # Stable, so that the first row with a value comes first: only the later ones repeat it.
    by_word = np.argsort(found, kind="stable")
    ordered = found[by_word]
    repeats = by_word[1:][ordered[1:] == ordered[:-1]]
    if len(repeats) and len(repeats) <= LOOKED_AT and pa.types.is_large_string(kind):
        return np.array(list(_really_repeated(column, kind, found[repeats])), dtype=np.int64)
    return np.sort(rows[repeats])


def _really_repeated(column: CheckedColumn, kind: pa.DataType, suspicious: Words) -> Iterator[int]:
    seen: set[Any] = set()
    first = 0
    for values in column.pieces():
        there = present(values)
        looked_at = there[np.isin(value_hashes(values.take(pa.array(there)), kind), suspicious)]
        for row, value in zip(looked_at, values.take(pa.array(looked_at)).to_pylist(), strict=True):
            if value in seen:
                yield int(row) + first
            seen.add(value)
        first += len(values)
