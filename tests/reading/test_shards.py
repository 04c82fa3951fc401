"""Parts of packages, groups and tables have the interface of the whole, and are installed by themselves."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import InvalidInput, NodeNotFound, ObjectNotFound
from datapkg.format.names import Ref
from datapkg.format.selection import Selection
from datapkg.home import Home
from datapkg.reading.load import load
from tests.conftest import Person

ROWS = 200_000


def frame() -> pd.DataFrame:
    values = np.random.default_rng(0)
    return pd.DataFrame({"key": np.arange(ROWS), "value": values.random(ROWS)})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("shards")
    files = folder / "raw"
    files.mkdir()
    for number in range(8):
        (files / f"{number}.bin").write_bytes(bytes([number]) * 100_000)
    home = Home({"DATAPKG_HOME": str(folder / "home")})
    build_package(home, Ref("me", "p"), {"raw": files, "table": frame()})
    return home


@pytest.fixture
def package(home: Home) -> Any:
    return load("me/p", home)


def test_rows_of_the_parts_of_a_table_are_the_table(package: Any) -> None:
    assert len(package.table.__entry__.blocks) == 3
    parts = [package.table.shard(part, 3) for part in range(3)]
    rows = pd.concat([part() for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(rows, frame())
    assert sum(part.rows for part in parts) == ROWS
    assert [len(part["key"]) for part in parts] == [len(part) for part in parts]
    arrow = [batch for part in parts for batch in part.iter_batches(50_000, arrow=True)]
    assert sum(len(batch) for batch in arrow) == ROWS
    assert parts[1].polars()["key"].to_list() == parts[1]()["key"].to_list()
    assert parts[2](filters=[("key", "<", 0)]).empty
    assert len(parts[2].tail(3)) == 3


def test_nodes_of_the_parts_of_a_package_are_the_package(package: Any) -> None:
    parts = [package.shard(part, 4) for part in range(4)]
    files = [path for part in parts for path, node in part.walk() if node.kind == "file"]
    assert files == [path for path, node in package.walk() if node.kind == "file"]
    assert sum(part.size for part in parts) == package.size
    assert max(part.size for part in parts) < package.size / 2
    assert all("raw" in part for part in parts), "a group without nodes in a part is empty there"
    assert [len(each) for each in (package.raw.shard(0, 2), package.raw.shard(1, 2))] == [4, 4]
    assert datapkg.shard(package.raw, 1, 2)["7.bin"]().read_bytes() == bytes([7]) * 100_000
    assert parts[0] != parts[1] != package
    assert parts[0] == package.shard(0, 4)


def test_a_part_of_a_part(package: Any) -> None:
    keys = [key for first in range(2) for second in range(2) for key in package.raw.shard(first, 2).shard(second, 2)]
    assert keys == list(package.raw)


def test_a_part_says_what_it_lacks(package: Any) -> None:
    with pytest.raises(NodeNotFound, match=r"^me/p/raw/7.bin is not in part 0 of 2"):
        package.raw.shard(0, 2)["7.bin"]
    with pytest.raises(InvalidInput, match=r"me/p/table has nothing in part 0 of 99: it cannot be cut into more than"):
        package.table.shard(0, 99)
    for part, of in ((4, 4), (-1, 4), (0, 0), (True, 4), ("0", 4)):
        with pytest.raises(InvalidInput, match="parts are counted from 0"):
            package.shard(part, of)


def test_a_part_is_another_value_than_the_whole(package: Any) -> None:
    part = package.table.shard(0, 3)
    assert part != package.table
    assert part.content == ""
    assert pickle.loads(pickle.dumps(part)) == part
    assert len(pickle.loads(pickle.dumps(part))) == len(part)
    assert len(pd.read_parquet(part.path)) == len(part)
    assert len(pd.read_parquet(package.table.path)) == ROWS
    with pytest.raises(InvalidInput, match="a part of me/p cannot be built from"):
        datapkg.build("me/other", {"table": part})


@pytest.mark.needs_library("torch")
def test_rows_of_torch_workers_of_all_parts_are_the_table(package: Any) -> None:
    from torch.utils.data import DataLoader

    found: list[int] = []
    for part in range(2):
        stream = package.table.shard(part, 2).torch(columns=["key"], stream=True)
        found += [
            int(key) for rank in range(2) for key in next(iter(DataLoader(stream.shard(rank, 2), 200_000)))["key"]
        ]
    assert sorted(found) == list(range(ROWS))


def test_an_installed_part_can_be_read_and_the_rest_cannot(home: Home, person: Person, tmp_path: Path) -> None:
    whole = load("me/p", home)
    ref = person.ref("p")
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, node in whole["raw"].items():  # type: ignore[index]
        (folder / name).write_bytes(node().read_bytes())
    build_package(person.home(), ref, {"raw": folder})
    push_package(person.home(), ref)
    worker = person.home("worker")
    (outcome,) = install_packages(worker, [ref], selection=Selection(part=(1, 4)))
    assert outcome.installed is not None
    assert (outcome.installed.objects_received, outcome.installed.bytes_left) == (2, 600_000)
    package = load(str(ref), worker)
    part = package.shard(1, 4)  # type: ignore[attr-defined]
    assert [node().read_bytes()[:1] for _, node in part.walk() if node.kind == "file"] == [b"\x02", b"\x03"]
    with pytest.raises(ObjectNotFound, match=rf"type: datapkg fetch {ref.package}/raw/7.bin@sha256:"):
        package["raw/7.bin"]()  # type: ignore[index,operator]
