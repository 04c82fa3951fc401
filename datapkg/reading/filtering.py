"""What may be asked of a table's columns and rows: names that it has, and conditions that rows meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datapkg.errors import InvalidInput, NodeNotFound
from datapkg.format.manifest import TableNode
from datapkg.format.names import shown
from datapkg.reading.source import Source, advice

Filters: TypeAlias = Any
"""A list of (column, operator, value), which all hold; a list of such lists, one of which holds; or an Expression."""


def known(source: Source, table: TableNode, columns: Sequence[str]) -> list[str]:
    """The names of columns, each once; raises `NodeNotFound` for one that the table has not."""
    if isinstance(columns, str):
        raise InvalidInput(f"columns is a list of names; for one column write [{shown(columns)}]")
    if not isinstance(columns, Iterable):
        raise InvalidInput(f"columns is a list of names, got {shown(columns)}")
    names = {name for name, _ in table.columns}
    for name in columns:
        if name not in names:
            raise no_column(source, table, name)
    return list(dict.fromkeys(columns))


def no_column(source: Source, table: TableNode, name: object) -> NodeNotFound:
    """The error for a column that a table has not; it names others."""
    near = advice(str(name), [each for each, _ in table.columns])
    return NodeNotFound(f"{source.ref.package}/{table.path} has no column {shown(name)}{near}")


def condition(source: Source, table: TableNode, filters: Filters) -> pc.Expression | None:
    """Filters as an expression of pyarrow; raises `NodeNotFound`, `InvalidInput`."""
    if filters is None or isinstance(filters, pc.Expression):
        return filters
    try:
        if not filters:
            return None
        known(source, table, [name for name, _, _ in _flat(filters)])
        return pq.filters_to_expression(filters)
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        is_one = isinstance(filters, tuple) and len(filters) == 3 and isinstance(filters[0], str)
        hint = f"filters=[{filters!r:.200}]" if is_one else 'filters=[("column", ">", 1)]'
        message = f"filters is a list of (column, operator, value), got {shown(filters)}; write: {hint}"
        raise InvalidInput(message, hint=hint) from error


def _flat(filters: Any) -> Iterator[Any]:
    for each in filters:
        if isinstance(each, list):
            yield from each
        else:
            yield each


def columns_of(condition: pc.Expression, schema: pa.Schema) -> list[str]:
    """The names of the columns that an expression looks at.

    Expressions do not tell; but one that cannot be had without a column needs it. One that counts columns needs all.
    """
    text = str(condition)
    if "FieldPath(" in text:
        return list(schema.names)
    empty = schema.remove_metadata().empty_table()
    maybe = (name for name in dict.fromkeys(schema.names) if name in text or not name.isidentifier())
    return [name for name in maybe if not _holds_without(name, condition, empty)]


def _holds_without(name: str, condition: pc.Expression, empty: pa.Table) -> bool:
    kept = [at for at, each in enumerate(empty.column_names) if each != name]
    try:
        empty.select(kept).filter(condition)
    except (pa.ArrowException, KeyError):
        return False
    return True


def unfit(source: Source, table: TableNode, condition: pc.Expression, error: Exception) -> InvalidInput:
    """The error for a condition that does not go with the types of its columns."""
    return InvalidInput(
        f"{source.ref.package}/{table.path}: the filters {shown(condition)} do not fit its columns: {error}"
    )
