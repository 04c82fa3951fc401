"""The folder as a home of bytes under keys: the contract, and what only a file system does."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datapkg.errors import Refused
from datapkg.objects.blobs.folder import FolderBlobs
from tests.blob_contract import KEY, BlobsContract
from tests.fresh_process import ROOT


class TestFolder(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FolderBlobs:  # type: ignore[override]
        return FolderBlobs(tmp_path / "registry")


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "registry")


def test_nothing_temporary_is_left(blobs: FolderBlobs) -> None:
    assert blobs.create(KEY, b"a")
    assert not blobs.create(KEY, b"b")
    blobs.put("heads.json", io.BytesIO(b"c"))
    assert blobs.can_create
    assert os.listdir(blobs.folder / "tmp") == []


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on another disk than the temporary folders of tests."""
    here = os.stat(tmp_path).st_dev
    found = (each for each in ("/dev/shm", "/tmp", ROOT) if Path(each).is_dir() and os.stat(each).st_dev != here)
    if not (disk := next(found, None)):
        pytest.skip("this machine has one file system")
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        yield Path(folder)


def test_folders_may_be_links_to_another_disk(blobs: FolderBlobs, other_disk: Path, tmp_path: Path) -> None:
    blobs.folder.mkdir()
    (blobs.folder / "packs").symlink_to(other_disk)
    assert blobs.create("packs/new", b"a")
    assert not blobs.create("packs/new", b"b")
    blobs.put("packs/deep/er", io.BytesIO(b"b"))
    (tmp_path / "made").write_bytes(b"c")
    blobs.take("packs/taken", tmp_path / "made")
    blobs.rename("packs/taken", "trash/packs/taken")
    blobs.rename("trash/packs/taken", "packs/back")
    assert {each.key for each in blobs.list()} == {"packs/new", "packs/deep/er", "packs/back"}
    assert [blobs.read(f"packs/{name}", 9) for name in ("new", "deep/er", "back")] == [b"a", b"b", b"c"]
    assert not [each for each in other_disk.rglob("*") if each.name.startswith(".")]
    (other_disk / ".blob-left").touch()
    assert len(list(blobs.list("packs/"))) == 3


def test_the_umask_says_who_may_read(blobs: FolderBlobs) -> None:
    before = os.umask(0o022)
    try:
        blobs.put(KEY, io.BytesIO(b"a"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(blobs.path(KEY).stat().st_mode) == 0o444
    assert stat.S_IMODE(blobs.path(KEY).parent.stat().st_mode) == 0o755


def test_folders_are_open_to_the_group_as_a_shared_one_above(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "registry")
    blobs.folder.mkdir()
    blobs.folder.chmod(0o2775)
    blobs.put(KEY, io.BytesIO(b"a"))
    for folder in (blobs.path(KEY).parent, blobs.folder / "tmp"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2775


def test_a_file_system_without_links_refuses(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*given: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert not blobs.can_create
    with pytest.raises(Refused, match="has no hard links"):
        blobs.create(KEY, b"a")
    assert blobs.size(KEY) is None


def test_a_link_whose_answer_was_lost_is_a_success(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def twice(source: Any, target: Any) -> None:  # as NFS does when it sends a request again
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert blobs.create(KEY, b"a")
    assert blobs.read(KEY, 10) == b"a"


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(*given: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    blobs = FolderBlobs(tmp_path / "registry")
    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(Refused, match="you may not write to"):
        blobs.put(KEY, io.BytesIO(b"a"))


def test_folders_behind_links_are_listed_once(blobs: FolderBlobs, tmp_path: Path) -> None:
    blobs.put("packages/ada/a", io.BytesIO(b"a"))
    (blobs.folder / "packages").rename(tmp_path / "disk")
    (blobs.folder / "packages").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "ada" / "up").symlink_to(tmp_path / "disk")
    assert [each.key for each in blobs.list()] == ["packages/ada/a"]
    assert [each.key for each in blobs.list("packages/")] == ["packages/ada/a"]


@pytest.mark.parametrize("change", ["put", "create", "delete", "rename"])
def test_a_change_that_the_system_refuses(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    blobs.put("old", io.BytesIO(b"a"))

    def refuse(*given: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("mkdir", "replace", "rename", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(Path, "unlink", refuse if change == "delete" else lambda *given, **options: None)
    act = {
        "put": lambda: blobs.put(KEY, io.BytesIO(b"b")),
        "create": lambda: blobs.create(KEY, b"b"),
        "delete": lambda: blobs.delete("old"),
        "rename": lambda: blobs.rename("old", KEY),
    }[change]
    with pytest.raises(Refused, match=r"you may not write to .*: Read-only file system"):
        act()
    assert blobs.read("old", 10) == b"a"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_names_the_file(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.folder.mkdir()
    new_file = lambda path, mode: Path("/dev/full").open("wb")  # noqa: E731, SIM115 - put closes it
    monkeypatch.setattr("datapkg.objects.blobs.folder.new_file", new_file)
    with pytest.raises(OSError, match="No space left on device") as error:
        blobs.put(KEY, io.BytesIO(b"a"))
    assert str(error.value.filename).startswith(str(blobs.folder / "tmp"))
