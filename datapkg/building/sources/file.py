"""Read local source files: open them safely, store them as objects, and detect changes while they are read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from datapkg.building.sources.base import KnownHashes, SourceHandler
from datapkg.building.spec.model import FileSource, FilesSource
from datapkg.errors import BuildFailed, exhausted
from datapkg.format.hashing import hash_bytes
from datapkg.format.texts import quoted
from datapkg.objects.base import Writable
from datapkg.objects.files import is_sealed, naming

SMALL_BYTES = 1 << 20


class FileHandler(SourceHandler[FileSource]):
    """A file on this machine."""

    def local_file(self, source: FileSource) -> FileSource:
        """Return the file itself."""
        return source

    def hash_now(self, source: FileSource, cache: KnownHashes) -> str:
        """Return the hash of the bytes."""
        return known_hash(source, cache)[0]


def known_hash(source: FileSource, cache: KnownHashes) -> tuple[str, int]:
    """Return hash and size of a file, which is read only if it changed since it was last hashed.

    Raise `BuildFailed` for a file that cannot be read.
    """
    if known := cache.hash_of(source.path):
        return known
    at = time.time_ns()
    with open_source(source.path, source.shown, source.within) as stream:
        status = os.fstat(stream.fileno())
        hash, size = hash_source(stream)
    cache.record_hash(source.path, status, at, hash)
    return hash, size


@contextmanager
def open_source(path: str | os.PathLike[str], name: str, within: Path | None = None) -> Iterator[BinaryIO]:
    """Yield an unbuffered stream of a regular file; `name` is its name in messages.

    Raise `BuildFailed` if the file is missing, not readable, not regular, outside of `within`, or changed before the
    block ends.
    """
    try:
        # O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        what = f"{quoted(name)} cannot be read: {error.strerror}"
        raise exhausted(error) or BuildFailed(what, path=name) from error
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise BuildFailed(f"{quoted(name)} is not a regular file", path=name)
        if within is not None and not _is_within(descriptor, path, within):
            raise BuildFailed(f"{quoted(name)} leads out of the folder now", hint="look at its links", path=name)
        with naming(os.fspath(path)):
            yield stream
        try:
            after = os.stat(path)
        except OSError:
            raise _changed(name) from None
        if _signature(before) != _signature(after):
            raise _changed(name)


def _is_within(descriptor: int, path: str | os.PathLike[str], folder: Path) -> bool:
    """Return whether the opened file is inside a folder, even if links on its path were changed meanwhile."""
    try:
        real = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # not Linux
        real = os.path.realpath(path)
    return real.startswith(os.path.realpath(folder).rstrip("/") + "/")


def stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    """Return what tells a file from another one, or from itself before a change, on all machines that see it."""
    # An output or a download is at a path of its hash: another build may put the same bytes there, in a new file.
    number = 0 if is_sealed(status) else status.st_ino
    return number, status.st_size, status.st_mtime_ns


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, *stamp_of(status)


def _changed(name: str) -> BuildFailed:
    return BuildFailed(
        f"{quoted(name)} changed while it was read", hint="build again when nothing writes to it", path=name
    )


def put_file(stream: BinaryIO, objects: Writable) -> tuple[str, int]:
    """Store the bytes of an open file; return hash and size."""
    start = stream.read(SMALL_BYTES)
    # A short read need not be the end: the stream is not buffered.
    if len(start) < SMALL_BYTES and not stream.read(1):
        return objects.put_bytes(start), len(start)
    stream.seek(0)
    hash = objects.put(stream)
    return hash, stream.tell()


def hash_source(stream: BinaryIO) -> tuple[str, int]:
    """Return hash and size of an open file, and rewind it."""
    hash = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # a raw file
    size = stream.tell()
    stream.seek(0)
    return hash, size


def hash_file(source: FileSource) -> str:
    """Read a file and return its hash."""
    with open_source(source.path, source.shown, source.within) as stream:
        return hash_source(stream)[0]


def files_hash(source: FilesSource, hashes: Sequence[str]) -> str:
    """Return the hash of several files, computed from the name and hash of each."""
    names = [each.shown for each in source.files]
    return hash_bytes(json.dumps(list(zip(names, hashes, strict=True))).encode("utf-8", "surrogateescape"))
