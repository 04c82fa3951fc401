"""Folders that are held open by descriptor, so that a link that is swapped in meanwhile leads nowhere else.

A path is resolved again at each use: between a check and a write, somebody may replace a folder by a link. The calls
here take one name at a time, relative to a descriptor, and follow no link (openat(2), `O_NOFOLLOW`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from datapkg.errors import Conflict
from datapkg.objects.files import beginning

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class OpenFolder:
    """A folder by its descriptor; `path` is what messages call it. The caller closes it."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def at(cls, path: Path) -> OpenFolder:
        """Open a folder that the user named; links in this path are followed, since the user wrote it."""
        return cls(os.open(path, _FOLDER), path)

    def __enter__(self) -> OpenFolder:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.descriptor)

    def names(self) -> list[str]:
        """Return the names of all entries."""
        return os.listdir(self.descriptor)

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of an entry, of a link its own; None if there is no such entry."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def folder(self, name: str) -> OpenFolder:
        """Open a folder in this one. Raise `Conflict` for a link, or for anything else that is not a folder."""
        try:
            return OpenFolder(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.descriptor), self.path / name)
        except OSError as error:
            # The error for a link differs between systems (ELOOP, EMLINK, ENOTDIR), so look at what is there.
            found = self.status(name)
            if found is not None and not stat.S_ISDIR(found.st_mode):
                raise not_a_folder(self.path / name) from error
            raise

    def make_folder(self, name: str) -> None:
        """Make a folder in this one; raise FileExistsError if the name is taken."""
        try:
            os.mkdir(name, dir_fd=self.descriptor)
        except OSError as error:
            error.filename = os.fspath(self.path / name)  # the system names only the last part
            raise

    @contextlib.contextmanager
    def below(self, parts: Sequence[str], *, make: bool = False) -> Iterator[OpenFolder]:
        """Open a folder some levels below, one level at a time; with `make`, those that are missing are made."""
        folder = self
        with contextlib.ExitStack() as stack:
            for part in parts:
                if make and folder.status(part) is None:
                    folder.make_folder(part)
                folder = stack.enter_context(folder.folder(part))
            yield folder

    def new_file(self, name: str) -> IO[bytes]:
        """Open a new file for writing; raise FileExistsError if the name is taken, by a link too."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # 0o666, unlike the files of the store: these belong to the user, whose umask decides.
        return os.fdopen(os.open(name, flags, 0o666, dir_fd=self.descriptor), "wb")

    def move(self, name: str, into: OpenFolder, new_name: str) -> None:
        """Move an entry, over a file or link of that name."""
        os.replace(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=into.descriptor)

    def write(self, name: str, data: bytes, mode: int) -> None:
        """Replace a file: readers see the old bytes or the new. A link of that name is replaced, not followed."""
        temp = f".{beginning(name)}-{secrets.token_hex(8)}"
        try:
            with self.new_file(temp) as file:
                file.write(data)
                os.fchmod(file.fileno(), mode)
            self.move(temp, self, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove_file(temp)
            raise

    def remove_file(self, name: str) -> None:
        """Remove a file, or a link itself."""
        os.unlink(name, dir_fd=self.descriptor)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder; one that is not empty stays."""
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=self.descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a folder with all that is in it, as far as possible, following no link."""
        with contextlib.suppress(OSError):
            shutil.rmtree(name, ignore_errors=True, dir_fd=self.descriptor)


def not_a_folder(path: Path) -> Conflict:
    """Return the error for a file or link where a folder is needed."""
    return Conflict(f"{path} is in the way: it is not a folder; nothing was written there", hint=f"move it: {path}")


@contextlib.contextmanager
def made_folders(path: Path) -> Iterator[None]:
    """Make a folder and those above it that are missing; remove those that were made if the block raises."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(path)  # raises for a path that is too long, before its thousands of parents are looked at
    missing = []
    for each in (path, *path.parents):
        if os.path.lexists(each):
            break
        missing.append(each)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise not_a_folder(path) from None
    except NotADirectoryError:
        raise not_a_folder(path.parent) from None
    try:
        yield
    except BaseException:
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise
