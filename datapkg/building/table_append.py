"""Append rows to a stored table: only the last block is read, and all blocks before it stay unchanged.

Digests of the blocks that are not read come from their footers (`tables/block_metadata`). They are claims of whoever
wrote the objects, even if they match the table's content; so the content of a table that was not written on this
machine is recomputed once. The whole table is read and written again if the digests do not match, or if the rows need
another schema than the stored one: additional categories, a nullable dtype for the first missing values of a column of
integers or booleans, or a nullable field.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from datapkg.building.readers.batches import NULLABLE
from datapkg.building.rows import stored_rows
from datapkg.building.sources.source_errors import translated_errors
from datapkg.building.sources.value import plain_value
from datapkg.building.spec.model import NodeSpec, ValueSource
from datapkg.errors import HashMismatch, InvalidInput
from datapkg.format.manifest.parsed import Block, TableNode
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects
from datapkg.tables.block_metadata import note_in
from datapkg.tables.content_hash import block_digests, column_texts, content_hash
from datapkg.tables.frame_to_arrow import with_nullable_dtypes
from datapkg.tables.pandas_metadata import PANDAS_KEY, observed, pandas_metadata
from datapkg.tables.storage_types import to_storage_types

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from datapkg.tables.table_writer import Head


@dataclass(frozen=True)
class StoredRows:
    """Access to a table's objects: `footers` returns those of blocks, `bring` makes blocks available here.

    `problem` returns how the objects differ from what the manifest states of the table; "" if they do not.
    """

    objects: Objects
    footers: Callable[[Sequence[Block]], list[pq.FileMetaData]]
    bring: Callable[[Sequence[Block]], object]
    problem: Callable[[], str]


def append_rows(node: TableNode, rows: Any, stored: StoredRows) -> TableNode:
    """Return the table with these rows appended; their columns may be in another order; new blocks are stored.

    Raise `InvalidInput` that lists every column that does not match, `TransformFailed` for values that cannot be
    stored, `HashMismatch` for a table whose values differ from its manifest.
    """
    from datapkg.tables.table_writer import write_table

    if isinstance(rows, dict | list | str) or not hasattr(rows, "__arrow_c_stream__"):
        raise InvalidInput(f"rows are a DataFrame or an Arrow table, got {type(rows).__name__}")
    spec = NodeSpec(node.path, ValueSource(rows))
    with translated_errors(spec, None):
        new = to_storage_types(plain_value(rows))
    _check_columns(node, dict(column_texts(new.schema)), new)
    if problem := stored.problem():
        raise false_content(quoted(node.path), problem, node.content)
    with translated_errors(spec, None):
        head, tail = _end(node, stored)
    _check_order(node, tail, new)
    with translated_errors(spec, None):
        joined = joined_rows(tail, new)
        if head is not None and not _has_same_schema(joined, tail):
            head, joined = None, joined_rows(_read(stored, node.blocks), new)
        with stored.objects.batch():
            written = write_table(joined, stored.objects, head=head)
    return msgspec.structs.replace(
        node, content=written.content, blocks=written.blocks, rows=written.rows, columns=written.columns
    )


def false_content(what: str, problem: str, content: str) -> HashMismatch:
    """Return the error for a table whose values differ from its manifest."""
    return HashMismatch(
        f"{what} does not hold the values that its manifest states; nothing was taken over: {problem}",
        hint="datapkg verify --content; whoever published the table has to build and push it again",
        expected=content,
    )


def _end(node: TableNode, stored: StoredRows) -> tuple[Head | None, pa.Table]:
    """Return the blocks that need not be read, and the rows after them.

    Return None and all rows if the blocks before the last have no usable digests.
    """
    from datapkg.tables.block_writer import chosen
    from datapkg.tables.table_writer import Head

    *before, last = node.blocks
    footers = stored.footers(before) if before else []
    notes = [note for each in footers if (note := note_in(each))]
    if not before or len(notes) < len(before):
        return None, _read(stored, node.blocks)
    tail = _read(stored, [last])
    digests = [note.digests for note in notes]
    # The metadata of each block have the end of a range, which the new rows move.
    is_range = any(isinstance(each, dict) for each in observed(tail.schema).get("index", []))
    whole = content_hash(tail.schema, [block.rows for block in node.blocks], [*digests, block_digests(tail)])
    if whole != node.content or is_range:
        return None, _read(stored, node.blocks)
    return Head(before, digests, notes[0].key, chosen(footers[0])), tail


def _read(stored: StoredRows, blocks: Sequence[Block]) -> pa.Table:
    stored.bring(blocks)
    return stored_rows(blocks, stored.objects)


def joined_rows(before: pa.Table, new: pa.Table) -> pa.Table:
    """Return both tables as one, with columns, types and pandas metadata of the first where they fit the second."""
    import pyarrow as pa

    new = new.select(before.column_names)
    dtypes = _needed_dtypes(before, new)
    schema = _common_schema(before, new)
    joined = pa.concat_tables([_cast(before, schema), _cast(new, schema)]).unify_dictionaries()
    joined = with_nullable_dtypes(joined, dtypes) if dtypes else joined
    description = pandas_metadata(before.schema)
    for index in description.get("index_columns") or []:
        if isinstance(index, dict) and index.get("kind") == "range":
            index["stop"] = index["start"] + index["step"] * len(joined)
            others = {**before.schema.metadata, PANDAS_KEY: json.dumps(description).encode()}
            joined = joined.replace_schema_metadata(others)
    return joined


def _needed_dtypes(before: pa.Table, new: pa.Table) -> dict[str, str]:
    """Return, by column, the pandas dtypes needed for missing values of new rows that the table's dtypes cannot hold.

    Other dtypes of the new rows are ignored: those of the table stay.
    """
    description = pandas_metadata(before.schema)
    if not description:
        return {}
    has_dtypes = dict(observed(before.schema).get("dtypes", []))
    # Columns of Python objects, which hold missing booleans as they are; JSON columns also have `object` as pandas
    # type.
    objects = [each for each in description["columns"] if each["numpy_type"] == "object" != each["pandas_type"]]
    has_dtypes |= {each.get("field_name") or each.get("name"): "object" for each in objects}
    given = dict(observed(new.schema).get("dtypes", []))
    is_described = bool(pandas_metadata(new.schema))
    found = {}
    for name, column in zip(new.column_names, new.columns, strict=True):
        if column.null_count and column.type in NULLABLE and name not in has_dtypes:
            found[name] = given.get(name) or ("" if is_described else NULLABLE[column.type])
    return {name: dtype for name, dtype in found.items() if dtype}


def _common_schema(before: pa.Table, new: pa.Table) -> pa.Schema:
    """Return the table's schema, with nullable fields and room for more categories where the new rows need them."""
    import pyarrow as pa
    import pyarrow.types as types

    fields = []
    for field, old, more in zip(before.schema, before.columns, new.columns, strict=True):
        kind = field.type
        if types.is_dictionary(kind) and set(_categories(more)) - set(_categories(old)):
            kind = pa.dictionary(pa.int32(), kind.value_type, kind.ordered)
        fields.append(field.with_type(kind).with_nullable(field.nullable or more.null_count > 0))
    return pa.schema(fields, before.schema.metadata)


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa
    import pyarrow.types as types

    columns = []
    for column, field in zip(table.columns, schema, strict=True):
        if types.is_dictionary(field.type) and column.type != field.type:
            ordered, index = field.type.ordered, field.type.index_type
            parts = [
                pa.DictionaryArray.from_arrays(
                    each.indices.cast(index), each.dictionary.cast(field.type.value_type), ordered=ordered
                )
                for each in column.chunks
            ]
            columns.append(pa.chunked_array(parts, field.type))
        else:
            columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _categories(column: pa.ChunkedArray) -> list[Any]:
    """Return the categories of a column whose chunks share one dictionary."""
    return column.chunk(0).dictionary.to_pylist() if column.num_chunks else []


def _has_same_schema(joined: pa.Table, before: pa.Table) -> bool:
    """Return whether blocks of both can be blocks of one table: equal types, metadata and categories."""
    import pyarrow.types as types

    return joined.schema.equals(before.schema, check_metadata=True) and not any(
        types.is_dictionary(column.type) and len(_categories(column)) > len(_categories(old))
        for column, old in zip(joined.columns, before.columns, strict=True)
    )


def _check_order(node: TableNode, before: pa.Table, new: pa.Table) -> None:
    """Raise `InvalidInput` for ordered categories whose order in the rows differs from that of the table."""
    for name, old in zip(before.column_names, before.columns, strict=True):
        if not getattr(old.type, "ordered", False):
            continue
        ours, theirs = _categories(old), _categories(new[name])
        places = {category: place for place, category in enumerate(dict.fromkeys([*ours, *theirs]))}
        if [*theirs] != sorted(theirs, key=lambda category: places[category]):
            expected, got = (" < ".join(quoted(str(each)) for each in some[:10]) for some in (ours, theirs))
            problem = (name, f"expected ordered categories {expected}, got {got}")
            what = f"the rows do not fit {quoted(node.path)}:\n  {quoted(name)}: {problem[1]}"
            raise InvalidInput(what, problems=[problem])


def _check_columns(node: TableNode, given: dict[str, str], new: pa.Table) -> None:
    expected = dict(node.columns)
    if len(expected) < len(node.columns) or len(given) < new.num_columns:
        raise InvalidInput(f"{quoted(node.path)}: two columns have one name; rows cannot be matched to them")
    problems = [
        (name, f"expected {expected.get(name, 'no such column')}, got {given.get(name, 'no such column')}")
        for name in dict.fromkeys([*expected, *given])
        if expected.get(name) != given.get(name)
    ]
    if problems:
        lines = "".join(f"\n  {quoted(name)}: {what}" for name, what in problems[:20])
        raise InvalidInput(f"the rows do not fit {quoted(node.path)}:{lines}", problems=problems)
