"""Select columns of a columnar file by the kwarg `columns`, which its transforms share."""

from __future__ import annotations

from typing import Any

from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted


def chosen_columns(table: Any, kwargs: dict[str, Any]) -> Any:
    """Return the table with the columns that `columns` lists, in that order; all columns without it."""
    wanted = _wanted(table.column_names, kwargs)
    return table if wanted is None else table.select(wanted)


def chosen_schema(schema: Any, kwargs: dict[str, Any]) -> Any:
    """Return the schema of `chosen_columns` for a table of this schema."""
    wanted = _wanted(schema.names, kwargs)
    if wanted is None:
        return schema
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in wanted], schema.metadata)


def _wanted(names: list[str], kwargs: dict[str, Any]) -> list[str] | None:
    """Return the columns that `columns` lists; raise `InvalidInput` for an unknown name."""
    wanted = kwargs.get("columns")
    if wanted is None:
        return None
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise InvalidInput("`columns` is a list of names of columns")
    for name in wanted:
        if name not in names:
            raise InvalidInput(f"there is no column {quoted(name)}{suggestion(name, names)}")
    return wanted
