"""Which columns of a columnar file are taken: the kwarg that its transforms share."""

from __future__ import annotations

from typing import Any

from datapkg.building.nearest import nearest
from datapkg.errors import InvalidInput
from datapkg.format.names import shown


def chosen_columns(table: Any, kwargs: dict[str, Any]) -> Any:
    """The table with the columns that `columns` lists, in that order; all of them if it is not said."""
    wanted = kwargs.get("columns")
    if wanted is None:
        return table
    if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
        raise InvalidInput("`columns` is a list of names of columns")
    for name in wanted:
        if name not in table.column_names:
            near = nearest(name, table.column_names)
            raise InvalidInput(f"there is no column {shown(name)}" + (f"; did you mean {shown(near)}?" if near else ""))
    return table.select(wanted)
