"""More rows for a table that is stored: the columns are compared, and the whole is given as one table in memory."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from datapkg.building.nodes import plain_value
from datapkg.building.stored_types import as_stored
from datapkg.errors import InvalidInput
from datapkg.format.content import column_texts
from datapkg.format.frames import observed, restore_categories
from datapkg.format.manifest import TableNode
from datapkg.format.names import shown
from datapkg.objects.base import Readable

if TYPE_CHECKING:
    import pyarrow as pa


def appended(node: TableNode, objects: Readable, rows: Any) -> pa.Table:
    """The table of a node, whose objects must be here, with these rows at its end.

    Columns may come in another order. Raises `InvalidInput` that lists every column that does not fit.
    """
    import pyarrow as pa

    if isinstance(rows, dict | list | str) or not hasattr(rows, "__arrow_c_stream__"):
        raise InvalidInput(f"rows are a DataFrame or an Arrow table, got {type(rows).__name__}")
    before = _stored(node, objects)
    index = observed(before.schema).get("index", [])
    if any(isinstance(each, dict) for each in index):
        raise InvalidInput(f"{shown(node.path)} has a range for an index, which more rows would not go on with")
    new = as_stored(plain_value(rows).unify_dictionaries())
    _check_columns(node, dict(column_texts(new.schema)), new)
    new = new.select(before.column_names).cast(before.schema)
    return pa.concat_tables([before, new]).unify_dictionaries()


def _stored(node: TableNode, objects: Readable) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts: list[pa.Table] = []
    with ExitStack() as stack:
        for block in node.objects_:
            stream = stack.enter_context(objects.open(block.hash))
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            parts.append(restore_categories(file.read(), file.schema_arrow))
    return pa.concat_tables([part.replace_schema_metadata(parts[0].schema.metadata) for part in parts])


def _check_columns(node: TableNode, given: dict[str, str], new: pa.Table) -> None:
    expected = dict(node.columns)
    if len(expected) < len(node.columns) or len(given) < new.num_columns:
        raise InvalidInput(f"{shown(node.path)}: two columns have one name; rows cannot be matched to them")
    problems = [
        (name, f"expected {expected.get(name, 'no such column')}, got {given.get(name, 'no such column')}")
        for name in dict.fromkeys([*expected, *given])
        if expected.get(name) != given.get(name)
    ]
    if problems:
        lines = "".join(f"\n  {shown(name)}: {what}" for name, what in problems[:20])
        raise InvalidInput(f"the rows do not fit {shown(node.path)}:{lines}", problems=problems)
