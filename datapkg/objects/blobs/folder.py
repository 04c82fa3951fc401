"""Bytes under keys as the files of a folder, which many machines may share (NFS, SMB, a mounted bucket)."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, BinaryIO, cast

from datapkg.errors import DatapkgError, Refused
from datapkg.objects.blobs.base import BlobInfo, Blobs, absent, check_key
from datapkg.objects.directory import READ_BUFFER_BYTES, Window
from datapkg.objects.files import (
    UNWRITABLE,
    NamedFile,
    is_shared,
    naming,
    new_file,
    rename,
    sync_file,
    sync_folder,
    temp_path,
)

TMP = "tmp"
HIDDEN = ".blob"
"""What temporary names begin with; no key has a part that begins with a dot."""
FILE_MODE = 0o444
"""Files are never changed in place, only replaced. The umask decides who may read them."""
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}
# Below a file, or in /proc, no folder can be made.
_UNUSABLE = UNWRITABLE | {errno.ENOENT, errno.ENOTDIR}
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FolderBlobs(Blobs):
    """The files below a folder; half-written ones are in its `tmp`.

    A new file is written there, synced, and then gets its name: by rename(2) over what was there, or by link(2), which
    fails where the name is taken. So there is no lock that a killed process could leave behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def path(self, key: str) -> Path:
        """Return the file of a key."""
        return self.folder / check_key(key)

    @cached_property
    def can_create(self) -> bool:
        """Whether the file system has links; tried once, with a file that is removed again."""
        with self._new_file() as (temp, _):
            try:
                os.link(temp, other := temp.with_suffix(".link"))
            except OSError as error:
                if error.errno in _NO_LINKS:
                    return False
                raise
            other.unlink()
        return True

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        try:
            raw = NamedFile(self.path(key))
        except _ABSENT:
            raise absent(key, self.url) from None
        raw.seek(start)
        window = raw if stop is None else Window(raw, stop - start)
        return cast(BinaryIO, io.BufferedReader(window, READ_BUFFER_BYTES))

    def size(self, key: str) -> int | None:
        try:
            found = os.stat(self.path(key))
        except _ABSENT:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def create(self, key: str, data: bytes) -> bool:
        target = self.path(key)
        with self._new_file(target) as (temp, file):
            file.write(data)
            sync_file(file)
            self._make_folder(target.parent)
            try:
                os.link(temp, target)
            except FileExistsError:
                return _is_link(temp, target)
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise Refused(
                        f"the file system of {self.folder} has no hard links, by which pushers decide who was first"
                    ) from error
                raise
            sync_folder(target.parent)
        return True

    def put(self, key: str, stream: BinaryIO) -> None:
        target = self.path(key)
        with self._new_file(target) as (temp, file):
            shutil.copyfileobj(stream, file, READ_BUFFER_BYTES)
            # Before the rename: otherwise a crash may leave the name on an empty file.
            sync_file(file)
            with self._changing():
                self._make_folder(target.parent)
                rename(temp, target)
        sync_folder(target.parent)

    def delete(self, key: str) -> None:
        with self._changing(), contextlib.suppress(*_ABSENT):
            self.path(key).unlink()

    def copy(self, key: str, target: str) -> None:
        with self.open(key) as stream:
            self.put(target, stream)

    def rename(self, key: str, target: str) -> None:
        place = self.path(target)
        try:
            with self._changing():
                self._make_folder(place.parent)
                os.replace(self.path(key), place)
        except _ABSENT:
            raise absent(key, self.url) from None
        except OSError as error:
            if error.errno != errno.EXDEV:  # a part of the registry is a link to another disk
                raise
            super().rename(key, target)
        sync_folder(place.parent)

    def take(self, key: str, path: Path) -> None:
        target = self.path(key)
        self._make_folder(target.parent)
        with open(path, "rb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            sync_file(file)
        try:
            os.replace(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            super().take(key, path)
        sync_folder(target.parent)

    def remove_empty(self, prefix: str) -> None:
        for folder, _, _ in os.walk(self.folder / prefix, topdown=False):
            # Removing is the test: a folder that is not empty, or just got a file, refuses.
            with contextlib.suppress(OSError):
                os.rmdir(folder)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        top = self.folder / prefix
        seen = set[str]()
        # Parts of a registry may be links to another disk; what is below them must not look as if it were absent.
        for folder, folders, names in os.walk(top, followlinks=True, onerror=_raise_unless_absent):
            if Path(folder) == self.folder and TMP in folders:
                folders.remove(TMP)
            if (real := os.path.realpath(folder)) in seen:  # a link to a folder above
                folders.clear()
                continue
            seen.add(real)
            for name in (each for each in names if not each.startswith(HIDDEN)):
                path = Path(folder, name)
                try:
                    found = path.stat()
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ELOOP):
                        raise
                    # Deleted since its folder was read, or a link that leads nowhere.
                    continue
                key = path.relative_to(self.folder).as_posix()
                # A rename or a link renews ctime but not mtime, and the grace period of the sweep counts from it.
                yield BlobInfo(key, found.st_size, datetime.fromtimestamp(found.st_ctime, UTC))

    @contextmanager
    def _new_file(self, target: Path | None = None) -> Iterator[tuple[Path, IO[bytes]]]:
        """Open a temporary file on the disk of `target` for writing; what the block leaves of it is removed."""
        with self._changing(_UNUSABLE):
            self._make_folder(self.folder / TMP)
            temp = temp_path(self._temporary(target), HIDDEN)
            file = new_file(temp, mode=FILE_MODE)
        try:
            with naming(temp), file:  # closing writes what is left
                yield temp, file
        finally:
            temp.unlink(missing_ok=True)

    def _temporary(self, target: Path | None) -> Path:
        """Return the folder for a temporary file that is to get this name: near it, if that is on another disk."""
        usual = self.folder / TMP
        if target is None:
            return usual
        near = next(each for each in target.parents if each.is_dir())
        return usual if os.stat(near).st_dev == os.stat(usual).st_dev else near

    @contextmanager
    def _changing(self, refusals: AbstractSet[int] = UNWRITABLE) -> Iterator[None]:
        """Inside, the system's refusal of a change is `Refused`."""
        try:
            yield
        except OSError as error:
            if error.errno not in refusals or isinstance(error, DatapkgError):
                raise
            raise Refused(
                f"you may not write to {self.folder}: {error.strerror}", hint="name a folder that you may write to"
            ) from error

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, with the rights of the umask, or of a shared one above; durably."""
        if folder.is_dir():
            return
        if folder.parent != folder:
            self._make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
            # mkdir applies the umask, which would remove the group's right to write.
            if is_shared(folder.parent):
                os.chmod(folder, stat.S_IMODE(os.stat(folder.parent).st_mode))
        # The entry of a folder is in its parent: without this sync a crash may lose it with all its files.
        sync_folder(folder.parent)


def _raise_unless_absent(error: OSError) -> None:
    """Raise where a folder cannot be listed: a list that lacks what is there would have it deleted."""
    if not isinstance(error, _ABSENT):
        raise error


def _is_link(temp: Path, target: Path) -> bool:
    """Return whether a name is a link to this file: where an answer is lost, NFS may call its own link a taken name."""
    try:
        return os.path.samestat(os.lstat(temp), os.lstat(target))
    except FileNotFoundError:
        return False
