"""Bytes are on the disk before a file gets its name, and before the index records it as verified."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.bundle import write_bundle
from datapkg.api.cache import warm_tables
from datapkg.api.gc import free_space
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest import index
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects import pack_merging
from datapkg.reading.load import load
from datapkg.reading.nodes.files import File
from datapkg.resolve import find_installed
from datapkg.store import manifests
from datapkg.store.gc import Policy
from datapkg.store.maintenance import check
from tests.faults.order import SyncOrder, right_order
from tests.static_registry import Static
from tests.web_server import web_server

P = Ref("me", "p")
# Temporary names are of nothing; maps of chunks and links are found wrong when they are read, and are made again.
UNSYNCED = ("tmp", "maps", "links", "partial")
BIG_BYTES = 1_500_000


def write(folder: Path, version: int) -> Path:
    """Write a version of a table, a file that is an object of its own, and files that share a pack."""
    folder.mkdir(exist_ok=True)
    big = bytearray(random.Random(0).randbytes(BIG_BYTES))
    big[version * 100_000 : version * 100_000 + 100] = bytes(100)
    (folder / "big.bin").write_bytes(big)
    pd.DataFrame({"a": range(version, 1000)}).to_csv(folder / "t.csv", index=False)
    for number in range(3):
        (folder / f"small{number}.bin").write_bytes(b"%d %d" % (number, version))
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Static:
    return Static(tmp_path / "registry", tmp_path / "machines")


@pytest.fixture
def home(registry: Static, tmp_path: Path) -> Home:
    """Return a home with three versions of a package."""
    registry.folder.mkdir()
    home = registry.home()
    for version in range(3):
        build_package(home, P, write(tmp_path / "sources", version))
    return registry.home()


def has(order: SyncOrder, *parts: str) -> bool:
    """Return whether files with these words in their paths got names."""
    return all(any(part in str(path) for path in order.named) for part in parts)


def test_build(registry: Static, tmp_path: Path) -> None:
    sources = write(tmp_path / "sources", 0)
    with right_order(tmp_path, *UNSYNCED) as order:
        build_package(registry.home(), P, sources)
    assert has(order, "/objects/", "/packs/", "/log/", "/current")
    assert order.verified


def test_downloads_of_a_build(registry: Static, tmp_path: Path) -> None:
    with web_server() as web, right_order(tmp_path, *UNSYNCED) as order:
        url = web.put("/t.csv", table := b"a,b\n1,2\n")
        (tmp_path / "build.yml").write_text(f"contents:\n  t: {{url: {url}, sha256: {hash_bytes(table)}}}\n")
        build_package(registry.home(), P, tmp_path / "build.yml")
    assert has(order, "/t.csv")


def test_push_and_install(registry: Static, home: Home, tmp_path: Path) -> None:
    with right_order(tmp_path, *UNSYNCED) as order:
        push_package(home, P)
        (outcome,) = install_packages(registry.home("other"), [P])
    assert outcome.error is None
    assert has(order, "registry/objects/", "registry/packs/", "other/store/objects/", "other/store/packs/")


def test_object_that_ranges_completed(registry: Static, home: Home, tmp_path: Path) -> None:
    push_package(home, P)
    with right_order(tmp_path, *UNSYNCED) as order:
        node = load(f"{P}/big.bin", registry.home("lazy"), lazy=True)
        assert isinstance(node, File)
        with node.open() as stream:
            assert len(stream.read()) == BIG_BYTES
    assert has(order, "lazy/store/objects/")


def test_freeing_space(home: Home, tmp_path: Path) -> None:
    with right_order(tmp_path, *UNSYNCED) as order:
        done = free_space(home, Policy(now=True))
    assert done.bytes_compacted
    assert has(order, "/recipes/")


def test_merging_packs(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_merging, "MERGED_AT", 2)
    with right_order(tmp_path, *UNSYNCED) as order:
        pack_merging.merge_packs(home.store.objects.packed)
    assert has(order, "/packs/")


def test_repairing_a_pack(home: Home, tmp_path: Path) -> None:
    (pack, *_) = home.store.objects.packed.packs()
    os.chmod(pack.path, 0o600)
    with open(pack.path, "rb+") as file:
        file.seek(10)
        file.write(b"!")
    with right_order(tmp_path, *UNSYNCED) as order:
        assert verify(home).damaged
    assert has(order, "/packs/")


def test_pack_whose_index_cannot_be_read_moves_aside_unread(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pack, *_) = home.store.objects.packed.packs()
    os.chmod(pack.path, 0o600)
    os.truncate(pack.path, pack.size - 1)
    torn = pack.path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} may be too large for the memory"))
        home.store.objects.packed.look_again()
        check(home.store)
    (aside,) = home.store.objects.quarantine_folder.glob(f"{pack.path.name}-*")
    assert (aside.read_bytes(), pack.path.exists()) == (torn, False)


def test_copies_of_tables(home: Home, tmp_path: Path) -> None:
    with right_order(tmp_path) as order:
        warm_tables(home, P)
    assert has(order, ".arrow")
    assert order.verified


def test_index_of_a_long_manifest(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "LONG_BYTES", 1)
    monkeypatch.setattr(index, "LONG", 3)
    with right_order(tmp_path) as order:
        home.store.open_manifest(find_installed(home, P).hash)
    assert has(order, "/manifests/")
    assert any("manifests" in str(path) for path in order.verified)


def test_bundle(home: Home, tmp_path: Path) -> None:
    with right_order(tmp_path) as order:
        write_bundle(home, [P], tmp_path / "p.dpkg")
    assert has(order, "p.dpkg")


def test_file_written_after_its_sync_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="named got its name before its bytes"), right_order(tmp_path):
        with open(tmp_path / "temp", "wb") as file:
            file.write(b"1")
            file.flush()
            os.fsync(file.fileno())
            file.write(b"2")
        os.replace(tmp_path / "temp", tmp_path / "named")
