"""A table as a torch dataset, by row number or as a stream; each row goes to exactly one rank and worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from datapkg.errors import InvalidInput
from datapkg.reading.adapters import blocks, files
from datapkg.reading.adapters.numpy_array import check_exact, is_number, values

if TYPE_CHECKING:
    from datapkg.reading.protocols import TableLike


def convert(
    table: TableLike,
    columns: Sequence[str] | None = None,
    stream: bool = False,
    shuffle: bool = False,
    seed: int = 0,
) -> RowDataset | RowStream:
    """Return a dataset whose samples are dicts by column: tensors of numbers, Python values of other types."""
    names = files.known(table, table.columns if columns is None else columns)
    if stream:
        return RowStream(table, names, seed if shuffle else None)
    if shuffle:
        raise InvalidInput("rows by number are shuffled by torch: DataLoader(…, shuffle=True)")
    return RowDataset(table, names)


def share(whole: range, number: int, of: int) -> range:
    """Return one of several parts of a range, whose lengths differ by at most one."""
    whole_number = isinstance(number, int) and isinstance(of, int)
    if not whole_number or not 0 <= number < of:
        raise InvalidInput(f"shard(rank, world): 0 <= rank < world; got rank {number!r} and world {of!r}")
    return whole[number * len(whole) // of : (number + 1) * len(whole) // of]


class RowDataset(Dataset[dict[str, Any]]):
    """Rows by number; each process reads the columns when it first needs a row."""

    def __init__(self, table: TableLike, columns: list[str], part: range | None = None) -> None:
        self._table, self._columns = table, columns
        self._part = range(table.rows) if part is None else part
        self._read: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, number: int) -> dict[str, Any]:
        at = self._part[number]
        if self._read is None:
            self._read = _columns(self._table, self._table.arrow(self._columns))
        return {name: _one(self._table, name, column, at) for name, column in self._read.items()}

    def shard(self, rank: int, world: int) -> RowDataset:
        """Return the rows of one rank; each row is in exactly one of `world` shards; sizes differ by at most one."""
        return RowDataset(self._table, self._columns, share(self._part, rank, world))

    def __getstate__(self) -> dict[str, Any]:
        # Without what was read: each worker process reads the columns itself.
        return {**self.__dict__, "_read": None}


class RowStream(IterableDataset[dict[str, Any]]):
    """Rows in order, or in an order that depends on seed and epoch; one block is in memory at a time.

    Blocks are shuffled, and the rows within each of them.
    """

    def __init__(self, table: TableLike, columns: list[str], seed: int | None, part: range | None = None) -> None:
        self._table, self._columns, self._seed = table, columns, seed
        self._part = range(table.rows) if part is None else part
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers see a new epoch too

    def __len__(self) -> int:
        return len(self._part)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        # Of the rank's part, so that its rows do not depend on the number of its workers.
        part = share(self._part, worker.id, worker.num_workers) if worker else self._part
        epoch, begin = int(self._epoch), 0
        for number in self._order(epoch):
            rows = self._table.__entry__.blocks[number].rows
            first, last = max(part.start, begin), min(part.stop, begin + rows)
            if first < last:
                yield from self._rows(number, epoch, range(first - begin, last - begin))
            begin += rows

    def shard(self, rank: int, world: int) -> RowStream:
        """Return the rows of one rank; each row is in exactly one of `world` shards; sizes differ by at most one."""
        found = RowStream(self._table, self._columns, self._seed, share(self._part, rank, world))
        found.set_epoch(int(self._epoch))
        return found

    def set_epoch(self, epoch: int) -> None:
        """Shuffle differently from the next iteration on; every rank must set the same epoch."""
        self._epoch.fill_(epoch)

    def _order(self, epoch: int) -> list[int]:
        count = len(self._table.__entry__.blocks)
        return list(range(count)) if self._seed is None else _shuffled(count, self._seed, epoch)

    def _rows(self, number: int, epoch: int, part: range) -> Iterator[dict[str, Any]]:
        """Yield the rows at these positions of a block, in its shuffled order."""
        block = blocks.read(self._table, number, self._columns)
        columns = _columns(self._table, block)
        # Of the whole block, in every process alike: the parts of two of them may meet inside it.
        order = range(len(block)) if self._seed is None else _shuffled(len(block), self._seed, epoch, number)
        for place in part:
            yield {name: _one(self._table, name, column, order[place]) for name, column in columns.items()}


def _shuffled(count: int, *seed: int) -> list[int]:
    order: list[int] = np.random.default_rng(seed).permutation(count).tolist()
    return order


def _columns(table: TableLike, read: pa.Table) -> dict[str, Any]:
    columns = zip(read.column_names, read.columns, strict=True)
    return {name: _column(table, name, column) for name, column in columns}


def _column(table: TableLike, name: str, column: pa.ChunkedArray) -> Any:
    """Return numbers as a tensor, other values as Arrow has them."""
    if is_number(column.type):
        if column.null_count:
            check_exact(table, name, column)
        return torch.from_numpy(values(column))
    return column.combine_chunks()


def _one(table: TableLike, name: str, column: Any, at: int) -> Any:
    value = column[at]
    if isinstance(value, torch.Tensor):
        return value
    is_list = isinstance(value, pa.ListScalar) and not isinstance(value, pa.MapScalar)
    if is_list and value.is_valid and is_number(value.type.value_type):
        return _column(table, name, pa.chunked_array([value.values]))
    return value.as_py()
