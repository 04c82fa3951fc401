"""A table in batches of so many rows, of which no more is in memory than one block and one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from datapkg.errors import DatapkgError, InvalidInput
from datapkg.format.frames import restore_categories
from datapkg.reading import opening, parquet, rows, warm
from datapkg.reading.parquet import Question
from datapkg.reading.rows import Part


def batches(question: Question, length: int) -> Iterator[pa.RecordBatch]:
    """Batches of this many rows, the last of what is left; none where there are no rows.

    Raises `InvalidInput`, `ObjectNotFound`, `CorruptObject`, some of them only when a block is reached.
    """
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise InvalidInput(f"rows is how many rows a batch has, at least 1; got {length!r:.80}")
    return _batches(question, length)


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
    """Tables of at most so many rows that pass the condition, in order."""
    source, table, needed = question.source, question.table, question.needed()
    if (copy := parquet.from_copy(replace(question, own=False))) is not None:
        for start in range(0, len(copy), length):
            piece = copy.slice(start, length)
            yield warm.copied(piece) if question.own else piece
        return
    for part in rows.parts(table, None):
        try:
            (buffer,) = opening.buffers(source, table, [part], needed, question.condition)
            file = opening.opened(source, table, part.number, buffer)
            opening.check_types(source, table, file.schema_arrow, question.schema)
            for batch in file.iter_batches(length, _groups(question, part, buffer), needed):
                piece = pa.Table.from_batches([batch]).replace_schema_metadata(question.schema.metadata)
                if question.condition is not None:
                    piece = piece.filter(question.condition)
                yield restore_categories(parquet.only(piece, question.columns), question.schema)
        except DatapkgError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise parquet.unreadable(question, error) from error


def _groups(question: Question, part: Part, buffer: pa.Buffer) -> list[int] | None:
    """The row groups of a block that may have rows which pass; None for all."""
    names = question.schema.names
    if question.condition is None or len(set(names)) < len(names):
        return None
    (fragment,) = opening.dataset(question.source, question.table, [part], [buffer]).get_fragments()
    return [group.id for group in fragment.subset(question.condition).row_groups]
