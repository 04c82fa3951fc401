"""Warm copies: mapped where they are what was written, and passed over where they are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from datapkg.errors import InvalidInput
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.tables import Table
from datapkg.reading.tables import arrow_cache, arrow_cache_writer, block_access
from datapkg.tables.frame_to_arrow import table_from_frame
from tests.reading.packages import install
from tests.reading.test_tables import stored
from tests.reading.test_tables_rows import frame_of, node_of


@pytest.fixture
def node(home: Home) -> Table:
    node = node_of(home, frame_of(pd.Index([f"k{number}" for number in range(23)], name="key")), 5, 10, 23)
    assert arrow_cache_writer.write(node.__stored__)
    return node


def copy_of(home: Home, node: Table) -> Path:
    return home.cache / "warm" / f"{arrow_cache.key(node.__entry__)}.arrow"


def is_warm(node: Table) -> bool:
    return arrow_cache.find(node.__stored__) is not None


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks are mapped at each reading that is more than a footer."""
    noted: list[int] = []
    buffers = block_access.buffers

    def note(*arguments: object) -> list[pa.Buffer]:
        if len(arguments) < 3 or arguments[2] != []:
            noted.append(len(arguments[1]))  # type: ignore[arg-type]
        return buffers(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(block_access, "buffers", note)
    return noted


def test_cached_copy_is_mapped_not_read(node: Table, opened: list[int]) -> None:
    before = pa.total_allocated_bytes()
    table = node.arrow()
    assert pa.total_allocated_bytes() - before < 4_096
    assert table["n"].num_chunks == table["s"].num_chunks == 1
    for ask in (node, node.head, node.tail, node.sample, lambda: node["n"], lambda: list(node.iter_batches(4))):
        ask()
    assert opened == []


def test_a_frame_with_types_of_arrow_shares_the_copy(home: Home) -> None:
    numbers = np.arange(70_000)
    node = stored(home, pa.table({"n": numbers, "s": numbers.astype(str).tolist()}))
    arrow_cache_writer.write(node.__stored__)
    node(dtype_backend="pyarrow")
    before = pa.total_allocated_bytes()
    frame = node(dtype_backend="pyarrow")
    assert pa.total_allocated_bytes() - before < 4_096
    assert frame["n"].sum() == numbers.sum()


def test_a_copy_is_made_once_and_again_when_it_is_gone(home: Home, node: Table) -> None:
    place = copy_of(home, node)
    was = place.stat().st_ino
    assert not arrow_cache_writer.write(node.__stored__)
    assert place.stat().st_ino == was
    place.unlink()
    assert not is_warm(node)
    assert node()["n"].tolist() == list(range(23))
    assert arrow_cache_writer.write(node.__stored__)
    assert is_warm(node)


def cut(place: Path) -> None:
    os.chmod(place, 0o600)
    os.truncate(place, place.stat().st_size // 2)


def flip(place: Path) -> None:
    os.chmod(place, 0o600)
    with open(place, "r+b") as file:
        file.seek(place.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def replace(place: Path) -> None:
    """By a good file of another table of the same shape, and with the old times."""
    stat, table = place.stat(), pa.ipc.open_file(pa.memory_map(str(place))).read_all()
    other = place.with_name("other")
    with pa.OSFile(str(other), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.slice(0, 22))
        writer.write_table(table.slice(0, 1))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.replace(other, place)


@pytest.mark.parametrize("spoil", [cut, flip, replace])
def test_modified_copy_is_rejected(home: Home, node: Table, spoil: Callable[[Path], None]) -> None:
    expected = frame_of(pd.Index([f"k{number}" for number in range(23)], name="key"))
    spoil(copy_of(home, node))
    assert not is_warm(node)
    pd.testing.assert_frame_equal(node(), expected)
    (copy,) = home.store.copies.list()
    assert not copy.whole
    assert arrow_cache_writer.write(node.__stored__)
    assert is_warm(node)
    pd.testing.assert_frame_equal(node(), expected)


def test_copies_need_the_index(home: Home, node: Table) -> None:
    for each in home.cache.glob("index.db*"):
        each.unlink()
    fresh = load("me/t/t", Home())
    fresh.__source__.store._index._connection = None
    assert isinstance(fresh, Table)
    assert not is_warm(fresh)
    assert len(fresh()) == 23


def test_mapped_copy_outlives_its_file(home: Home, node: Table) -> None:
    table, frame = node.arrow(), node(dtype_backend="pyarrow")
    home.store.copies.remove(arrow_cache.key(node.__entry__))
    assert table["n"].to_pylist() == frame["n"].tolist() == list(range(23))
    assert list((home.cache / "warm").iterdir()) == [home.cache / "warm" / "tmp"]


def test_tables_of_the_same_objects_share_a_copy_and_others_do_not(home: Home, node: Table) -> None:
    entry = node.__entry__
    install(home, "me/other", entry)
    other = load("me/other/t", home)
    assert isinstance(other, Table)
    assert is_warm(other)
    assert other().attrs["datapkg"]["package"] == "me/other"
    frame = frame_of(None).assign(n=7)
    assert not is_warm(node_of(home, frame, 5, 10, 23))


def test_a_big_table_is_written_in_batches(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_cache_writer, "ONE_PIECE_BYTES", 0)
    monkeypatch.setattr(arrow_cache_writer, "_BATCH_ROWS", 6)
    frame = frame_of(None)
    node = node_of(home, frame, 5, 10, 23)
    before = node.arrow()
    arrow_cache_writer.write(node.__stored__)
    assert node.arrow()["n"].num_chunks == 4
    assert node.arrow().equals(before)
    pd.testing.assert_frame_equal(node(), frame)
    pd.testing.assert_frame_equal(node(frozen=True), frame)


def test_categories_that_differ_from_block_to_block_are_one_copy(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [pa.table({"c": pa.array(values).dictionary_encode()}) for values in (["a", "b"], ["c", "a"])]
    for number, limit in enumerate((1 << 30, 0)):
        monkeypatch.setattr(arrow_cache_writer, "ONE_PIECE_BYTES", limit)
        node = stored(home, *parts, pa.table({"c": pa.array([str(number)]).dictionary_encode()}))
        before = node()
        arrow_cache_writer.write(node.__stored__)
        assert is_warm(node)
        pd.testing.assert_frame_equal(node(), before)
        assert node()["c"].tolist() == ["a", "b", "c", "a", str(number)]


def test_a_long_warm_table_may_be_written_to(home: Home) -> None:
    numbers = np.arange(70_000)
    frame = pd.DataFrame(
        {
            "n": numbers,
            "s": numbers.astype(str),
            "t": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(numbers, unit="s"),
            "c": pd.Categorical(numbers % 3),
            "b": numbers % 2 == 0,
        }
    )
    node = stored(home, table_from_frame(frame))
    expected = node()
    arrow_cache_writer.write(node.__stored__)
    found = node()
    pd.testing.assert_frame_equal(found, expected)
    for at in range(found.shape[1]):
        found.iloc[0, at] = found.iloc[1, at]
    pd.testing.assert_frame_equal(node(), expected)
    assert not any(
        np.shares_memory(found["n"].to_numpy(), each["n"].to_numpy()) for each in (node(), node(frozen=True))
    )


def test_filters_on_restored_categories_mean_the_same(home: Home) -> None:
    node = node_of(home, frame_of(None), 5, 23)
    filters = [("c.d", "=", 1), ("n", "<", 9)]
    before = node(["n"], filters)["n"].tolist()
    arrow_cache_writer.write(node.__stored__)
    assert node(["n"], filters)["n"].tolist() == before == [1, 4, 7]


KILLED = """
import os, signal
import pyarrow as pa
from datapkg.reading.tables import arrow_cache_writer
from datapkg.reading.load import load
from datapkg.home import Home
node = load("me/t/t", Home())
write = arrow_cache_writer._write
def killed(table, path):
    write(table, path)
    os.kill(os.getpid(), signal.SIGKILL)
arrow_cache_writer._write = killed
arrow_cache_writer.write(node.__stored__)
"""


def test_a_kill_leaves_no_copy(home: Home) -> None:
    node = node_of(home, frame_of(None), 5, 23)
    ended = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert ended.returncode == -signal.SIGKILL
    folder = home.cache / "warm"
    assert [each.name for each in folder.iterdir()] == ["tmp"]
    assert len(list((folder / "tmp").iterdir())) == 1
    assert home.store.copies.list() == []
    assert not is_warm(node)
    assert arrow_cache_writer.write(node.__stored__)
    assert is_warm(node)


def test_failed_write_leaves_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    node = node_of(home, frame_of(None), 5, 23)

    def refuse(*_: object) -> None:
        raise pa.ArrowInvalid("no such type")

    monkeypatch.setattr(pa.ipc, "new_file", refuse)
    with pytest.raises(InvalidInput, match="me/t/t cannot be kept as Arrow: no such type"):
        arrow_cache_writer.write(node.__stored__)
    assert list((home.cache / "warm" / "tmp").iterdir()) == []
    assert home.store.copies.list() == []


def test_invalid_index_entries_are_ignored(home: Home, node: Table) -> None:
    note = copy_of(home, node).with_suffix(".json")
    for text in (b"", b"[]", b'{"rows": "x"}', b"\xff", b'{"package": 3}'):
        os.chmod(note, 0o600)
        note.write_bytes(text)
        (copy,) = home.store.copies.list()
        assert copy.whole
        assert copy.size_bytes == copy_of(home, node).stat().st_size
