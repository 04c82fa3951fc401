"""Stream records as a table, with the columns and types of the first records until a later one differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import chain
from operator import itemgetter
from typing import Any

import pyarrow as pa

from datapkg.building.readers.batches import BATCH_ROWS, described
from datapkg.building.readers.type_inference import TypeInference, array, joined
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.tables.table_stream import RestartRead, TablePart

Group = list[dict[str, Any]]
# The number of a record (or of its line), the length of its text, and its value.
Numbered = tuple[int, int, Any]
# The text of the records that become a batch.
_GROUP_BYTES = 32 << 20


class Records:
    """A `TableStream` of groups of records, each group small; each call of `read()` starts at the first.

    Most sources are read once. If a later record needs other types or has another column, the rest is read for its
    types only, and everything is read again with the types of the whole.
    """

    def __init__(
        self, read: Callable[[], Iterator[Group]], quick: Callable[[Group], pa.Schema | None] = lambda group: None
    ) -> None:
        """`quick` returns the schema of a group, or None; it saves the import of pandas, which inference needs."""
        self._read = read
        self.schema: pa.Schema = next((quick(group) or inferred(group) for group in read()), None) or inferred([])

    def parts(self) -> Iterator[TablePart]:
        """Yield all rows in order; raise `RestartRead` at the end if their types differ from `schema`."""
        seen = _InferredColumns()
        with closing(self._pieces()) as pieces:
            for piece in pieces:
                found = seen.see(piece)
                if not seen.fits(self.schema):
                    for rest in pieces:
                        seen.see(rest)
                    break
                yield TablePart(self._table(piece, found))
        settled = seen.schema()
        if settled != self.schema or settled.metadata != self.schema.metadata:
            self.schema = settled
            raise RestartRead

    def check(self) -> None:
        """Read all records for their types alone, which raises `InvalidInput` if a column has none."""
        seen = _InferredColumns()
        for group in self._read():
            seen.see(group)

    def _pieces(self) -> Generator[Group | pa.Table, None, None]:
        """Yield all records in order; those that a table holds are in the types of `schema`, in one chunk."""
        yield from self._read()

    def _table(self, group: Group | pa.Table, found: dict[str, pa.Array]) -> pa.Table:
        columns = []
        for field in self.schema:
            here = found.get(field.name)
            if not isinstance(group, pa.Table) and (here is None or here.type != field.type):
                here = array(field.name, [record.get(field.name) for record in group], field.type)
            columns.append(here)
        return pa.Table.from_arrays(columns, schema=self.schema)


def inferred(group: Group) -> pa.Schema:
    """Return the columns of a group and their types; raise `InvalidInput` if a column has none."""
    seen = _InferredColumns()
    if group:
        seen.see(group)
    return seen.schema()


class _InferredColumns:
    """The columns and types of the records so far."""

    def __init__(self) -> None:
        self.columns: dict[str, TypeInference] = {}
        self.rows = 0

    def see(self, group: Group | pa.Table) -> dict[str, pa.Array]:
        """Add records; return their columns, each in the type of these records alone, or of the table they are in."""
        names = group.column_names if isinstance(group, pa.Table) else dict.fromkeys(chain.from_iterable(group))
        for name in names:
            if name not in self.columns:
                self.columns[name] = TypeInference(name)
                self.columns[name].missing(self.rows)
        self.rows += len(group)
        if isinstance(group, pa.Table):
            return {name: self.columns[name].see_typed(group.column(name).chunk(0)) for name in group.column_names}
        values = _values(group, list(self.columns))
        return {name: each.see(here) for (name, each), here in zip(self.columns.items(), values, strict=True)}

    def schema(self) -> pa.Schema:
        """Return the columns in order of first appearance, with the dtypes that pandas needs for their nulls."""
        fields = [(name, each.type) for name, each in self.columns.items()]
        return described(pa.schema(fields), {name: each.nulls for name, each in self.columns.items()})

    def fits(self, schema: pa.Schema) -> bool:
        """Return whether these columns fit this schema: each type is equal, or part of the schema's type."""
        known = {field.name: field.type for field in schema}
        return all(
            name in known and (each.type == known[name] or _is_within(each, known[name]))
            for name, each in self.columns.items()
        )


def _values(group: Group, names: list[str]) -> list[Sequence[Any]]:
    """Return the values of each column, None where a record lacks it."""
    try:
        return [list(map(itemgetter(name), group)) for name in names]
    except KeyError:
        pass
    return [[record.get(name) for record in group] for name in names]


def _is_within(column: TypeInference, kind: pa.DataType) -> bool:
    """Return whether the values of a column so far convert to this type."""
    try:
        return joined(column.type, kind, column.lowest) == kind
    except TypeError:
        return False


def record_groups(numbered: Iterator[Numbered], what: str) -> Iterator[Group]:
    """Yield records in groups that fit easily in memory."""
    records: Group = []
    size = 0
    for number, length, record in numbered:
        if not isinstance(record, dict):
            raise InvalidInput(f"{what} {number} is not a record {{…}}: {quoted(json.dumps(record))}")
        records.append(record)
        size += length
        if len(records) == BATCH_ROWS or size > _GROUP_BYTES:
            yield records
            records, size = [], 0
    if records:
        yield records
