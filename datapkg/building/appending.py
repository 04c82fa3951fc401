"""More rows for a table that is stored: the last block is read, all before it stays as it is.

Digests of the blocks that are not read come from their footers (`format/block_notes`). They prove nothing by
themselves, even if they come to the table's content, since whoever wrote the objects wrote them too; so the content of
a table that was not written here is recomputed once. Where the digests do not come to it, or the rows have categories
that the table has not, the whole table is read and written again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from datapkg.building.explained import explained
from datapkg.building.nodes import plain_value
from datapkg.building.rows import stored_rows
from datapkg.building.spec import NodeSpec, ValueSource
from datapkg.building.stored_types import as_stored
from datapkg.errors import HashMismatch, InvalidInput
from datapkg.format.block_notes import note_in
from datapkg.format.content import block_digests, column_texts, content_hash
from datapkg.format.frames import PANDAS_KEY, observed, pandas_metadata
from datapkg.format.manifest import Block, TableNode
from datapkg.format.names import shown
from datapkg.objects.base import Objects

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from datapkg.building.tables import Head


@dataclass(frozen=True)
class Stored:
    """A table's objects where they are: `footers` are those of blocks, `bring` sees to it that blocks are here.

    `problem` says how the objects differ from what the manifest states of a table; "" if they do not.
    """

    objects: Objects
    footers: Callable[[Sequence[Block]], list[pq.FileMetaData]]
    bring: Callable[[Sequence[Block]], object]
    problem: Callable[[], str]


def appended(node: TableNode, rows: Any, stored: Stored) -> TableNode:
    """The table with these rows at its end, whose columns may come in another order; new blocks are stored.

    Raises `InvalidInput` that lists every column that does not fit, `TransformFailed` for what cannot be stored,
    `HashMismatch` for a table that holds other values than its manifest states.
    """
    from datapkg.building.tables import write_table

    if isinstance(rows, dict | list | str) or not hasattr(rows, "__arrow_c_stream__"):
        raise InvalidInput(f"rows are a DataFrame or an Arrow table, got {type(rows).__name__}")
    spec = NodeSpec(node.path, ValueSource(rows))
    with explained(spec, None):
        new = as_stored(plain_value(rows).unify_dictionaries())
    _check_columns(node, dict(column_texts(new.schema)), new)
    if problem := stored.problem():
        raise false_content(shown(node.path), problem, node.content)
    with explained(spec, None):
        head, tail = _end(node, stored)
        joined = _joined(tail, new)
        if head is not None and _has_more_categories(joined, tail):
            head, joined = None, _joined(_read(stored, node.objects_), new)
        with stored.objects.batch():
            written = write_table(joined, stored.objects, head=head)
    return msgspec.structs.replace(
        node, content=written.content, objects_=written.blocks, rows=written.rows, columns=written.columns
    )


def false_content(what: str, problem: str, content: str) -> HashMismatch:
    """Return the error for a table that holds other values than its manifest states."""
    return HashMismatch(
        f"{what} does not hold the values that its manifest states; nothing was taken over: {problem}",
        hint="datapkg verify --content; whoever published the table has to build and push it again",
        expected=content,
    )


def _end(node: TableNode, stored: Stored) -> tuple[Head | None, pa.Table]:
    """The blocks that need not be read, and the rows after them; none and all of them where that cannot be told."""
    from datapkg.building.parquet_writer import chosen
    from datapkg.building.tables import Head

    *before, last = node.objects_
    footers = stored.footers(before) if before else []
    notes = [note for each in footers if (note := note_in(each))]
    if not before or len(notes) < len(before):
        return None, _read(stored, node.objects_)
    tail = _read(stored, [last])
    digests = [note.digests for note in notes]
    is_range = any(isinstance(each, dict) for each in observed(tail.schema).get("index", []))
    whole = content_hash(tail.schema, [block.rows for block in node.objects_], [*digests, block_digests(tail)])
    if whole != node.content or is_range:
        return None, _read(stored, node.objects_)
    return Head(before, digests, notes[0].key, chosen(footers[0])), tail


def _read(stored: Stored, blocks: Sequence[Block]) -> pa.Table:
    stored.bring(blocks)
    return stored_rows(blocks, stored.objects)


def _joined(before: pa.Table, new: pa.Table) -> pa.Table:
    import pyarrow as pa

    new = new.select(before.column_names).cast(before.schema)
    joined = pa.concat_tables([before, new]).unify_dictionaries()
    description = pandas_metadata(before.schema)
    for index in description.get("index_columns") or []:
        if isinstance(index, dict) and index.get("kind") == "range":
            index["stop"] = index["start"] + index["step"] * len(joined)
            others = {**before.schema.metadata, PANDAS_KEY: json.dumps(description).encode()}
            joined = joined.replace_schema_metadata(others)
    return joined


def _has_more_categories(joined: pa.Table, before: pa.Table) -> bool:
    import pyarrow.types as types

    return any(
        types.is_dictionary(column.type) and len(column.chunk(0).dictionary) > len(old.chunk(0).dictionary)
        for column, old in zip(joined.columns, before.columns, strict=True)
    )


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
