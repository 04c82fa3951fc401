"""A new version of an object costs what changed in it, in both directions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.api import push_plan
from datapkg.api.build import build_package
from datapkg.api.install import fetch_packages, install_packages
from datapkg.api.install_result import InstallResult
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.format.hashing import HashingReader
from datapkg.format.names import Ref
from datapkg.format.selection import Selection
from datapkg.home import Home
from datapkg.remote import objects as remote_objects
from datapkg.remote.session import RegistrySession
from datapkg.resolve import find_installed
from datapkg.store import delta_fetch
from datapkg.store.partial_objects import PartialObject
from tests.conftest import Person

ROWS = 150_000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "price": rng.lognormal(3, 1, ROWS),
            "score": rng.normal(size=ROWS),
            "text": [
                f"{a:x} {b}" for a, b in zip(rng.integers(0, 1 << 60, ROWS), rng.integers(0, 999, ROWS), strict=True)
            ],
        }
    )


def install(home: Home, ref: Ref) -> InstallResult:
    (outcome,) = install_packages(home, [ref])
    assert outcome.error is None
    assert outcome.installed is not None
    return outcome.installed


def pushed(home: Home, ref: Ref, value: object) -> tuple[int, int]:
    """Build and push; return how many bytes of objects were sent, and how many a dry run foretold."""
    build_package(home, ref, value)  # type: ignore[arg-type]
    foretold = push_package(home, ref, dry_run=True).bytes_sent
    return push_package(home, ref).bytes_sent, foretold


def test_a_changed_table_costs_what_changed(person: Person, frame: pd.DataFrame) -> None:
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("table")
    pushed(mine, ref, {"sales": frame})
    whole = install(theirs, ref).bytes_received
    assert whole > 3_000_000
    cell = frame.copy()
    cell.loc[ROWS // 2, "price"] = 1.5
    column = cell.assign(weight=np.random.default_rng(1).normal(size=ROWS))
    row = pd.concat([column[: ROWS // 3], column[:1], column[ROWS // 3 :]], ignore_index=True)
    for changed, bar in ((cell, 0.07 * whole), (column, 8 * ROWS + 0.05 * whole), (row, 0.25 * whole)):
        sent, foretold = pushed(mine, ref, {"sales": changed})
        assert sent < bar
        assert abs(sent - foretold) < 0.01 * whole
        assert install(theirs, ref).bytes_received < 1.1 * bar
        assert verify(theirs, ref).damaged == []
        loaded = theirs.store.manifest(find_installed(theirs, ref).hash)
        assert loaded.hash == find_installed(mine, ref).hash


def test_a_line_added_to_a_raw_file_costs_a_chunk_or_two(person: Person, tmp_path: Path) -> None:
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("raw")
    folder = tmp_path / "data"
    folder.mkdir()
    data = random.Random(0).randbytes(6 << 20)
    (folder / "raw.bin").write_bytes(data)
    pushed(mine, ref, folder)
    install(theirs, ref)
    (folder / "raw.bin").write_bytes(data[: 2 << 20] + b"one more line\n" + data[2 << 20 :])
    (folder / "raw.bin").rename(folder / "renamed.bin")
    sent, _ = pushed(mine, ref, folder)
    assert sent < 600_000
    (folder / "renamed.bin").write_bytes(data[: 3 << 20])
    sent, _ = pushed(mine, ref, folder)
    assert sent < 600_000
    assert install(theirs, ref).bytes_received < 600_000
    assert verify(theirs, ref).damaged == []


def test_a_file_as_it_was_two_pushes_ago_costs_what_changed_since(person: Person, tmp_path: Path) -> None:
    """The registry keeps the objects of all states, not only of its latest one."""
    mine, ref, folder = person.home("mine"), person.ref("raw"), tmp_path / "data"
    folder.mkdir()
    data = random.Random(9).randbytes(3 << 20)
    for version in (data, random.Random(10).randbytes(3 << 20)):
        (folder / "raw.bin").write_bytes(version)
        pushed(mine, ref, folder)
    (folder / "raw.bin").write_bytes(data + b"one more line\n")
    sent, foretold = pushed(mine, ref, folder)
    assert sent < 600_000
    assert abs(sent - foretold) < 10_000


def changed_file(person: Person, folder: Path) -> tuple[Home, Ref]:
    """Push two versions of a file, and return a home that has the first one."""
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("raw")
    data = random.Random(5).randbytes(6 << 20)
    folder.mkdir()
    for version in (data, data[: 2 << 20] + b"one more line\n" + data[2 << 20 :]):
        (folder / "raw.bin").write_bytes(version)
        (folder / "small.txt").write_bytes(version[:10])
        pushed(mine, ref, folder)
        if version is data:
            install(theirs, ref)
    return theirs, ref


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what came from registries."""
    sizes: list[int] = []
    noted = RegistrySession.received

    def note(self: RegistrySession, size: int) -> None:
        sizes.append(size)
        noted(self, size)

    monkeypatch.setattr(RegistrySession, "received", note)
    return sizes


def test_a_fetch_after_a_partial_install_costs_what_changed(
    person: Person, tmp_path: Path, received: list[int]
) -> None:
    """The state before is no longer current then."""
    theirs, ref = changed_file(person, tmp_path / "raw")
    received.clear()
    install_packages(theirs, [ref], selection=Selection(meta_only=True))
    (planned,) = fetch_packages(theirs, [ref], dry_run=True)
    assert planned.installed
    assert planned.installed.transfer
    assert planned.installed.transfer.bytes_moved < 600_000
    (outcome,) = fetch_packages(theirs, [ref])
    assert outcome.error is None
    assert sum(received) < 1_200_000  # the dry run asked for the chunk map as well
    assert verify(theirs, ref).damaged == []


@pytest.mark.parametrize("kind", ["file", "table"])
def test_reading_a_new_version_lazily_costs_what_changed(
    person: Person, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: list[int], kind: str
) -> None:
    if kind == "file":
        theirs, ref = changed_file(person, tmp_path / "raw")
    else:
        theirs, ref = person.home("theirs"), person.ref("table")
        pushed(person.home("mine"), ref, {"sales": frame})
        install(theirs, ref)
        frame = frame.copy()
        frame.loc[ROWS // 2, "price"] = 1.5
        pushed(person.home("mine"), ref, {"sales": frame})
    for name, value in person.environ("theirs").items():
        monkeypatch.setenv(name, value)
    received.clear()
    package = datapkg.open(f"{ref.package}@sha256:{find_installed(person.home('mine'), ref).hash}")
    if kind == "file":
        assert package["raw.bin"].path.read_bytes() == (tmp_path / "raw" / "raw.bin").read_bytes()
    else:
        assert package.sales().equals(frame)
    assert sum(received) < 600_000


def test_an_interrupted_install_of_a_large_object_goes_on(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had come before the process ended is not fetched again, though one request had asked for all of it."""
    monkeypatch.setattr(delta_fetch, "RESUMED_BYTES", 1 << 20)
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("large")
    (tmp_path / "large.bin").write_bytes(random.Random(1).randbytes(8 << 20))
    pushed(mine, ref, tmp_path / "large.bin")
    write = PartialObject.write

    def killed(self: PartialObject, start: int, data: bytes) -> None:
        if start >= 5 << 20:
            raise KeyboardInterrupt
        write(self, start, data)

    monkeypatch.setattr(PartialObject, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        install(theirs, ref)
    monkeypatch.setattr(PartialObject, "write", write)
    (planned,) = install_packages(person.home("theirs"), [ref], dry_run=True)
    assert planned.installed
    assert planned.installed.transfer
    received = install(person.home("theirs"), ref).bytes_received
    assert received < (4 << 20) + 100_000
    assert 0 <= received - planned.installed.transfer.bytes_moved < 100_000
    assert verify(theirs, ref).damaged == []
    assert list((theirs.store.folder / "partial").glob("*/*-*")) == []


def push_and_be_killed(mine: Home, ref: Ref, monkeypatch: pytest.MonkeyPatch) -> None:
    """Push, and end after 5 MiB of the large object have been sent."""
    pieces = remote_objects._pieces

    def killed(reader: HashingReader) -> Iterator[bytes]:
        for piece in pieces(reader):
            yield piece
            if reader.size_bytes >= 5 << 20:
                raise KeyboardInterrupt

    monkeypatch.setattr(remote_objects, "_pieces", killed)
    with pytest.raises(KeyboardInterrupt):
        push_package(mine, ref)
    monkeypatch.setattr(remote_objects, "_pieces", pieces)


def test_an_interrupted_push_of_a_large_object_goes_on(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_objects, "RESUMED_BYTES", 1 << 20)
    mine, ref = person.home("mine"), person.ref("large")
    data = random.Random(2).randbytes(8 << 20)
    (tmp_path / "large.bin").write_bytes(data)
    build_package(mine, ref, tmp_path / "large.bin")
    push_and_be_killed(mine, ref, monkeypatch)
    planned = push_package(person.home("mine"), ref, dry_run=True).transfer
    assert planned
    assert (planned.bytes_moved < (4 << 20) + 100_000, planned.bytes_saved > 4 << 20) == (True, True)
    assert push_package(person.home("mine"), ref).bytes_sent < (4 << 20) + 100_000
    theirs = person.home("theirs")
    install(theirs, ref)
    assert verify(theirs, ref).damaged == []
    manifest = theirs.store.manifest(find_installed(theirs, ref).hash)
    assert [theirs.store.objects.read(hash) for hash in manifest.objects()] == [data]


def test_an_interrupted_push_of_a_large_delta_goes_on(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an object that is largely new, its new bytes are not sent again either."""
    for module in (remote_objects, push_plan):
        monkeypatch.setattr(module, "RESUMED_BYTES", 1 << 20)
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("large")
    data = random.Random(4).randbytes(14 << 20)
    old = tmp_path / "large.bin"
    old.write_bytes(data[: 6 << 20])
    pushed(mine, ref, old)
    install(theirs, ref)
    new = data[6 << 20 : 10 << 20] + data[: 4 << 20] + data[10 << 20 :]
    old.write_bytes(new)
    build_package(mine, ref, old)
    push_and_be_killed(mine, ref, monkeypatch)
    planned = push_package(person.home("mine"), ref, dry_run=True).transfer
    assert planned
    sent = push_package(person.home("mine"), ref).bytes_sent
    assert (sent < (4 << 20) + 200_000, abs(planned.bytes_moved - sent) < 100_000) == (True, True)
    received = install(theirs, ref).bytes_received
    assert received < (9 << 20)
    assert verify(theirs, ref).damaged == []
    manifest = theirs.store.manifest(find_installed(theirs, ref).hash)
    assert [theirs.store.objects.read(hash) for hash in manifest.objects()] == [new]


def test_push_of_an_object_whose_other_upload_has_just_completed(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there when the push asked is an object now, and the rest has nothing to go on from."""
    monkeypatch.setattr(remote_objects, "RESUMED_BYTES", 1 << 20)
    monkeypatch.setattr(remote_objects.RegistryObjects, "_received", lambda *_: 1 << 20)
    mine, ref = person.home("mine"), person.ref("large")
    (tmp_path / "large.bin").write_bytes(random.Random(3).randbytes(3 << 20))
    build_package(mine, ref, tmp_path / "large.bin")
    pushed = push_package(mine, ref)
    theirs = person.home("theirs")
    install(theirs, ref)
    assert find_installed(theirs, ref).hash == pushed.hash
    assert verify(theirs, ref).damaged == []


def test_a_change_in_the_middle_is_stored_as_by_a_first_build(person: Person, tmp_path: Path) -> None:
    """How blocks are written depends on the first one, also where it did not change and later ones are unlike it."""
    rng = np.random.default_rng(6)
    values = np.where(np.arange(ROWS) < ROWS // 2, 1.25, rng.normal(size=ROWS))
    path, ref = tmp_path / "sales.csv", person.ref("table")
    pd.DataFrame({"id": np.arange(ROWS), "x": values}).to_csv(path, index=False)
    build_package(person.home("mine"), ref, path)
    values[ROWS * 9 // 10] = 7.0
    pd.DataFrame({"id": np.arange(ROWS), "x": values}).to_csv(path, index=False)
    for name in ("mine", "another"):
        build_package(person.home(name), ref, path)
    mine, another = (find_installed(person.home(name), ref).hash for name in ("mine", "another"))
    assert mine == another


def test_rows_in_front_cost_little_more_than_themselves(person: Person, frame: pd.DataFrame) -> None:
    """Pages end elsewhere then, yet the bytes of uncompressed ones are the same."""
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("table")
    numbers = frame.drop(columns="text")
    pushed(mine, ref, {"sales": numbers})
    whole = install(theirs, ref).bytes_received
    sent, foretold = pushed(mine, ref, {"sales": pd.concat([numbers[-500:], numbers], ignore_index=True)})
    assert sent < 0.12 * whole
    assert abs(sent - foretold) < 10_000
    assert install(theirs, ref).bytes_received < 0.15 * whole
    assert verify(theirs, ref).damaged == []


@pytest.mark.parametrize("size", [6 << 20, 18 << 20])
def test_a_changed_copy_beside_its_original_costs_what_changed(person: Person, tmp_path: Path, size: int) -> None:
    mine, theirs, ref, folder = person.home("mine"), person.home("theirs"), person.ref("raw"), tmp_path / "data"
    folder.mkdir()
    data = random.Random(7).randbytes(size)
    (folder / "raw.bin").write_bytes(data)
    (folder / "other.bin").write_bytes(random.Random(8).randbytes(2 << 20))
    pushed(mine, ref, folder)
    install(theirs, ref)
    (folder / "backup").mkdir()
    (folder / "backup" / "raw.old.bin").write_bytes(data[: 2 << 20] + b"one more line\n" + data[2 << 20 :])
    sent, foretold = pushed(mine, ref, folder)
    assert sent < 600_000
    assert abs(sent - foretold) < 10_000
    (planned,) = install_packages(theirs, [ref], dry_run=True)
    received = install(theirs, ref).bytes_received
    assert planned.installed
    assert planned.installed.transfer
    assert received < 900_000
    assert abs(received - planned.installed.transfer.bytes_moved) < 10_000
    assert verify(theirs, ref).damaged == []


def test_new_files_that_are_no_copies_are_sent_and_received_once(person: Person, tmp_path: Path) -> None:
    mine, theirs, ref, folder = person.home("mine"), person.home("theirs"), person.ref("raw"), tmp_path / "data"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.bin").write_bytes(random.Random(number).randbytes((1 << 20) + number))
        if number == 1:
            pushed(mine, ref, folder)
            install(theirs, ref)
    sent, _ = pushed(mine, ref, folder)
    assert 10 << 20 < sent < (10 << 20) + 20_000
    assert 10 << 20 < install(theirs, ref).bytes_received < (10 << 20) + 20_000
    assert verify(theirs, ref).damaged == []


def test_a_changed_copy_of_a_table_beside_it_costs_what_changed(person: Person, frame: pd.DataFrame) -> None:
    mine, theirs, ref = person.home("mine"), person.home("theirs"), person.ref("table")
    pushed(mine, ref, {"sales": frame})
    whole = install(theirs, ref).bytes_received
    sent, _ = pushed(mine, ref, {"sales": frame, "in euros": frame.assign(price=frame.price * 0.9)})
    assert sent < 8 * ROWS + 0.05 * whole
    assert install(theirs, ref).bytes_received < 8 * ROWS + 0.05 * whole
    assert verify(theirs, ref).damaged == []
