"""Which columns of a columnar file are taken: the kwarg that its transforms share."""

from __future__ import annotations

from typing import Any

from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted


def chosen_columns(table: Any, kwargs: dict[str, Any]) -> Any:
    """Return the table with the columns that `columns` lists, in that order; all of them if it is not said."""
    wanted = _wanted(table.column_names, kwargs)
    return table if wanted is None else table.select(wanted)


def chosen_schema(schema: Any, kwargs: dict[str, Any]) -> Any:
    """Return the schema that `chosen_columns` gives to a table of this one."""
    wanted = _wanted(schema.names, kwargs)
    if wanted is None:
        return schema
    import pyarrow as pa

    return pa.schema([schema.field(name) for name in wanted], schema.metadata)


def _wanted(names: list[str], kwargs: dict[str, Any]) -> list[str] | None:
    """Return the columns that `columns` lists; raise `InvalidInput` for a name that is not there."""
    wanted = kwargs.get("columns")
    if wanted is None:
        return None
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise InvalidInput("`columns` is a list of names of columns")
    for name in wanted:
        if name not in names:
            raise InvalidInput(f"there is no column {quoted(name)}{suggestion(name, names)}")
    return wanted
