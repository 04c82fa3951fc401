"""Disks that are full, before a transfer and half-way, on both sides: what is lacking is said, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.errors import DiskFull
from datapkg.format.hashing import hash_bytes
from datapkg.home import Home
from tests.conftest import Person
from tests.live_registry import live_registry

MB = 1_000_000
needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[Path]:
    """Mount an empty disk of this size at a folder."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts no disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def taken(disk: Path, left: int) -> Iterator[None]:
    """Inside, a file of somebody else leaves so much room on a disk."""
    status = os.statvfs(disk)
    with (disk / "other").open("wb") as file:
        file.write(bytes(max(0, status.f_bavail * status.f_frsize - left)))
    yield
    (disk / "other").unlink()


def build(home: Home, person: Person, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(4):
        (source / f"{number}.bin").write_bytes(os.urandom(2 * MB))
    build_package(home, person.ref("p"), source)


@needs_mounts
def test_install_says_what_is_lacking_and_goes_on_with_room(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(person.home(), person, tmp_path)
    push_package(person.home(), person.ref("p"))
    with small_disk(tmp_path / "disk", 24) as disk:
        home = Home({**person.home().settings.environ, "DATAPKG_HOME": str(disk / "home")})
        with home.store.writing(), taken(disk, 3 * MB):
            (outcome,) = install_packages(home, [person.ref("p")])
            assert isinstance(outcome.error, DiskFull)
            assert 4 * MB < outcome.error.detail["lacking"] < 6 * MB
            assert not list(home.store.objects)
            with monkeypatch.context() as patch:  # it fills up only afterwards
                patch.setattr("datapkg.api.install.check_space", lambda *_: None)
                (outcome,) = install_packages(home, [person.ref("p")])
            assert isinstance(outcome.error, DiskFull), outcome.error
            assert "bytes are still to be written" in outcome.error.message
            assert 1 * MB < outcome.error.detail["lacking"] <= 8 * MB
            assert verify(home).damaged == []
            assert home.store.refs.current(person.ref("p")) is None
        assert install_packages(home, [person.ref("p")])[0].installed
        assert verify(home).damaged == []


@needs_mounts
@pytest.mark.parametrize("is_noticed_before", [True, False])
def test_registry_with_a_full_disk_refuses_and_takes_the_push_with_room(
    person: Person, tmp_path: Path, is_noticed_before: bool
) -> None:
    room = 1_000_000 if is_noticed_before else 0
    with (
        small_disk(tmp_path / "disk", 32) as disk,
        live_registry(disk, DATAPKG_REGISTRY_MIN_FREE_BYTES=str(room)) as registry,
    ):
        connection = {"DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": registry.add_user("me")}
        home = Home({**person.home().settings.environ, **connection, "DATAPKG_HOME": str(tmp_path / "home")})
        ref = person.ref("p").__class__("me", "p")
        source = tmp_path / "source"
        source.mkdir()
        (source / "big.bin").write_bytes(os.urandom(8 * MB))
        build_package(home, ref, source)
        with taken(disk, 4 * MB), pytest.raises(DiskFull) as caught:
            push_package(home, ref)
        assert "the registry has no " in caught.value.message
        assert push_package(home, ref).changed
        other = Home({**home.settings.environ, "DATAPKG_HOME": str(tmp_path / "other")})
        assert install_packages(other, [ref])[0].installed


@needs_mounts
def test_interrupted_upload_needs_room_for_the_rest_only(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datapkg.remote.objects.RESUMED_BYTES", MB)
    with (
        small_disk(tmp_path / "disk", 32) as disk,
        live_registry(disk, DATAPKG_REGISTRY_MIN_FREE_BYTES="0") as registry,
    ):
        connection = {"DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": registry.add_user("me")}
        home = Home({**person.home().settings.environ, **connection, "DATAPKG_HOME": str(tmp_path / "home")})
        ref, source, data = person.ref("p").__class__("me", "p"), tmp_path / "source", os.urandom(12 * MB)
        source.mkdir()
        (source / "big.bin").write_bytes(data)
        build_package(home, ref, source)
        begun = registry.data / "tmp" / f"upload-1-{hash_bytes(data)}"
        begun.parent.mkdir(exist_ok=True)
        begun.write_bytes(data[: 8 * MB])  # as an interrupted upload leaves it
        with taken(disk, 6 * MB):
            assert push_package(home, ref).bytes_sent < 5 * MB


def test_upload_that_the_disk_cannot_take_is_refused_before_it_begins(person: Person, tmp_path: Path) -> None:
    with live_registry(tmp_path, DATAPKG_REGISTRY_MIN_FREE_BYTES=str(1 << 60)) as registry:
        connection = {"DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": registry.add_user("me")}
        home = Home({**person.home().settings.environ, **connection, "DATAPKG_HOME": str(tmp_path / "home")})
        client, ref = home.client(), person.ref("p").__class__("me", "p")
        push = client.start_push(ref, "0" * 64, []).push
        with pytest.raises(DiskFull, match="no room for 1,040 more bytes; nothing was stored"):
            client.objects(ref, push).put_many([b"x" * 1_000])


@needs_mounts
def test_build_is_refused_before_it_begins_if_its_files_have_no_room(person: Person, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        home = Home({**person.home().settings.environ, "DATAPKG_HOME": str(disk / "home")})
        with home.store.writing(), taken(disk, 3 * MB):
            with pytest.raises(DiskFull, match="the build needs 8,000,000 bytes more") as caught:
                build(home, person, tmp_path)
            assert 4 * MB < caught.value.detail["lacking"] < 6 * MB
            assert list(home.store.objects) == []
        assert build_package(home, person.ref("p"), tmp_path / "source").built == 4


def test_build_of_a_table_that_cannot_fit_does_not_begin(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ref, path = person.home(), person.ref("p"), tmp_path / "t.csv"
    path.write_text("a\n" + "1234567\n" * 100_000)
    os.utime(path, (1_000_000_000, 1_000_000_000))  # the stat of a file that was just written proves nothing
    with monkeypatch.context() as patch:
        patch.setattr("datapkg.objects.free_space.free_bytes", lambda _: 20_000)
        with pytest.raises(DiskFull, match=r"the build \(about 50.0 kB of it for tables\) needs 50,000") as caught:
            build_package(home, ref, path)
        assert caught.value.detail["lacking"] == 30_000
        assert list(home.store.objects) == []
    build_package(home, ref, path)
    assert build_package(home, ref, path).reused == 1
    with monkeypatch.context() as patch:
        patch.setattr("datapkg.objects.free_space.free_bytes", lambda _: 20_000)
        build_package(home, ref, path)
