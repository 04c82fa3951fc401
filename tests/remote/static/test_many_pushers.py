"""Many machines push at once, and some are killed: no push is lost, and every state is whole."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from datapkg.errors import Refused
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.blobs.base import BlobInfo
from datapkg.remote.static.client import StaticClient
from tests.fresh_process import ROOT, FreshProcess
from tests.object_stores import AZURITE, CEPH, SWIFT, ObjectStore
from tests.static_registry import Static


def push_at_once(environ: Mapping[str, str], folder: Path, processes: int, pushes: int, kills: int) -> None:
    """Run so many pushers at a registry to their end; those that are killed are taken over by others."""
    folder.mkdir()
    chance = random.Random(0)

    def start(number: int) -> FreshProcess:
        words = ["-m", "tests.remote.static.pusher", str(number), str(pushes), str(folder)]
        home = {"DATAPKG_HOME": str(folder / f"home{number}")}
        return FreshProcess(words, cwd=ROOT, env={**os.environ, **environ, **home})

    running = {number: start(number) for number in range(processes)}
    while running:
        time.sleep(0.2 + chance.random())
        for number, process in list(running.items()):
            if process.poll() is not None:
                _, errors = running.pop(number).communicate(60)
                assert process.returncode == 0, errors
        if running and kills:
            kills -= 1
            number = chance.choice(list(running))
            running[number].send_signal(9)
            running.pop(number).communicate(60)
            running[number] = start(number)


def acknowledged(folder: Path) -> dict[str, set[str]]:
    """Return the states of each package whose push was acknowledged."""
    found: dict[str, set[str]] = {}
    for path in folder.glob("*.txt"):
        for line in path.read_text().splitlines():
            package, hash = line.split()
            found.setdefault(package, set()).add(hash)
    return found


def check_registry(client: StaticClient, pushed: Mapping[str, set[str]], kills: int) -> None:
    """Assert that the logs have all that was pushed, in one line, and that each byte of each state is right.

    A push is in a log twice only where its pusher was killed after it, and the next one repeated it behind another.
    """
    repeated = 0
    assert {each.package for each in client.packages()} == pushed.keys()
    for package, states in pushed.items():
        ref = Ref.parse(package)
        entries = list(client.log(ref))
        assert {each.hash for each in entries} >= states, f"pushes to {package} were lost"
        repeated += len(entries) - len({each.hash for each in entries})
        for before, after in zip(entries[1:], entries, strict=False):
            assert after.parent == before.hash
        assert client.resolve(ref).hash == entries[0].hash
        objects = client.objects(ref)
        for entry in entries:
            manifest = read_manifest(client.manifest(ref, entry.hash), entry.hash)
            for hash, data in objects.read_many(manifest.objects()):
                assert hash_bytes(data) == hash
    assert repeated <= kills


def at_once(environ: Mapping[str, str], folder: Path, processes: int, pushes: int, kills: int) -> None:
    """Push at once, and look at what is there then from a machine that saw nothing of it."""
    push_at_once(environ, folder, processes, pushes, kills)
    client = Home({**environ, "DATAPKG_HOME": str(folder / "reader")}).client()
    assert isinstance(client, StaticClient)
    pushed = acknowledged(folder)
    assert sum(map(len, pushed.values())) == processes * pushes
    check_registry(client, pushed, kills)


def in_bucket(store: ObjectStore) -> dict[str, str]:
    """Return the environment of machines with a registry in a new bucket."""
    return {**store.environment, "DATAPKG_REGISTRY": store.new_bucket("some/prefix")}


@pytest.mark.slow
def test_a_few_at_once(static: Static, tmp_path: Path) -> None:
    at_once({"DATAPKG_REGISTRY": static.url}, tmp_path / "run", processes=4, pushes=5, kills=3)
    temporary = list((static.folder / "tmp").iterdir())
    assert len(temporary) <= 3, "only a process that was killed leaves a temporary file"


@pytest.mark.slow
@pytest.mark.needs(*AZURITE)
def test_a_few_at_once_in_a_container(azurite: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    azurite.set_environment(monkeypatch)
    at_once(in_bucket(azurite), tmp_path / "run", processes=3, pushes=4, kills=2)


@pytest.mark.big
@pytest.mark.timeout(3600)
def test_eight_at_once(static: Static, tmp_path: Path) -> None:
    at_once({"DATAPKG_REGISTRY": static.url}, tmp_path / "run", processes=8, pushes=100, kills=40)


@pytest.mark.big
@pytest.mark.timeout(3600)
@pytest.mark.needs(*AZURITE)
def test_eight_at_once_in_a_container(azurite: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    azurite.set_environment(monkeypatch)
    at_once(in_bucket(azurite), tmp_path / "run", processes=8, pushes=100, kills=40)


@pytest.mark.big
@pytest.mark.timeout(3600)
@pytest.mark.needs(*CEPH)
def test_eight_at_once_in_a_bucket(ceph: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ceph.set_environment(monkeypatch)
    at_once(in_bucket(ceph), tmp_path / "run", processes=8, pushes=100, kills=40)


@pytest.mark.big
@pytest.mark.needs(*SWIFT)
def test_a_store_with_two_winners_is_not_pushed_to(
    swift: ObjectStore, static: Static, monkeypatch: pytest.MonkeyPatch
) -> None:
    swift.set_environment(monkeypatch)
    with pytest.raises(Refused, match="cannot tell which of two pushers was first"):
        static.push(Ref("ada", "iris"), "1", registry=swift.new_bucket())


def test_another_pusher_may_make_the_registry_meanwhile(static: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = static.client("first"), static.client("second")
    listed = first._raw.list

    def after_the_other(prefix: str = "") -> Iterator[BlobInfo]:
        second.begin()
        return listed(prefix)

    monkeypatch.setattr(first._raw, "list", after_the_other)
    first.begin()
    assert [*static.files()] == ["datapkg-registry.json"]
