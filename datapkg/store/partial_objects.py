"""Partial objects: sparse files, each with a list at its end of the byte ranges that it holds.

A partial object is mapped into memory like a complete one, so no reader of Parquet needs to know the difference. Data
and list are one file, so they can never be from two moments; bytes are on the disk before the list records them. Losing
the list, or a part of it, only means fetching again. When all ranges are present, the file is hashed and becomes an
object, or is deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from datapkg.errors import DatapkgError, DiskFull, Refused, exhausted
from datapkg.format.hashing import check_hash, hash_bytes, is_hash
from datapkg.objects.files import NO_ROOM
from datapkg.store.byte_ranges import ByteRanges, Stretch

_RECORD = struct.Struct("<QQI")  # start, stop, and the CRC-32 of both: a truncated record is not mistaken for another


class PartialObjects:
    """A folder of objects that are partly here; many processes may read and write at once.

    Bytes from one registry prove nothing about another, so each has its own folder, by the hash of its `origin`.
    """

    def __init__(self, folder: Path, origin: str) -> None:
        self.folder = Path(folder) / hash_bytes(origin.encode())[:16]

    def part(self, hash: str, size: int) -> PartialObject:
        """Return the partial object, which the caller closes; one with a torn list is recreated."""
        with keeping(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_sealed(self._path(hash, size)):  # a process was killed just before it became an object
                self.drop(hash, size)
            part = PartialObject(self._path(hash, size), size)
            if part.is_torn:
                part.close()
                self.drop(hash, size)
                part = PartialObject(self._path(hash, size), size)
            return part

    def has(self, hash: str, size: int) -> bool:
        """Return whether something of an object may be here."""
        return self._path(hash, size).exists()

    def _path(self, hash: str, size: int) -> Path:
        return self.folder / f"{check_hash(hash)}-{size}"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock for fetching whole objects, which excludes other threads and processes that hold it too."""
        with keeping(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _locked(fd):
                yield
        finally:
            os.close(fd)

    def drop(self, hash: str, size: int) -> None:
        """Delete the partial file of an object; open handles stay valid."""
        path = self._path(hash, size)
        for each in (path, chunks_path(path)):
            each.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        """Yield the hashes of objects that are partly here."""
        with contextlib.suppress(FileNotFoundError):
            yield from sorted({name[:64] for name in os.listdir(self.folder) if is_hash(name[:64])})


def sweep(folder: Path, missing: Callable[[Iterable[str]], set[str]]) -> None:
    """Delete the partial files, of all origins below a folder, of objects that are not missing."""
    found = [path for path in folder.glob("*/*-*") if is_hash(path.name[:64])]
    absent = missing({path.name[:64] for path in found}) if found else set()
    for path in found:
        if path.name[:64] not in absent:
            path.unlink(missing_ok=True)


class PartialObject:
    """An object of which some byte ranges are here."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Sparse: it has its full length at once, so that it can be mapped before it is complete.
            if os.fstat(self._fd).st_size < size:
                os.ftruncate(self._fd, size)
        except OSError:
            self.close()
            raise
        self._read_to = size
        self._spans = ByteRanges()
        self.is_torn = False
        self._read_records()

    def __enter__(self) -> PartialObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; memory maps of it stay valid."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def is_closed(self) -> bool:
        """Return whether `close` was called."""
        return self._fd < 0

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Return the lock for fetching ranges of this object, which excludes other holders of it."""
        return _locked(self._fd)

    def lacking(self, start: int, stop: int) -> list[Stretch]:
        """Return the parts of a range that are missing."""
        self._read_records()
        return self._spans.lacking(start, stop)

    def write(self, start: int, data: bytes) -> None:
        """Write bytes from `start` on, without recording yet that they are here."""
        view = memoryview(data)
        with keeping(self.path.parent):
            while view:
                written = os.pwrite(self._fd, view, start)
                start, view = start + written, view[written:]

    def keep(self, stretches: list[Stretch], *, durable: bool = True) -> None:
        """Record that these ranges were written; on a full disk only in memory.

        Without `durable` they may be lost with the power, though not with the process: for an object that is hashed.
        """
        if durable:
            with keeping(self.path.parent):
                # The bytes before their record: a record of bytes that a power cut lost would make
                # zeros look like data.
                os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)
        self._spans.add(stretches)
        self._write_records(stretches)

    def _write_records(self, stretches: list[Stretch]) -> None:
        records = b"".join(_RECORD.pack(*each, _check(*each)) for each in stretches)
        try:
            # A second descriptor: on Linux, pwrite(2) to one that was opened for appending appends, whatever the
            # offset.
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError:  # it was deleted meanwhile; open handles stay valid
            return
        try:
            end = os.fstat(fd).st_size
            if os.path.samestat(os.fstat(fd), os.fstat(self._fd)):  # otherwise it was recreated
                # On a full disk the ranges are known to this process only, and fetched again by the
                # next.
                with contextlib.suppress(OSError):
                    if os.write(fd, records) < len(records):
                        # A record cut in half would hide all that are appended after it.
                        os.ftruncate(fd, end)
        finally:
            os.close(fd)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes of a range that is here."""
        return os.pread(self._fd, stop - start, start)

    def mapped(self) -> mmap.mmap:
        """Return the object mapped into memory; missing bytes are zeros."""
        return mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ)

    @property
    def is_whole(self) -> bool:
        """Return whether no range is missing."""
        return not self.lacking(0, self.size)

    def _read_records(self) -> None:
        """Read the records added since the last call, up to the first incomplete or corrupt one."""
        status = os.fstat(self._fd)
        end = status.st_size
        if _is_read_only(status):  # another process made it an object, whose bytes must not be written again
            self._spans.add([(0, self.size)])
        if end <= self._read_to or self.is_torn:
            return
        data = os.pread(self._fd, end - self._read_to, self._read_to)
        found: list[Stretch] = []
        for at in range(0, len(data) - _RECORD.size + 1, _RECORD.size):
            start, stop, check = _RECORD.unpack_from(data, at)
            if check != _check(start, stop) or not start < stop <= self.size:
                self.is_torn = True
                break
            found.append((start, stop))
        self.is_torn = self.is_torn or len(data) % _RECORD.size != 0
        self._read_to += len(found) * _RECORD.size
        self._spans.add(found)


def is_sealed(path: Path) -> bool:
    """Return whether a partial file was complete and verified."""
    try:
        return _is_read_only(os.stat(path))
    except OSError:
        return False


def _is_read_only(status: os.stat_result) -> bool:
    return not status.st_mode & 0o222


def chunks_path(part: Path) -> Path:
    """Return the path of the chunk map of an object, beside its partial file."""
    return part.with_name(f"{part.name}.chunks")


@contextlib.contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Turn an `OSError` about writing into a datapkg error with a hint."""
    try:
        yield
    except DatapkgError:
        raise
    except OSError as error:
        what = f"what is fetched cannot be kept in {folder}: {error.strerror or error}"
        if error.errno in NO_ROOM:
            raise DiskFull(what, hint="make room, or set DATAPKG_HOME to a larger disk") from error
        hint = "set DATAPKG_HOME to a folder that you may write to"
        raise exhausted(error) or Refused(what, hint=hint) from error


def _check(start: int, stop: int) -> int:
    return zlib.crc32(b"%d-%d" % (start, stop))


@contextlib.contextmanager
def _locked(fd: int) -> Iterator[None]:
    """Hold the lock of a file or folder, which ends with the process; without locks in the file system, continue."""
    is_held = False
    # filelock would open a file of its own, while this locks the open partial file or its folder.
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX)
        is_held = True
    try:
        yield
    finally:
        if is_held:  # unlock explicitly, since a forked child may have the file open too
            fcntl.flock(fd, fcntl.LOCK_UN)
