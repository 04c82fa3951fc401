"""The file operations of a mounted package: the folders and files of a `FileTree`, read-only.

libfuse calls these operations from its own threads, through mfusepy, which only needs their names.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import BinaryIO

from datapkg.errors import CorruptObject, DatapkgError
from datapkg.format.names import normal_form
from datapkg.reading.files.tree import Entry, FileTree

FILE_MODE = stat.S_IFREG | 0o444
FOLDER_MODE = stat.S_IFDIR | 0o555
READ_BYTES = 128 << 10  # the kernel's read-ahead, reported to programs as the block size
BLOCK_BYTES = 4096  # the unit in which `statfs` states the size, for `df`
KEPT_ENTRIES = 500_000

Tell = Callable[[str, DatapkgError], None]


class MountedTree:
    """The operations of a mount, each of which returns or raises OSError; all files have the same time.

    What cannot be read, or is corrupt, is EIO, and `tell` is called with its path and the reason; the next read
    retries. `ready` is called once the kernel has its answer.
    """

    use_ns = True

    def __init__(self, tree: FileTree, mtime_ns: int, tell: Tell) -> None:
        self.ready: Callable[[], None] = lambda: None
        self._tree = tree
        self._tell = tell
        self._root = tree.look("")
        self._folders: dict[str, dict[str, Entry]] = {}
        self._files: dict[int, _OpenFile] = {}
        self._handles = itertools.count(1)
        times = dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), mtime_ns)
        self._common = {"st_uid": os.getuid(), "st_gid": os.getgid(), "st_blksize": READ_BYTES, "st_nlink": 1, **times}

    def init(self, _: str) -> None:
        """Report that the folder is mounted; libfuse calls this first."""
        self.ready()

    # There is no `getxattr` or `listxattr`: with them, `ls -l` asks several times for each file.
    def getattr(self, path: str, _: int | None = None) -> dict[str, int]:
        return self._status(self._look(path))

    def readdir(self, path: str, _: int) -> Iterator[tuple[str, dict[str, int], int]]:
        yield ".", self._status(self._root), 0
        yield "..", self._status(self._root), 0
        for name, entry in self._folder(path.strip("/")).items():
            yield name, self._status(entry), 0

    def open(self, path: str, flags: int) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise _refusal(errno.EROFS)
        entry = self._look(path)
        with self._answering(path):
            # Not at the first read: damage is an error of `open` then, not a signal for a program that maps the file.
            file = _OpenFile(self._tree, path, entry.size)
        handle = next(self._handles)
        self._files[handle] = file
        return handle

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        with self._answering(path):
            return self._files[handle].read(size, offset)

    def release(self, _: str, handle: int) -> int:
        self._files.pop(handle).close()
        return 0

    def statfs(self, _: str) -> dict[str, int]:
        return {"f_bsize": BLOCK_BYTES, "f_frsize": BLOCK_BYTES, "f_blocks": self._blocks, "f_namemax": 255}

    def destroy(self, _: str) -> None:
        """Close all files; libfuse calls this last, even if programs still have files open."""
        while self._files:
            self._files.popitem()[1].close()

    @cached_property
    def _blocks(self) -> int:
        return -(-sum(self._tree.source.manifest.objects(self._tree.top).values()) // BLOCK_BYTES)

    def _status(self, entry: Entry) -> dict[str, int]:
        if entry.is_folder:
            return {**self._common, "st_mode": FOLDER_MODE}
        return {**self._common, "st_mode": FILE_MODE, "st_size": entry.size, "st_blocks": -(-entry.size // 512)}

    def _look(self, path: str) -> Entry:
        """Return what is at a path, without computing close names for the error."""
        folder, _, name = normal_form(path).strip("/").rpartition("/")
        if not name:
            return self._root
        entry = self._folder(folder).get(name)
        if entry is None:
            raise _refusal(errno.ENOENT)
        return entry

    def _folder(self, path: str) -> dict[str, Entry]:
        folder = self._folders.get(path)
        if folder is None:
            entry = self._look(path)
            if not entry.is_folder:
                raise _refusal(errno.ENOTDIR)
            with self._answering(path):
                folder = {each.name: each for each in self._tree.listing(path)}
            # Of a copy: other threads of libfuse add folders meanwhile.
            if sum(map(len, list(self._folders.values()))) + len(folder) > KEPT_ENTRIES:
                self._folders = {}
            self._folders[path] = folder
        return folder

    @contextmanager
    def _answering(self, path: str) -> Iterator[None]:
        """Report an error with the bytes of a path, and raise EIO for the program that reads."""
        try:
            yield
        except OSError as error:
            if isinstance(error, DatapkgError):
                self._tell(self._tree.shown(path), error)
            elif error.errno:
                raise
            raise _refusal(errno.EIO) from error
        except DatapkgError as error:
            self._tell(self._tree.shown(path), error)
            raise _refusal(errno.EIO) from error


class _OpenFile:
    """One open file: its stream, reopened after a failed read, and a lock, since reads may overlap."""

    def __init__(self, tree: FileTree, path: str, size: int) -> None:
        self._tree = tree
        self._path = path.strip("/")
        self._size = size
        self._lock = Lock()
        self._stream: BinaryIO | None = self._opened()

    def read(self, size: int, offset: int) -> bytes:
        """Return `size` bytes from `offset`, or as many as there are; never fewer."""
        wanted = max(0, min(size, self._size - offset))
        with self._lock:
            if self._stream is None:
                self._stream = self._opened()
            try:
                self._stream.seek(offset)
                data = self._stream.read(wanted)
                if len(data) != wanted:
                    raise CorruptObject(f"it ends after {offset + len(data):,} of {self._size:,} bytes")
            except (DatapkgError, OSError):
                self._close()
                raise
        return data

    def close(self) -> None:
        with self._lock:
            self._close()

    def _opened(self) -> BinaryIO:
        """Open the stream; fetch missing objects whole, since only a whole object can be verified by its hash."""
        return self._tree.open(self._path, whole=True)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _refusal(number: int) -> OSError:
    return OSError(number, os.strerror(number))
