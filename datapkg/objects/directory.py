"""Objects kept as files of a folder: `ab/cdef…`, read-only."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from datapkg.errors import Conflict, QuotaExceeded
from datapkg.format.hashing import check_hash, copy_hashed, is_hash, mismatch
from datapkg.objects.base import Objects, not_found
from datapkg.objects.files import (
    NO_ROOM,
    NamedFile,
    naming,
    new_file,
    rename,
    seal,
    sync_all,
    sync_file,
    sync_folder,
    sync_folders,
    temp_path,
    write_all,
)
from datapkg.objects.free_space import check_space

READ_BUFFER_BYTES = 1 << 20
# A server may notice minutes later than a client that a connection broke; longer than this, sending anew is faster.
LOCK_WAIT_S = 10
WORK_BYTES_PER_S = 20_000_000
"""How fast a slow disk is read, hashed and synced."""
MANY = 256  # the most folders there can be: their names are two hexadecimal digits

Named = Callable[[Iterable[Path]], None]


def no_notice(paths: Iterable[Path]) -> None:
    """Do nothing with the files that got their names."""


class DirectoryObjects(Objects):
    """A folder of objects that many processes read and write at once.

    `tmp` is a folder on the same file system, by default `tmp` beside the folder; `named` is called with files that
    have just got their names. Safe to kill at any moment: a file gets its name only when it is complete and verified.
    """

    def __init__(self, folder: Path, tmp: Path | None = None, named: Named = no_notice) -> None:
        self.folder = Path(folder)
        self._prefix = os.path.join(folder, "")
        self.tmp = Path(tmp) if tmp else self.folder.parent / "tmp"
        self._named = named
        self._lock = threading.RLock()
        self._depth = 0
        self._pending: dict[str, Path] = {}
        self._puts: Counter[str] = Counter()

    def path(self, hash: str) -> Path:
        """Return the path at which this object is or would be stored."""
        return Path(self.text_path(hash))

    def text_path(self, hash: str) -> str:
        """Return the same as text, which takes a tenth of the time of a Path: it is asked for each of many objects."""
        check_hash(hash)
        return f"{self._prefix}{hash[:2]}/{hash[2:]}"

    def has(self, hash: str) -> bool:
        """Return whether the object is here."""
        return hash in self._pending or os.path.exists(self.text_path(hash))

    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes that are not here; one for which there is no folder is not looked up on the disk."""
        wanted = set(hashes)
        if len(wanted) > MANY:
            pending = self._pending  # before the listing: what gets its name meanwhile may get a new folder
            try:
                folders = set(os.listdir(self.folder))
            except (FileNotFoundError, NotADirectoryError):
                folders = set()
            here = {hash for hash in wanted if hash in pending or hash[:2] in folders}
            return {hash for hash in wanted if hash not in here or not self.has(hash)}
        return {hash for hash in wanted if not self.has(hash)}

    def find(self, hash: str) -> tuple[Path, int] | None:
        """Return the file of an object and its size in bytes, or None."""
        found = self.find_text(hash)
        return (Path(found[0]), found[1]) if found else None

    def find_text(self, hash: str) -> tuple[str, int] | None:
        """Return the same with the path as text."""
        if temp := self._pending.get(hash):
            with contextlib.suppress(FileNotFoundError):  # it got its name meanwhile
                return str(temp), os.stat(temp).st_size
        place = self.text_path(hash)
        try:
            return place, os.stat(place).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def size(self, hash: str) -> int:
        if found := self.find(hash):
            return found[1]
        raise not_found(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        raw = self._raw(hash)
        if start:
            raw.seek(start)
        if stop is not None:
            return cast(BinaryIO, io.BufferedReader(Window(raw, stop - start), READ_BUFFER_BYTES))
        return io.BufferedReader(raw, READ_BUFFER_BYTES)

    def _raw(self, hash: str) -> NamedFile:
        if temp := self._pending.get(hash):
            with contextlib.suppress(FileNotFoundError):  # it got its name meanwhile
                return NamedFile(temp)
        try:
            return NamedFile(self.path(hash))
        except FileNotFoundError:
            raise not_found(hash) from None

    def check_room(self, size: int, what: str) -> None:
        check_space(self.folder, size, what)

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        temp = temp_path(self.tmp)
        try:
            with naming(temp), new_file(temp) as file:
                hash, _ = copy_hashed(stream, file)
                if expected not in (None, hash):
                    raise mismatch(str(expected), hash)
                # Sealed before it gets its name: nobody can ever write to a file that others have
                # found.
                seal(file)
                if self._keep_for_later(hash, temp):
                    return hash
                # The bytes are on the disk before the name is: after a power cut no name leads to
                # bytes that were lost.
                sync_file(file)
            self._take(temp, hash)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
        return hash

    def put_rest(self, stream: BinaryIO, expected: str, begun: Path, offset: int) -> str:
        """Store an object whose first `offset` bytes are in the file `begun` and whose rest is in `stream`.

        If the stream fails, `begun` keeps what arrived, except on a full disk and beyond a limit. Raise `Conflict` if
        another process writes to `begun` or it has fewer bytes; `HashMismatch`, keeping nothing, if the hash of the
        whole is not `expected`.
        """
        begun.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with naming(begun), _opened_alone(begun, expected, offset) as file:
            if (size := os.fstat(file.fileno()).st_size) < offset:
                raise Conflict(f"object {expected} has {size:,} bytes here, not {offset:,}")
            file.truncate(offset)
            file.seek(offset)
            sha256 = hashlib.sha256()
            with _deleted_without_space(begun):
                while piece := stream.read(READ_BUFFER_BYTES):
                    write_all(file, piece)
                    sha256.update(piece)
            # The running hash of the earlier bytes ended with the upload that sent them, and they were not synced.
            if offset:  # read only now, since nobody who sends waits long for the first byte to be taken
                with open(begun, "rb") as whole:
                    sha256 = hashlib.file_digest(whole, "sha256")
            if sha256.hexdigest() != expected:
                begun.unlink(missing_ok=True)
                raise mismatch(expected, sha256.hexdigest())
            seal(file)
            sync_file(file)
            self._take(begun, expected)
        return expected

    def take(self, path: Path, expected: str, size: int) -> None:
        """Make the first `size` bytes of a file of this file system an object; the bytes are not copied.

        The file is left as it is where they have another hash, which raises `HashMismatch`.
        """
        with naming(path), open(path, "r+b", buffering=0) as file:
            sha256, left = hashlib.sha256(), size
            while left and (piece := file.read(min(READ_BUFFER_BYTES, left))):
                sha256.update(piece)
                left -= len(piece)
            if sha256.hexdigest() != expected:
                raise mismatch(expected, sha256.hexdigest())
            # Before it is sealed, since a sealed file counts as complete without its list of ranges.
            sync_file(file)
            file.truncate(size)
            seal(file)
            # And before it gets its name, with that list the object would be longer.
            sync_file(file)
            self._take(path, expected)

    def _take(self, path: Path, hash: str) -> None:
        """Give a verified file of this file system its name."""
        rename(path, self.path(hash))
        # A name is durable only once its folder is synced; the caller may now refer to it from a manifest.
        sync_folder(self.path(hash).parent)
        self._named([self.path(hash)])

    def _keep_for_later(self, hash: str, temp: Path) -> bool:
        with self._lock:
            if not self._depth:
                return False
            self._puts[hash] += 1
            if hash in self._pending:
                temp.unlink()
            else:
                self._pending[hash] = temp
            return True

    def discard(self, hashes: Iterable[str]) -> None:
        hashes = list(hashes)
        with self._lock:
            self._puts.subtract(hashes)
            for hash in [hash for hash in hashes if self._puts[hash] <= 0]:
                if temp := self._pending.pop(hash, None):
                    temp.unlink(missing_ok=True)

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._lock:
            self._depth += 1
        try:
            yield
        finally:  # by an exception too: whole objects need not be made or fetched again
            with self._lock:
                self._depth -= 1
                if not self._depth:
                    self._name_pending()

    def _name_pending(self) -> None:
        pending = self._pending
        try:
            if pending:
                self._name(pending)
        except BaseException:
            for temp in pending.values():
                temp.unlink(missing_ok=True)
            raise
        finally:  # not before: threads without a batch of their own look for these objects meanwhile
            self._pending = {}
            self._puts.clear()

    def _name(self, pending: Mapping[str, Path]) -> None:
        """Give verified files their names, by their hashes."""
        # One sync of the file system instead of one for each file, which a disk does one after the other.
        sync_all(self.tmp)
        for hash, temp in pending.items():
            rename(temp, self.path(hash))
        sync_folders((self.path(hash).parent for hash in pending), self.folder)
        self._named([self.path(hash) for hash in pending])

    def delete(self, hash: str) -> None:
        with self._lock:
            if temp := self._pending.pop(hash, None):
                temp.unlink(missing_ok=True)
        self.path(hash).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        # An object that gets its name while this runs must not be listed twice.
        seen = list(self._pending)
        yield from seen
        with contextlib.suppress(FileNotFoundError):
            for prefix in sorted(os.listdir(self.folder)):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    for rest in os.listdir(self.folder / prefix):
                        if is_hash(prefix + rest) and prefix + rest not in seen:
                            yield prefix + rest


@contextmanager
def _deleted_without_space(path: Path) -> Iterator[None]:
    try:
        yield
    except (QuotaExceeded, OSError) as error:
        if isinstance(error, QuotaExceeded) or error.errno in NO_ROOM:
            path.unlink(missing_ok=True)
        raise


def _opened_alone(path: Path, hash: str, offset: int) -> IO[bytes]:
    """Open and lock a file; wait up to 10 s, since the server may notice a broken connection later than the client.

    Wait longer if all `offset` bytes that the caller sent are here, for the upload that hashes them. If the upload that
    held the lock has completed, its file is an object now, which must not be written: look again.
    """
    begun_at = time.monotonic()
    while time.monotonic() < begun_at + LOCK_WAIT_S + _work_s(path, offset):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError:
            _unseal(path)
            continue
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(os.fdopen(fd, "r+b", buffering=0))
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The name may have gone to another file while this one waited for its lock.
                if os.path.samestat(os.fstat(fd), os.stat(path)):
                    stack.pop_all()
                    return file
            except FileNotFoundError:
                continue
            except BlockingIOError:
                time.sleep(0.1)
    raise Conflict(f"object {hash} is being written by another process")


def _unseal(path: Path) -> None:
    """Make a sealed temporary file writable again, after its writer was killed or could not sync it."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb", buffering=0) as file:
        try:
            # Whoever is about to give it its name holds the lock; as an object it must stay sealed.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                os.fchmod(file.fileno(), 0o600)
        except BlockingIOError:
            time.sleep(0.1)


def _work_s(path: Path, offset: int) -> float:
    with contextlib.suppress(FileNotFoundError):
        return offset / WORK_BYTES_PER_S if os.stat(path).st_size == offset else 0
    return 0


class Window(io.RawIOBase):
    """`size` bytes of a raw file from its current position, as a file of their own; closes it."""

    def __init__(self, raw: io.RawIOBase | io.FileIO, size: int) -> None:
        self._raw = raw
        self._start = raw.tell()
        self._size = max(0, size)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        self._raw.seek(self._start + self._at)
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]  # type: ignore[arg-type]
        count = self._raw.readinto(view) or 0
        self._at += count
        return count

    def readall(self) -> bytes:
        # RawIOBase.readall reads 8 KiB at a time.
        return read_up_to(cast(BinaryIO, self), self._size - self._at)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def read_up_to(stream: BinaryIO, size: int) -> bytes:
    """Return the next `size` bytes of a stream, fewer only at its end."""
    pieces = []
    while size and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class ChainedStream:
    """Bytes already read, then the rest of their stream."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Return the first bytes, then at most `size` bytes of the stream at a time."""
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._stream.read(size)
