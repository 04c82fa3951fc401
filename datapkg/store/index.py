"""A cache in SQLite: stats of verified files, and results of builds; any error in it is treated as a miss.

It is derived data: it can be deleted or corrupted at any time, which only costs time. SQLite has no checksums, so each
value has one; a stat needs none, since a wrong one is not that of the file.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import zlib
from pathlib import Path
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

FORMAT = 3
# File systems stamp files with the tick of the kernel, at most 10 ms; twice that is safe.
TICK_NS = 20_000_000

_Stamp = tuple[int, int, int, int, int]
Seen = tuple[_Stamp, int]
# It is a cache: waiting longer for another process costs more than hashing again, and so does asking at each file.
_LOCKED_S, _LEFT_ALONE_S = 2, 30
_STAMP = "size, mtime_ns, ctime_ns, inode, device, IFNULL(CAST(checked_ns AS INTEGER), 0)"
_CHECK_BYTES = 4
_AT_ONCE = 20_000
_MAX_FOUND_BYTES = 512 << 20
_FOUND_DAYS = 90
_TABLES = """
DROP TABLE IF EXISTS believed; DROP TABLE IF EXISTS sources; DROP TABLE IF EXISTS found;
CREATE TABLE believed (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER,
    device INTEGER, checked_ns INTEGER) WITHOUT ROWID;
CREATE TABLE sources (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, inode INTEGER,
    device INTEGER, checked_ns INTEGER, hash BLOB) WITHOUT ROWID;
CREATE TABLE found (key TEXT PRIMARY KEY, value BLOB, day INTEGER);
"""


def stamp(stat: os.stat_result) -> _Stamp:
    """Return the attributes that change with a file: size, modification and change time, inode and device."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev


def seen(path: Path) -> Seen:
    """Return the stamp of a file, and when it was taken in ns; a file that is hashed after that may be `mark_seen`."""
    at = time.time_ns()
    return stamp(os.stat(path)), at


def _check(key: str, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key.encode(errors="replace"))).to_bytes(_CHECK_BYTES, "little")


def _sealed(key: str, value: bytes) -> bytes:
    return value + _check(key, value)


def _unsealed(key: object, sealed: object) -> bytes | None:
    """Return the value of a key; None if either is corrupt."""
    if not isinstance(key, str) or not isinstance(sealed, bytes):
        return None
    value = sealed[:-_CHECK_BYTES]
    return value if sealed[-_CHECK_BYTES:] == _check(key, value) else None


class Index:
    """A small database of verified files in the cache folder; safe for threads, forks and many processes."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._left_alone_until = 0.0
        _indexes.add(self)

    def __del__(self) -> None:
        """Close the connection, which no other object uses; Python 3.13 warns about open ones."""
        if connection := getattr(self, "_connection", None):
            connection.close()

    def is_verified(self, path: Path) -> bool:
        """Return whether this file is unchanged, by its stat, since its hash was verified."""
        try:
            now = stamp(os.stat(path))
        except OSError:
            return False
        rows = self._rows(f"SELECT {_STAMP} FROM believed WHERE path = ?", (str(path),))
        # A file that was verified within a clock tick of its last write may have changed again with the same stat.
        return bool(rows) and tuple(rows[0][:5]) == now and rows[0][1] + TICK_NS < rows[0][5]

    def mark_verified(self, paths: Iterable[Path]) -> None:
        """Record these files, whose bytes are on the disk, as verified in their present state.

        This does not wait for the disk, so a row may survive a power cut that the bytes did not, with the same stat.
        """
        found: dict[Path, Seen] = {}
        for path in paths:
            # A file that is gone already needs no entry.
            with contextlib.suppress(OSError):
                found[path] = seen(path)
        self.mark_seen(found)

    def mark_seen(self, found: Mapping[Path, Seen]) -> None:
        """Record files that were hashed as verified, in the state in which they were before that."""
        rows: list[tuple[object, ...]] = [(str(path), *stamped, at) for path, (stamped, at) in found.items()]
        self._write("INSERT OR REPLACE INTO believed VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def sources(self, folder: str) -> Iterator[tuple[str, _Stamp, int, str]]:
        """Yield, for the files below an absolute folder path: path, stamp, time of the stamp, and hash."""
        start = folder.rstrip("/") + "/"
        question = (
            f"SELECT path, hash, {_STAMP} FROM sources WHERE path > ? AND path < ? ORDER BY path LIMIT {_AT_ONCE}"
        )
        # "0" is the character after "/": a range of the primary key, without LIKE and its wildcards.
        after, end = start, start[:-1] + "0"
        while rows := self._rows(question, (after, end)):
            for path, sealed, *found in rows:
                if (hash := _unsealed(path, sealed)) is not None:
                    yield path, tuple(found[:5]), found[5], hash.decode()
            after = rows[-1][0]

    def remember_sources(self, rows: Iterable[tuple[str, _Stamp, int, str]]) -> None:
        """Record the hashes of files: path, stamp, time of the stamp (in ns), hash."""
        values: list[tuple[object, ...]] = [
            (path, *stamp, at, _sealed(path, hash.encode())) for path, stamp, at, hash in rows
        ]
        self._write("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return cached values by key; misses are omitted."""
        wanted = list(keys)
        rows: list[tuple[str, bytes]] = []
        # SQLite allowed 999 variables in a statement before version 3.32.
        for start in range(0, len(wanted), 500):
            some = wanted[start : start + 500]
            marks = ",".join("?" * len(some))
            rows += self._rows(f"SELECT key, value FROM found WHERE key IN ({marks})", some)
        found = ((key, _unsealed(key, value)) for key, value in rows)
        return {key: value for key, value in found if value is not None}

    def put_many(self, values: dict[str, bytes]) -> None:
        """Store values in the cache; if it grows too large, evict old ones."""
        day = int(time.time() // 86_400)
        rows: list[tuple[object, ...]] = [(key, _sealed(key, each), day) for key, each in values.items()]
        self._write("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)
        if values and self._size() > _MAX_FOUND_BYTES:
            self._write("DELETE FROM found WHERE day < ?", [(day - _FOUND_DAYS,)])
        if values and self._size() > 2 * _MAX_FOUND_BYTES:
            self._write("DELETE FROM found WHERE day < ?", [(day,)])

    def _size(self) -> int:
        """Return the bytes in use."""
        rows = self._rows(
            "SELECT (page_count - freelist_count) * page_size"
            " FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()"
        )
        return rows[0][0] if rows else 0

    def _rows(self, question: str, values: Sequence[object] = ()) -> list[Any]:
        return self._ask(lambda connection: connection.execute(question, values).fetchall()) or []

    def _write(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        self._ask(lambda connection: connection.executemany(statement, rows).close())

    def _ask(self, ask: Callable[[sqlite3.Connection], Any]) -> Any:
        """Return the result of a database operation; None for any error.

        A locked or read-only database is left alone for a while, since each operation would wait for it.
        """
        import sqlite3

        if time.monotonic() < self._left_alone_until:
            return None
        try:
            with _lock:
                connection = self._open()
                try:
                    return ask(connection)
                finally:
                    connection.commit()
        except sqlite3.OperationalError as error:
            # A read-only database still answers questions, and a failed write does not wait.
            if "readonly" not in str(error):
                self._left_alone_until = time.monotonic() + _LEFT_ALONE_S
        except (OSError, sqlite3.Error, UnicodeError) as error:
            if type(error) is sqlite3.DatabaseError:  # a page of it is corrupt
                with _lock, contextlib.suppress(OSError):
                    self._delete()
        return None

    def _delete(self) -> None:
        """Delete the database; other processes continue with the deleted files."""
        self.__del__()
        self._connection = None
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(2):
            connection = None
            try:
                connection = sqlite3.connect(self.path, timeout=_LOCKED_S, check_same_thread=False)
                # With a write-ahead log, readers do not wait for a writer.
                connection.execute("PRAGMA journal_mode = WAL")
                # No syncs: what a power cut loses or damages is only looked up again.
                connection.execute("PRAGMA synchronous = OFF")
                if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                    # In one transaction, since several processes may create the tables at the same time.
                    connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
                return connection
            except sqlite3.DatabaseError as error:
                if connection is not None:
                    connection.close()
                if isinstance(error, sqlite3.OperationalError):
                    # On a read-only file system or a full disk SQLite says that it cannot open the file, as it makes
                    # one beside it.
                    is_writable = os.access(self.path.parent, os.W_OK) and "readonly" not in str(error)
                    if not is_writable or ("locked" not in str(error) and self._is_at_rest()):
                        return self._connect_to_read()
                    raise
                self._delete()
        raise sqlite3.DatabaseError(f"{self.path} cannot be made")

    def _is_at_rest(self) -> bool:
        """Return whether no other process has written what is not in the database yet."""
        try:
            return os.stat(f"{self.path}-wal").st_size == 0
        except OSError:
            return True

    def _connect_to_read(self) -> sqlite3.Connection:
        """Connect to a database beside which no file can be made."""
        import sqlite3

        # Even to read, SQLite makes a file beside a database with a write-ahead log, unless this is set.
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?immutable=1", uri=True, check_same_thread=False)
        if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            connection.close()
            raise sqlite3.DatabaseError(f"{self.path} has another form")
        return connection


# Neither an SQLite connection nor a lock held by another thread may cross a fork.
_lock = threading.Lock()
_indexes: WeakSet[Index] = WeakSet()


def _close_all() -> None:
    _lock.acquire()
    for index in _indexes:
        if index._connection is not None:
            index._connection.close()
            index._connection = None


@atexit.register
def _close_at_exit() -> None:
    for index in _indexes:
        index.__del__()


os.register_at_fork(before=_close_all, after_in_parent=_lock.release, after_in_child=_lock.release)
