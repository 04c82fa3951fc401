"""Read the columns of built tables, piece by piece, from their objects."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.types as types

from datapkg.format.manifest.parsed import Block, Manifest, TableNode
from datapkg.format.texts import listed, quoted
from datapkg.objects.base import Readable
from datapkg.objects.progress import Share, between, ignore_share
from datapkg.tables.block_reader import open_block

PIECE_ROWS = 65_536
_SMALL_BYTES = 1 << 20


class Unfit(ValueError):
    """A check that does not apply to a column; the message is the reason."""


@dataclass(frozen=True)
class CheckedColumn:
    """One column of a table; `kind` is the Arrow type of its values, for categories that of the categories.

    `node` may hold only the last blocks of the table; `first_row` is the number of their first row.
    """

    tables: TableSet
    node: TableNode
    index: int
    kind: pa.DataType
    first_row: int = 1

    @property
    def name(self) -> str:
        """Return the name of the column."""
        return self.node.columns[self.index][0]

    @property
    def type_text(self) -> str:
        """Return the column's type as the manifest states it."""
        return self.node.columns[self.index][1]

    def pieces(self) -> Iterator[Any]:
        """Yield the values in order, in arrays of up to `PIECE_ROWS` rows."""
        for (values,) in self.tables.pieces(self.node, [self.index]):
            yield values


class TableSet:
    """The tables of a manifest, whose objects are available."""

    def __init__(self, manifest: Manifest, objects: Readable) -> None:
        self._manifest, self._objects = manifest, objects
        self._shares: dict[str, list[Share]] = {}

    def report(self, path: str, share: Share, *, passes: int) -> None:
        """Report how much of the table at a path was read, which is read as a whole so many times."""
        self._shares = {path: [between(share, at / passes, (at + 1) / passes) for at in reversed(range(passes))]}

    def columns(self, node: TableNode, after: int = 0) -> list[CheckedColumn]:
        """Return all columns of a table, without its first `after` blocks."""
        before, blocks = node.blocks[:after], node.blocks[after:]
        part = msgspec.structs.replace(node, blocks=blocks) if before else node
        first_row = 1 + sum(block.rows for block in before)
        with self._open(blocks[0]) as stream:
            schema = open_block(stream).schema_arrow
        return [
            CheckedColumn(self, part, index, _plain_type(each.type), first_row) for index, each in enumerate(schema)
        ]

    def column(self, reference: str) -> CheckedColumn:
        """Return the column that `node.column` names; raise `Unfit` if there is none."""
        parts = reference.split(".")
        known: list[str] = []
        for at in range(1, len(parts)):
            node, name = self._manifest.get(".".join(parts[:at])), ".".join(parts[at:])
            if not isinstance(node, TableNode):
                continue
            names = [each for each, _ in node.columns]
            if name in names:
                return self.columns(node)[names.index(name)]
            known += [f"{node.path}.{each}" for each in names]
        tables = [node.path for node in self._manifest.nodes if isinstance(node, TableNode)]
        there = f"there are {listed(known, 20)}" if known else f"there are the tables {listed(tables, 20)}"
        raise Unfit(f"there is no column {quoted(reference)} in this package; {there}")

    def pieces(self, node: TableNode, indices: Sequence[int]) -> Iterator[list[Any]]:
        """Yield the values of some columns piece by piece: for each column an array, all of the same rows."""
        names = [node.columns[index][0] for index in indices]
        for batch in self.batches(node, indices):
            yield [plain(batch.column(name)) for name in names]

    def batches(self, node: TableNode, indices: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Yield some columns as they are stored, piece by piece, with the metadata of their schema."""
        names = [node.columns[index][0] for index in indices]
        left, done, rows = self._shares.get(node.path), 0, sum(block.rows for block in node.blocks)
        share = left.pop() if left else ignore_share
        for block in node.blocks:
            with self._open(block) as stream:
                for batch in open_block(stream).iter_batches(batch_size=PIECE_ROWS, columns=names):
                    yield batch
                    done += len(batch)
                    share(done / max(rows, 1))

    def _open(self, block: Block) -> BinaryIO:
        if block.size < _SMALL_BYTES:
            return io.BytesIO(self._objects.read(block.hash))
        return self._objects.open(block.hash)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    return kind.value_type if types.is_dictionary(kind) else kind


def plain(values: Any) -> Any:
    """Return an array of plain values: categories decoded, extension types as their storage."""
    if isinstance(values, pa.ExtensionArray):
        return plain(values.storage)
    return values.dictionary_decode() if types.is_dictionary(values.type) else values
