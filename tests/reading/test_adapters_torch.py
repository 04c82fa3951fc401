"""Datasets of torch: each row exactly once over ranks and workers, in an order that seed and epoch settle."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from datapkg.errors import InvalidInput, NodeNotFound, WrongType
from datapkg.home import Home
from datapkg.reading.nodes.tables import Table
from tests.reading.example_tables import in_blocks, stored

pytestmark = pytest.mark.needs_library("torch")


@pytest.fixture
def node(home: Home) -> Table:
    """101 rows in eleven blocks."""
    return in_blocks(home, 101, 10)


def loaded(dataset: Any, **options: Any) -> list[int]:
    """The numbers of the rows that a loader gives, in its order."""
    from torch.utils.data import DataLoader

    return [number for batch in DataLoader(dataset, batch_size=7, **options) for number in batch["n"].tolist()]


def rows(dataset: Any) -> list[int]:
    return [int(row["n"]) for row in dataset]


def joined(shards: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(shards))


def test_rows_by_number(node: Table) -> None:
    import torch

    data = node.torch()
    assert isinstance(data, torch.utils.data.Dataset)
    assert len(data) == 101
    row = data[100]
    assert (row["n"].item(), row["x"].item(), row["s"]) == (100, 50.0, "row 100")
    assert row["n"].dtype == torch.int64
    assert data[-1]["s"] == "row 100"
    assert node.torch(["x"])[3] == {"x": torch.tensor(1.5, dtype=torch.float64)}
    with pytest.raises(IndexError):
        data[101]


def test_a_loader_makes_batches_of_rows_by_number(node: Table) -> None:
    import torch
    from torch.utils.data import DataLoader

    batch = next(iter(DataLoader(node.torch(), batch_size=4)))
    assert torch.equal(batch["x"], torch.arange(4) / 2)
    assert batch["s"] == [f"row {at}" for at in range(4)]
    assert sorted(loaded(node.torch(["n"]), shuffle=True)) == list(range(101))
    assert loaded(node.torch(["n"]), num_workers=2) == list(range(101))


def test_a_stream_is_in_order_and_reads_a_block_at_a_time(node: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from datapkg.reading.adapters import blocks

    reached: list[int] = []
    read = blocks.read

    def noted(table: Table, number: int, columns: list[str] | None = None) -> pa.Table:
        reached.append(number)
        return read(table, number, columns)

    monkeypatch.setattr(blocks, "read", noted)
    stream = node.torch(["n"], stream=True)
    assert isinstance(stream, torch.utils.data.IterableDataset)
    assert len(stream) == 101
    given = iter(stream)
    assert [int(next(given)["n"]) for _ in range(12)] == list(range(12))
    assert reached == [0, 1]
    assert rows(stream) == list(range(101))


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "seed": 3}], ids=["in order", "shuffled"])
def test_each_row_goes_to_one_rank_and_one_worker(node: Table, options: dict[str, Any]) -> None:
    stream = node.torch(["n"], stream=True, **options)
    shards = [stream.shard(rank, 3) for rank in range(3)]
    alone = [loaded(each) for each in shards]
    assert sorted(joined(alone)) == list(range(101))
    assert [len(each) for each in alone] == [len(each) for each in shards] == [33, 34, 34]
    assert joined(alone) == rows(stream)
    for shard, found in zip(shards, alone, strict=True):
        assert sorted(loaded(shard, num_workers=2)) == sorted(found)
        assert loaded(shard) == found


def test_more_shards_than_rows(home: Home) -> None:
    node = in_blocks(home, 3, 2)
    for stream in (True, False):
        shards = [rows(node.torch(["n"], stream=stream).shard(rank, 5)) for rank in range(5)]
        assert sorted(joined(shards)) == [0, 1, 2]


def test_shards_of_rows_by_number(node: Table) -> None:
    shards = [node.torch(["n"]).shard(rank, 3) for rank in range(3)]
    assert joined(map(rows, shards)) == list(range(101))
    assert joined(rows(shards[1].shard(rank, 2)) for rank in range(2)) == rows(shards[1])


def test_seed_and_epoch_decide_the_order(node: Table) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        stream = node.torch(["n"], stream=True, shuffle=True, seed=seed)
        stream.set_epoch(epoch)
        return rows(stream)

    found = [order(*each) for each in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(each) == list(range(101)) for each in found)
    assert found[0] != found[1] != found[2] != found[0]
    assert order(0, 1) == found[1]
    assert found[0][:10] != sorted(found[0][:10])


def test_persistent_workers_see_a_new_epoch(node: Table) -> None:
    from torch.utils.data import DataLoader

    stream = node.torch(["n"], stream=True, shuffle=True)
    loader = DataLoader(stream, batch_size=None, num_workers=1, persistent_workers=True)
    first = [int(row["n"]) for row in loader]
    stream.set_epoch(1)
    second = [int(row["n"]) for row in loader]
    assert first != second
    assert second == rows(stream)


def test_datasets_go_to_other_processes(node: Table) -> None:
    for options in ({}, {"stream": True, "shuffle": True}):
        data = node.torch(["n"], **options).shard(1, 2)
        assert rows(pickle.loads(pickle.dumps(data))) == rows(data)
    stream = node.torch(["n"], stream=True)
    assert loaded(stream, num_workers=1, multiprocessing_context="spawn") == list(range(101))


def test_nulls_lists_and_times(home: Home) -> None:
    import torch

    table = pa.table(
        {
            "n": [1, None],
            "b": [True, False],
            "h": pa.array([1, 2], pa.uint16()),
            "v": [[1.0, 2.0], None],
            "t": pd.to_datetime(["2020-01-01", None]),
            "k": pa.array(["a", "b"]).dictionary_encode(),
            "m": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        }
    )
    for data in (list(stored(home, table).torch(stream=True)), stored(home, table).torch()):
        assert data[0]["n"].item() == 1.0
        assert np.isnan(data[1]["n"].item())
        assert data[0]["b"].dtype == torch.bool
        assert data[1]["h"].item() == 2
        assert torch.equal(data[0]["v"], torch.tensor([1.0, 2.0], dtype=torch.float64))
        assert data[1]["v"] is None
        assert (data[0]["t"], data[1]["t"]) == (pd.Timestamp("2020-01-01"), None)
        assert data[1]["k"] == "b"
        assert data[0]["m"] == [("a", 1)]
    large = stored(home, pa.table({"n": [2**60 + 1, None]}), path="large")
    with pytest.raises(WrongType, match=r"integers above 2\^53"):
        large.torch()[0]


def test_invalid_arguments_are_rejected(node: Table) -> None:
    with pytest.raises(NodeNotFound, match="no column 'm'"):
        node.torch(["m"])
    with pytest.raises(InvalidInput, match="DataLoader"):
        node.torch(shuffle=True)
    for rank, world in ((3, 3), (-1, 3), (0, 0), (0.0, 1)):
        with pytest.raises(InvalidInput, match=r"shard\(rank, world\)"):
            node.torch(stream=True).shard(rank, world)
