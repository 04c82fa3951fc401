"""LMDB databases: keys and values as bytes, read in a process of their own."""

from __future__ import annotations

from pathlib import Path

import lmdb
import pandas as pd
import pytest

from datapkg.errors import BuildFailed
from tests.building.builds import Bench, write

PAIRS = {f"{at:06}".encode(): bytes([at % 256]) * (at % 50) for at in range(3_000)}


def database(folder: Path, name: str = "") -> Path:
    """Make `data.mdb` in a folder, with the pairs in the unnamed or a named database."""
    path = folder / "data.mdb"
    with lmdb.open(str(path), subdir=False, lock=False, max_dbs=2, map_size=8 << 20) as environment:
        own = environment.open_db(name.encode()) if name else None
        with environment.begin(write=True, db=own) as transaction:
            for key, value in PAIRS.items():
                transaction.put(key, value)
    return path


def frame_of(folder: Path, kwargs: str = "{}") -> pd.DataFrame:
    write(folder, {"build.yml": f"contents:\n  t: {{file: data.mdb, transform: lmdb, kwargs: {kwargs}}}\n"})
    bench = Bench()
    return bench.frame(bench.build(folder), "t")


def test_keys_and_values_in_key_order(tmp_path: Path) -> None:
    database(tmp_path)
    frame = frame_of(tmp_path)
    assert dict(zip(frame["key"], frame["value"], strict=True)) == PAIRS
    assert frame["key"].tolist() == sorted(PAIRS)
    assert {each.name for each in tmp_path.iterdir()} == {"build.yml", "data.mdb"}


def test_named_database_and_text(tmp_path: Path) -> None:
    database(tmp_path, "train")
    frame = frame_of(tmp_path, "{database: train, text: [key]}")
    assert frame["key"].tolist() == [key.decode() for key in sorted(PAIRS)]
    with pytest.raises(BuildFailed, match="MDB_NOTFOUND"):
        frame_of(tmp_path, "{database: test}")


@pytest.mark.parametrize("cut", [4_000, 9_000, 60_000])
def test_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    path = database(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BuildFailed):
        frame_of(tmp_path)


def test_other_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"\0" * 10_000)
    with pytest.raises(BuildFailed, match="it is not an LMDB database"):
        frame_of(tmp_path)
