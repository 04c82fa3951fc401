"""The kwarg `text` of formats whose values are bytes: the columns that hold UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

if TYPE_CHECKING:
    import pyarrow as pa

TEXT = "text"


def text_columns(kwargs: dict[str, Any]) -> list[str]:
    """Return the names that `text` lists; raise `InvalidInput` for anything but a list of names."""
    names = kwargs.get(TEXT, [])
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise InvalidInput(f"`{TEXT}` is a list of columns, got {names!r}", hint=f"kwargs: {{{TEXT}: [label]}}")
    return names


def as_text(table: pa.Table, names: list[str]) -> pa.Table:
    """Return the table with these columns of bytes, or of lists of bytes, as text; raise `InvalidInput`."""
    import pyarrow as pa
    from pyarrow import types

    for name in names:
        if name not in table.column_names:
            hint = suggestion(name, table.column_names) or f"; there are {', '.join(map(quoted, table.column_names))}"
            raise InvalidInput(f"`{TEXT}` names column {quoted(name)}, which is not there{hint}")
        at, kind = table.column_names.index(name), table.schema.field(name).type
        is_list = types.is_list(kind)
        if not types.is_binary(kind.value_type if is_list else kind):
            raise InvalidInput(f"`{TEXT}` names column {quoted(name)}, whose values are {kind} and not bytes")
        try:
            column = table[name].cast(pa.list_(pa.string()) if is_list else pa.string())
        except pa.ArrowInvalid as error:
            message = f"column {quoted(name)} has values that are not UTF-8; leave it out of `{TEXT}`"
            raise InvalidInput(message) from error
        table = table.set_column(at, name, column)
    return table
