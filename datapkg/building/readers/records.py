"""Records as a stream of a table, in the columns and types of the first ones until a later one shows others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from datapkg.building.readers.batches import described
from datapkg.building.readers.type_inference import TypeInference, array, joined
from datapkg.tables.table_stream import RestartRead, TablePart

Group = list[dict[str, Any]]


class Records:
    """A `TableStream` of groups of records, each group small; `read()` begins at the first one each time.

    Most sources are read once. Where a later record demands other types, or has a column more, the rest is gone through
    for its types, and all is read once again with those of the whole.
    """

    def __init__(self, read: Callable[[], Iterator[Group]]) -> None:
        self._read = read
        seen = _InferredColumns()
        for group in read():
            seen.see(group)
            break
        self.schema: pa.Schema = seen.schema()

    def parts(self) -> Iterator[TablePart]:
        """Yield all rows in order.

        `RestartRead` once the types of all are known, where they are not those of `schema`.
        """
        seen = _InferredColumns()
        groups = self._read()
        for group in groups:
            found = seen.see(group)
            if not seen.fits(self.schema):
                for rest in groups:
                    seen.see(rest)
                break
            yield TablePart(self._table(group, found))
        settled = seen.schema()
        if settled != self.schema or settled.metadata != self.schema.metadata:
            self.schema = settled
            raise RestartRead

    def _table(self, group: Group, found: dict[str, pa.Array]) -> pa.Table:
        columns = []
        for field in self.schema:
            here = found.get(field.name)
            if here is None or here.type != field.type:
                here = array(field.name, [record.get(field.name) for record in group], field.type)
            columns.append(here)
        return pa.Table.from_arrays(columns, schema=self.schema)


class _InferredColumns:
    """What the records so far have shown."""

    def __init__(self) -> None:
        self.columns: dict[str, TypeInference] = {}
        self.rows = 0

    def see(self, group: Group) -> dict[str, pa.Array]:
        """Take in records; return their columns, each in the type that it alone has."""
        for name in dict.fromkeys(name for record in group for name in record):
            if name not in self.columns:
                self.columns[name] = TypeInference(name)
                self.columns[name].missing(self.rows)
        self.rows += len(group)
        return {name: each.see([record.get(name) for record in group]) for name, each in self.columns.items()}

    def schema(self) -> pa.Schema:
        """Return the columns, in the order in which they came, with the dtypes that pandas needs for their nulls."""
        fields = [(name, each.type) for name, each in self.columns.items()]
        return described(pa.schema(fields), {name: each.nulls for name, each in self.columns.items()})

    def fits(self, schema: pa.Schema) -> bool:
        """Return whether these columns fit this schema: each type is the same as there, or not known yet."""
        known = {field.name: field.type for field in schema}
        return all(
            name in known and (each.type == known[name] or _is_within(each, known[name]))
            for name, each in self.columns.items()
        )


def _is_within(column: TypeInference, kind: pa.DataType) -> bool:
    """Return whether what a column has shown so far is part of this type: the values convert to it."""
    try:
        return joined(column.type, kind, column.lowest) == kind
    except TypeError:
        return False
