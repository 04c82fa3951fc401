"""The types of records of plain values by Python's types alone: `pa.array`, which infers any, imports pandas."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import pyarrow as pa

from datapkg.building.readers.batches import described

_LEAVES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
_EXACT = 2**53  # beyond it, a float does not represent every integer
_MOST_LEVELS = 20


def plain_schema(records: list[dict[str, Any]]) -> pa.Schema | None:
    """Return the columns of records of JSON's values, and their types; None if a value needs a closer look.

    Such are integers beyond 64 bits, or beyond 53 beside fractions, and several kinds of values in one column.
    """
    columns = _by_key(records)
    kinds = {name: _kind(values, 1) for name, values in columns.items()}
    if None in kinds.values():
        return None
    nulls = {name: len(records) - sum(value is not None for value in values) for name, values in columns.items()}
    return described(pa.schema(list(kinds.items())), nulls)


def _by_key(records: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each key, in order of first appearance."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for key, value in record.items():
            found.setdefault(key, []).append(value)
    return found


def _kind(values: list[Any], level: int) -> pa.DataType | None:
    """Return the type of all values; None if they have several, or one that is not known here."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.null()
    if kinds == {int, float}:
        is_exact = all(-_EXACT <= value <= _EXACT for value in values if type(value) is int)
        return pa.float64() if is_exact else None
    if len(kinds) > 1 or level > _MOST_LEVELS:
        return None
    (kind,) = kinds
    if kind is int and not all(-(2**63) <= value < 2**63 for value in values if value is not None):
        return None
    if kind is list:
        items = _kind(list(chain.from_iterable(filter(None, values))), level + 1)
        return None if items is None else pa.list_(items)
    if kind is dict:
        fields = {name: _kind(each, level + 1) for name, each in _by_key(filter(None, values)).items()}
        return None if None in fields.values() else pa.struct(list(fields.items()))
    return _LEAVES.get(kind)
