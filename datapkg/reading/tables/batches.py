"""Read a table in batches of a fixed number of rows, with at most one block and one batch in memory.

Of a row group, however long it is, some rows at a time are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from datapkg.errors import DatapkgError, InvalidInput
from datapkg.reading.tables import arrow_cache, arrow_reader, block_access, row_selection
from datapkg.reading.tables.arrow_reader import Question
from datapkg.tables.block_reader import rows_at_once
from datapkg.tables.pandas_metadata import restore_categories


def batches(question: Question, length: int) -> Iterator[pa.RecordBatch]:
    """Yield batches of this many rows, the last with the remaining rows; none if there are no rows.

    Raise `InvalidInput`, `ObjectNotFound`, `CorruptObject`, some of them only when a block is reached.
    """
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise InvalidInput(f"rows is how many rows a batch has, at least 1; got {length!r:.80}")
    return _batches(question, length)


def pieces(question: Question, length: int) -> Iterator[pa.RecordBatch]:
    """Yield all rows in order, in pieces of at most this many rows and a few megabytes; raise as `batches`.

    Rows that cost nothing to join are not joined: a piece ends where a block or row group does.
    """
    for piece in _pieces(question, length):
        yield from piece.to_batches()


def _batches(question: Question, length: int) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.Table] = []
    for piece in _pieces(question, length):
        waiting.append(piece)
        while sum(map(len, waiting)) >= length:
            together = pa.concat_tables(waiting)
            yield from together.slice(0, length).combine_chunks().to_batches()
            waiting = [together.slice(length)]
    yield from pa.concat_tables(waiting).combine_chunks().to_batches() if waiting else ()


def _pieces(question: Question, length: int) -> Iterator[pa.Table]:
    """Yield tables of at most this many rows that pass the condition, in order."""
    table, needed = question.table, question.needed()
    # Not copied as a whole: each piece is, so that only one of them is in memory.
    if (copy := arrow_reader.from_copy(replace(question, own=False))) is not None:
        for start in range(0, len(copy), length):
            piece = copy.slice(start, length)
            yield arrow_cache.copied(piece) if question.own else piece
        return
    for part in row_selection.parts(table.node, None):
        try:
            (buffer,) = block_access.buffers(table, [part], needed, question.condition)
            file = block_access.opened(table, part.number, buffer)
            block_access.check_types(table, file.schema_arrow, question.schema)
            groups = row_selection.groups_with(buffer, question.condition, question.schema)
            for batch in file.iter_batches(rows_at_once(file, length), groups, needed):
                piece = pa.Table.from_batches([batch]).replace_schema_metadata(question.schema.metadata)
                if question.condition is not None:
                    piece = piece.filter(question.condition)
                yield restore_categories(arrow_reader.only(piece, question.columns), question.schema)
        except DatapkgError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise arrow_reader.unreadable(question, error) from error
