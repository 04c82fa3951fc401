"""Read the Parquet objects of a table as Arrow: only the columns and rows that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

from datapkg.errors import DatapkgError, exhausted
from datapkg.objects.threads import ThreadPool
from datapkg.reading.tables import arrow_cache, block_access, page_selection, row_filters, row_selection
from datapkg.reading.tables.nan_rows import nan_cases
from datapkg.reading.tables.row_filters import Filters
from datapkg.reading.tables.row_selection import BlockRows
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.tables.block_reader import with_long_text
from datapkg.tables.column_assembler import ColumnAssembler
from datapkg.tables.pandas_metadata import forgotten_categories, pandas_metadata, restore_categories, with_columns

# Converting the text of a shorter table is faster than reading its footer twice.
_LONG = 65_536


@dataclass(frozen=True)
class Question:
    """What is asked of a table: columns in their order (None: all), a condition on rows; and the whole schema.

    `long_text` is that of `ask`. The answer to an `own` question shares no memory with a cached copy.
    """

    table: StoredTable
    schema: pa.Schema
    columns: list[str] | None = None
    condition: Any = None
    long_text: bool = False
    own: bool = False

    def needed(self) -> list[str] | None:
        """Return the columns that have to be read, those of the condition included; None for all."""
        if self.columns is None or self.condition is None:
            return self.columns
        return list(dict.fromkeys([*self.columns, *row_filters.columns_of(self.condition, self.schema)]))


def ask(
    table: StoredTable,
    columns: Sequence[str] | None = None,
    filters: Filters = None,
    *,
    index: bool = False,
    long_text: bool = False,
    own: bool = False,
) -> Question:
    """Return a question that is known to be valid: raise `NodeNotFound` for a column, `InvalidInput` for filters.

    With `index`, the columns in which pandas kept an index are read too; with `long_text`, text may have the 64-bit
    offsets that pandas uses, whatever it was stored with; with `own`, the answer shares no memory with a cached copy.
    """
    named = None if columns is None else row_filters.known(table, columns)
    filters = row_filters.plain(table, filters)
    condition = row_filters.condition(table, filters)
    whole = _first_schema(table)
    row_filters.check_types(table, filters, whole)
    if named is not None and index:
        named += [name for name in index_columns(whole) if name not in named]
    return Question(table, whole, named, condition, long_text, own)


def read(question: Question, picks: row_selection.Picks | None = None) -> pa.Table:
    """Return what was asked for: columns in the order asked, and the rows (all, or `picks`) that pass the filters.

    A result without rows has the categories of the whole table. Raise `InvalidInput` for filters that do not fit,
    `ObjectNotFound`, `CorruptObject`.
    """
    found = _read(question, picks)
    return found if len(found) or not question.table.node.rows else _with_categories(question, found)


def _read(question: Question, picks: row_selection.Picks | None) -> pa.Table:
    if (copy := from_copy(question, picks)) is not None:
        return copy
    try:
        return restore_categories(_answer(question, row_selection.parts(question.table.node, picks)), question.schema)
    except DatapkgError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise unreadable(question, error) from error


def _with_categories(question: Question, empty: pa.Table) -> pa.Table:
    """Return a result without rows, with those categories that are only in the pages of their column.

    Each block that datapkg wrote has all of them; an object that is a whole table may have others in each row group.
    """
    kept = forgotten_categories(question.schema)
    lost = [field.name for field in empty.schema if types.is_dictionary(field.type) and field.name not in kept]
    if not lost:
        return empty
    columns = list(dict.fromkeys(lost))
    is_alone = len(question.table.node.blocks) == 1
    some = _read(
        replace(question, columns=columns, condition=None), None if is_alone else range(1)
    ).unify_dictionaries()
    found = {}
    for name in columns:
        places = zip(empty.schema.get_all_field_indices(name), some.schema.get_all_field_indices(name), strict=True)
        for at, there in places:
            found[at] = pa.chunked_array([some.column(there).chunk(0)[:0]])
    return with_columns(empty, found)


def sliced(question: Question, wanted: slice | None) -> pa.Table:
    """Return what was asked for, of the rows of a slice and in its direction.

    Raise `InvalidInput` for anything but a slice.
    """
    picks, is_reverse = row_selection.chosen(question.table.node, wanted)
    found = read(question, picks)
    return found.take(pa.array(range(len(found))[::-1], pa.int64())) if is_reverse else found


def from_copy(question: Question, picks: row_selection.Picks | None = None) -> pa.Table | None:
    """Return the answer from a cached copy; None if there is none."""
    if question.condition is not None and forgotten_categories(question.schema):
        return None  # conditions are about the stored positions, not about their categories
    found = arrow_cache.find(question.table)
    if found is None:
        return None
    found = only(found, question.needed())
    if picks is not None:
        found = row_selection.taken(found, picks, is_mapped=True)
    try:
        if question.condition is not None:
            return only(found.filter(question.condition), question.columns)
        return arrow_cache.copied(found) if question.own else found
    except DatapkgError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise unreadable(question, error) from error


def schema(table: StoredTable) -> pa.Schema:
    """Return the Arrow schema of a table as it is read, from the footer of its first object."""
    found = _first_schema(table)
    return restore_categories(found.empty_table()).schema if forgotten_categories(found) else found


def _first_schema(table: StoredTable) -> pa.Schema:
    """Return the schema as stored; of a table that is not on this machine, that of a cached copy if it is the same."""
    if table.source.is_lazy and not table.source.through.has(table.node.blocks[0].hash):
        copy = arrow_cache.find(table)
        if copy is not None and not any(pa.types.is_dictionary(kind) for kind in copy.schema.types):
            return copy.schema
    (buffer,) = block_access.buffers(table, block_access.FIRST, [])
    found = block_access.opened(table, 0, buffer).schema_arrow
    block_access.check_columns(table, found)
    return found


def footers(table: StoredTable) -> Iterator[pq.FileMetaData]:
    """Yield the footer of each object; no values are read."""
    parts = [BlockRows(number, ()) for number in range(len(table.node.blocks))]
    for part, buffer in zip(parts, block_access.buffers(table, parts, []), strict=True):
        yield block_access.opened(table, part.number, buffer).metadata


def index_columns(schema: pa.Schema) -> list[str]:
    """Return the columns in which pandas kept an index, by pandas' metadata."""
    described = pandas_metadata(schema).get("index_columns")
    described = described if isinstance(described, list) else []
    names = set(schema.names) if described else set()
    return [each for each in described if isinstance(each, str) and each in names]


def unreadable(question: Question, error: Exception) -> Exception:
    """Return datapkg's error for one of Arrow's.

    The reason is a resource that ran out, filters that do not fit, or corruption.
    """
    if question.condition is not None and exhausted(error) is None:
        return row_filters.unfit(question.table, question.condition, error)
    return block_access.unreadable(question.table, error)


def _answer(question: Question, parts: list[BlockRows]) -> pa.Table:
    needed = question.needed()
    is_all = all(part.rows is None for part in parts)
    is_odd = _is_odd(question.schema)
    is_each = question.condition is None or len(parts) <= 1 or not is_all or is_odd
    # A dataset would leave out rows with NaN by statistics that say nothing of them.
    is_each = is_each or nan_cases(question.condition, question.schema) != []
    wanted = None if is_odd else question.condition
    buffers = block_access.buffers(question.table, parts, needed, wanted, by_page=is_each)
    if is_each:
        return _read_each(question, parts, buffers, needed)
    found = block_access.dataset(question.table, parts, buffers)
    return found.to_table(columns=question.columns, filter=question.condition)


def _is_odd(schema: pa.Schema) -> bool:
    """Return whether names alone do not identify a column: some are duplicates, or look like a path."""
    return len(set(schema.names)) < len(schema.names) or any("." in name for name in schema.names)


def _read_each(
    question: Question, parts: list[BlockRows], buffers: list[pa.Buffer], needed: list[str] | None
) -> pa.Table:
    """Read every object by itself, in parallel: that costs a quarter of what a dataset takes to open a file."""
    found = _together(question, parts, buffers, needed)
    if question.condition is not None:
        found = found.filter(question.condition)
    return only(found, question.columns)


def only(found: pa.Table, columns: list[str] | None) -> pa.Table:
    """Return these columns in this order, with all columns that share a name."""
    names = found.column_names
    if columns is None or names == columns:
        return found
    places: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        places.setdefault(name, []).append(at)
    return found.select([at for name in columns for at in places.get(name, ())])


def _together(
    question: Question, parts: list[BlockRows], buffers: list[pa.Buffer], needed: list[str] | None
) -> pa.Table:
    """Return the wanted rows of all objects, columns in the order in which they are stored."""
    table, whole = question.table, question.schema
    is_wide = False
    if question.long_text and buffers and table.node.rows >= _LONG and (wide := with_long_text(buffers[0], whole)):
        whole, is_wide = wide, True
    wanted = None if needed is None else set(needed)
    names = whole.names if wanted is None else [name for name in whole.names if name in wanted]
    schema = whole if needed is None else pa.schema([whole.field(at) for at in _places(whole, names)], whole.metadata)

    def one(at: int, use_threads: bool) -> pa.Table:
        file = block_access.opened(table, parts[at].number, buffers[at], is_wide)
        block_access.check_types(table, file.schema_arrow, whole)
        kept = None if needed is None else names
        part = _rows_of(question, file, parts[at], buffers[at], kept, use_threads=use_threads, long_text=is_wide)
        # The footer's own metadata, such as the note of a block, are not the table's.
        part = part.replace_schema_metadata(file.schema_arrow.metadata)
        return part if len(part.schema) == len(schema) else part.select(_places(part.schema, names))

    if len(parts) < 2:
        return one(0, True) if parts else schema.empty_table()
    if question.condition is not None:  # it is not known how many rows pass
        return pa.concat_tables([one(at, True) for at in range(len(parts))])
    joint = ColumnAssembler(schema, [row_selection.count(table.node, part) for part in parts])
    with ThreadPool(min(pa.cpu_count(), len(parts))) as pool:
        for call in [pool.submit(lambda at: joint.add(at, one(at, False)), at) for at in range(len(parts))]:
            call.result()
    return joint.table()


def _rows_of(
    question: Question,
    file: pq.ParquetFile,
    part: BlockRows,
    buffer: pa.Buffer,
    names: list[str] | None,
    *,
    use_threads: bool,
    long_text: bool,
) -> pa.Table:
    """Return the wanted rows of an object, of those that its statistics exclude by the condition none."""
    condition = question.condition
    if (plan := page_selection.plan(buffer, part.rows, names, condition)) is not None:
        return page_selection.read(buffer, plan, checked=question.table.source.is_lazy, long_text=long_text)
    groups = row_selection.groups_with(buffer, condition, question.schema)
    return row_selection.read(file, part.rows, names, use_threads, groups)


def _places(schema: pa.Schema, names: list[str]) -> list[int]:
    wanted = set(names)
    return [at for at, name in enumerate(schema.names) if name in wanted]
