"""From the Parquet objects of a table to Arrow: only the columns and rows asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datapkg.format.frames import pandas_metadata, restore_categories
from datapkg.format.manifest import TableNode
from datapkg.reading import filtering, opening, rows
from datapkg.reading.filtering import Filters
from datapkg.reading.joining import Joint
from datapkg.reading.long_text import with_long_text
from datapkg.reading.opening import Part
from datapkg.reading.source import Source

# A shorter table is not worth a second look at its schema.
_LONG = 65_536


@dataclass(frozen=True)
class Question:
    """What is asked of a table: columns in their order (None: all), a condition of rows; and its whole schema."""

    source: Source
    table: TableNode
    schema: pa.Schema
    columns: list[str] | None = None
    condition: Any = None
    for_pandas: bool = False

    def needed(self) -> list[str] | None:
        """The columns that have to be read: those of the condition too; None for all."""
        if self.columns is None or self.condition is None:
            return self.columns
        return list(dict.fromkeys([*self.columns, *filtering.columns_of(self.condition, self.schema)]))


def ask(
    source: Source, table: TableNode, columns: Sequence[str] | None, filters: Filters, index: bool = False
) -> Question:
    """A question with all that can be wrong in it found out; see `read`."""
    named = None if columns is None else filtering.known(source, table, columns)
    condition = filtering.condition(source, table, filters)
    whole = schema(source, table)
    if named is not None and index:
        named += [name for name in index_columns(whole) if name not in named]
    return Question(source, table, whole, named, condition, index)


def read(
    source: Source,
    table: TableNode,
    columns: Sequence[str] | None = None,
    filters: Filters = None,
    *,
    picks: rows.Picks | None = None,
    index: bool = False,
) -> pa.Table:
    """A table, or some columns of it in the order asked, and of some of its rows (all, or `picks`) those that pass.

    With `index`, it is for pandas: the columns in which that kept an index come too, and text may have long offsets, as
    pandas has it. Raises `NodeNotFound` for a column that is not there, `InvalidInput` for filters that cannot be,
    `ObjectNotFound`, `CorruptObject`.
    """
    question = ask(source, table, columns, filters, index)
    try:
        return restore_categories(_answer(question, rows.parts(table, picks)), question.schema)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(question, error) from error


def schema(source: Source, table: TableNode) -> pa.Schema:
    """The Arrow schema of a table, from the end of its first object."""
    (buffer,) = opening.buffers(source, table, opening.FIRST, [])
    return opening.opened(source, table, 0, buffer).schema_arrow


def footers(source: Source, table: TableNode) -> Iterator[pq.FileMetaData]:
    """What the end of each object says of its columns; no values are read."""
    parts = rows.parts(table, None)
    for part, buffer in zip(parts, opening.buffers(source, table, parts, []), strict=True):
        yield opening.opened(source, table, part.number, buffer).metadata


def index_columns(schema: pa.Schema) -> list[str]:
    """The columns in which pandas kept an index, as its metadata say."""
    described = pandas_metadata(schema).get("index_columns")
    described = described if isinstance(described, list) else []
    return [each for each in described if isinstance(each, str) and each in schema.names]


def unreadable(question: Question, error: Exception) -> Exception:
    """The error of ours for one of Arrow's: filters that do not fit, or else damage."""
    if question.condition is not None:
        return filtering.unfit(question.source, question.table, question.condition, error)
    return opening.unreadable(question.source, question.table, error)


def _answer(question: Question, parts: list[Part]) -> pa.Table:
    needed = question.needed()
    is_all = all(part.rows is None for part in parts)
    if question.condition is None or len(parts) <= 1 or not is_all or _is_odd(question.schema):
        buffers = opening.buffers(question.source, question.table, parts, needed)
        return _read_each(question, parts, buffers, needed)
    buffers = opening.buffers(question.source, question.table, parts, needed, question.condition)
    found = opening.dataset(question.source, question.table, parts, buffers)
    return found.to_table(columns=question.columns, filter=question.condition)


def _is_odd(schema: pa.Schema) -> bool:
    """Whether names alone do not say which column is meant: some are twice there, or look like a path."""
    return len(set(schema.names)) < len(schema.names) or any("." in name for name in schema.names)


def _read_each(question: Question, parts: list[Part], buffers: list[pa.Buffer], needed: list[str] | None) -> pa.Table:
    """Every object read by itself, side by side: that costs a quarter of what a dataset takes to begin a file."""
    found = _together(question, parts, buffers, needed)
    if question.condition is not None:
        found = found.filter(question.condition)
    return only(found, question.columns)


def only(found: pa.Table, columns: list[str] | None) -> pa.Table:
    """These columns in this order; all that share a name."""
    names = found.column_names
    if columns is None or names == columns:
        return found
    return found.select([at for name in columns for at, each in enumerate(names) if each == name])


def _together(question: Question, parts: list[Part], buffers: list[pa.Buffer], needed: list[str] | None) -> pa.Table:
    """The wanted rows of all objects, columns in the order in which they are stored."""
    source, table, whole = question.source, question.table, question.schema
    is_wide = False
    if question.for_pandas and buffers and table.rows >= _LONG and (wide := with_long_text(buffers[0], whole)):
        whole, is_wide = wide, True
    names = whole.names if needed is None else [name for name in whole.names if name in set(needed)]
    schema = whole if needed is None else pa.schema([whole.field(at) for at in _places(whole, names)], whole.metadata)

    def one(at: int, use_threads: bool) -> pa.Table:
        file = opening.opened(source, table, parts[at].number, buffers[at], is_wide)
        opening.check_types(source, table, file.schema_arrow, whole)
        part = rows.read(file, parts[at].rows, None if needed is None else names, use_threads)
        return part if len(part.schema) == len(schema) else part.select(_places(part.schema, names))

    if len(parts) < 2:
        return one(0, True) if parts else schema.empty_table()
    joint = Joint(schema, [rows.count(table, part) for part in parts])
    with ThreadPoolExecutor(min(pa.cpu_count(), len(parts)), "datapkg-read") as pool:
        for _ in pool.map(lambda at: joint.add(at, one(at, False)), range(len(parts))):
            pass  # what a thread raises is raised here
    return joint.table()


def _places(schema: pa.Schema, names: list[str]) -> list[int]:
    wanted = set(names)
    return [at for at, name in enumerate(schema.names) if name in wanted]
