"""From the Parquet objects of a table to Arrow: only the columns and rows asked for, checked against the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datapkg.errors import CorruptObject, InvalidInput, NodeNotFound
from datapkg.format.frames import pandas_metadata, restore_categories
from datapkg.format.manifest import Block, TableNode
from datapkg.format.names import shown
from datapkg.reading.joining import Joint
from datapkg.reading.long_text import open_plainly, open_with_long_text, with_long_text
from datapkg.reading.source import Source, advice

# A shorter table is not worth a second look at its schema.
_LONG = 65_536

Filters = Any
"""A list of (column, operator, value), which all hold; a list of such lists, one of which holds; or an Expression."""


def read(
    source: Source, table: TableNode, columns: Sequence[str] | None = None, filters: Filters = None, index: bool = False
) -> pa.Table:
    """A table, or some columns of it in the order asked, and the rows that pass the filters.

    With `index`, it is for pandas: the columns in which that kept an index come too, and text may have long offsets, as
    pandas has it. Raises `NodeNotFound` for a column that is not
    there, `InvalidInput` for filters that cannot be, `ObjectNotFound`, `CorruptObject`.
    """
    chosen = None if columns is None else _known(source, table, columns)
    condition = _condition(source, table, filters)
    buffers = [_buffer(source, table, block) for block in table.objects_]
    schema = _schema(source, table, buffers[0])
    if chosen is not None and index:
        chosen += [name for name in index_columns(schema) if name not in chosen]
    try:
        if condition is None or len(buffers) == 1 or _is_odd(schema):
            found = _read_each(source, table, buffers, chosen, condition, index)
        else:
            found = _scan(source, table, buffers, chosen, condition)
        return restore_categories(found, schema)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(source, table, error, filters) from error


def schema(source: Source, table: TableNode) -> pa.Schema:
    """The Arrow schema of a table, from the end of its first object."""
    return _schema(source, table, _buffer(source, table, table.objects_[0]))


def footers(source: Source, table: TableNode) -> Iterator[pq.FileMetaData]:
    """What the end of each object says of its columns; no values are read."""
    for block in table.objects_:
        yield _file(source, table, block, _buffer(source, table, block)).metadata


def head(source: Source, table: TableNode, rows: int) -> pa.Table:
    """The first rows of a table; no more is decoded than a page or two of each column."""
    parts: list[pa.Table] = []
    missing = rows
    for block in table.objects_:
        file = _file(source, table, block, _buffer(source, table, block))
        try:
            batch = next(file.iter_batches(batch_size=max(missing, 1)), None)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(source, table, error) from error
        part = pa.Table.from_batches([batch] if batch else [], file.schema_arrow)
        parts.append(part.slice(0, missing))
        missing -= len(parts[-1])
        if missing <= 0:
            break
    return restore_categories(pa.concat_tables(parts))


def index_columns(schema: pa.Schema) -> list[str]:
    """The columns in which pandas kept an index, as its metadata say."""
    described = pandas_metadata(schema).get("index_columns")
    described = described if isinstance(described, list) else []
    return [each for each in described if isinstance(each, str) and each in schema.names]


def no_column(source: Source, table: TableNode, name: object) -> NodeNotFound:
    """The error for a column that a table has not; it names others."""
    near = advice(str(name), [each for each, _ in table.columns])
    return NodeNotFound(f"{source.ref.package}/{table.path} has no column {shown(name)}{near}")


def _known(source: Source, table: TableNode, columns: Sequence[str]) -> list[str]:
    if isinstance(columns, str):
        raise InvalidInput(f"columns is a list of names; for one column write [{shown(columns)}]")
    names = {name for name, _ in table.columns}
    for name in columns:
        if name not in names:
            raise no_column(source, table, name)
    return list(dict.fromkeys(columns))


def _condition(source: Source, table: TableNode, filters: Filters) -> Any:
    if filters is None or isinstance(filters, pc.Expression):
        return filters
    try:
        if not filters:
            return None
        _known(source, table, [name for name, _, _ in _flat(filters)])
        return pq.filters_to_expression(filters)
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"filters is a list of (column, operator, value), got {shown(filters)}: {error}") from error


def _flat(filters: Any) -> Iterator[Any]:
    for each in filters:
        if isinstance(each, list):
            yield from each
        else:
            yield each


def _buffer(source: Source, table: TableNode, block: Block) -> pa.Buffer:
    """An object mapped into memory, its bytes being right."""
    with source.explained(table.path):
        place = source.store.objects.trusted(block.hash)
    with pa.memory_map(str(place.path)) as mapped:
        mapped.seek(place.offset)
        return mapped.read_buffer(place.size)


def _schema(source: Source, table: TableNode, buffer: pa.Buffer) -> pa.Schema:
    return _file(source, table, table.objects_[0], buffer).schema_arrow


def _file(source: Source, table: TableNode, block: Block, buffer: pa.Buffer) -> pq.ParquetFile:
    return _opened(source, table, block, buffer, open_plainly)


def _file_with_long_text(source: Source, table: TableNode, block: Block, buffer: pa.Buffer) -> pq.ParquetFile:
    return _opened(source, table, block, buffer, open_with_long_text)


def _opened(
    source: Source, table: TableNode, block: Block, buffer: pa.Buffer, opener: Callable[[pa.Buffer], pq.ParquetFile]
) -> pq.ParquetFile:
    try:
        file = opener(buffer)
        rows, names = file.metadata.num_rows, file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(source, table, error) from error
    _check(source, table, block, rows, names)
    return file


def _check(source: Source, table: TableNode, block: Block, rows: int, names: list[str]) -> None:
    said = [name for name, _ in table.columns]
    if rows != block.rows or names != said:
        place = f"{source.ref.package}/{table.path}: object sha256:{block.hash[:12]}…"
        raise CorruptObject(
            f"{place} has {rows:,} rows of {shown(names)}, but the manifest says {block.rows:,} rows of {shown(said)}",
            hash=block.hash,
        )


def _is_odd(schema: pa.Schema) -> bool:
    """Whether names alone do not say which column is meant: some are twice there, or look like a path."""
    return len(set(schema.names)) < len(schema.names) or any("." in name for name in schema.names)


def _read_each(
    source: Source,
    table: TableNode,
    buffers: list[pa.Buffer],
    columns: list[str] | None,
    condition: Any,
    for_pandas: bool,
) -> pa.Table:
    """Every object read by itself, side by side: that costs a quarter of what a dataset takes to begin a file."""
    whole = _parts(source, table, buffers, columns if condition is None else None, for_pandas)
    if condition is not None:
        whole = whole.filter(condition)
    if columns is None or whole.column_names == columns:
        return whole
    names = whole.column_names
    return whole.select([at for name in columns for at, each in enumerate(names) if each == name])


def _parts(
    source: Source, table: TableNode, buffers: list[pa.Buffer], columns: list[str] | None, for_pandas: bool
) -> pa.Table:
    """The rows of all objects."""
    whole = _schema(source, table, buffers[0])
    open_file = _file
    if for_pandas and table.rows >= _LONG and (wide := with_long_text(buffers[0], whole)) is not None:
        whole, open_file = wide, _file_with_long_text
    columns = None if _is_odd(whole) else columns
    if len(buffers) == 1:
        return open_file(source, table, table.objects_[0], buffers[0]).read(columns)
    schema = whole
    if columns is not None:
        schema = pa.schema([each for each in whole if each.name in set(columns)], whole.metadata)
        columns = schema.names
    joint = Joint(schema, [block.rows for block in table.objects_])

    def add(number: int) -> None:
        file = open_file(source, table, table.objects_[number], buffers[number])
        if not file.schema_arrow.equals(whole):
            raise CorruptObject(f"{source.ref.package}/{table.path}: its objects differ in the types of their columns")
        joint.add(number, file.read(columns, use_threads=False))

    with ThreadPoolExecutor(min(pa.cpu_count(), len(buffers)), "datapkg-read") as pool:
        for _ in pool.map(add, range(len(buffers))):
            pass  # what a thread raises is raised here
    return joint.table()


def _scan(
    source: Source, table: TableNode, buffers: list[pa.Buffer], columns: list[str] | None, condition: Any
) -> pa.Table:
    """The rows of many objects that pass the filters, in order; what cannot have any is not read."""
    import pyarrow.dataset as ds

    form = ds.ParquetFileFormat()
    fragments = [form.make_fragment(buffer) for buffer in buffers]
    first = fragments[0].physical_schema
    for block, fragment in zip(table.objects_, fragments, strict=True):
        _check(source, table, block, fragment.metadata.num_rows, fragment.physical_schema.names)
        if not fragment.physical_schema.equals(first):
            raise CorruptObject(f"{source.ref.package}/{table.path}: its objects differ in the types of their columns")
    return ds.FileSystemDataset(fragments, first, form).to_table(columns=columns, filter=condition)


def _unreadable(
    source: Source, table: TableNode, error: Exception, filters: Filters = None
) -> CorruptObject | InvalidInput:
    place = f"{source.ref.package}/{table.path}"
    if filters is not None:
        return InvalidInput(f"{place}: the filters {shown(filters)} do not fit its columns: {error}")
    return CorruptObject(f"{place} cannot be read as Parquet: {error}", path=table.path)
