"""A cache of what files were when their hash was last right; any error in it is a miss."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

FORMAT = 1
TICK_NS = 20_000_000

_Stamp = tuple[int, int, int, int, int]


def stamp(stat: os.stat_result) -> _Stamp:
    """What changes when a file does: size, modification and change time, inode and device."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev


class Index:
    """A small database of believed files in the cache folder; safe for threads, forks and many processes."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        _indexes.add(self)

    def believes(self, path: Path) -> bool:
        """Whether this file is, as far as its stat tells, the one whose hash was right."""
        import sqlite3

        try:
            now = stamp(os.stat(path))
            with _lock:
                row = (
                    self._open()
                    .execute(
                        "SELECT size, mtime_ns, ctime_ns, inode, device, checked_ns FROM believed WHERE path = ?",
                        (str(path),),
                    )
                    .fetchone()
                )
        except (OSError, sqlite3.Error):
            return False
        return row is not None and tuple(row[:5]) == now and row[1] + TICK_NS < row[5]

    def believe(self, paths: Iterable[Path]) -> None:
        """Remembers these files as they are now, their hash having just been found right."""
        import sqlite3

        rows = []
        for path in paths:
            with contextlib.suppress(OSError):
                rows.append((str(path), *stamp(os.stat(path)), time.time_ns()))
        with contextlib.suppress(OSError, sqlite3.Error), _lock:
            connection = self._open()
            connection.executemany("INSERT OR REPLACE INTO believed VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.commit()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(2):
            try:
                connection = sqlite3.connect(self.path, timeout=5, check_same_thread=False)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = OFF")
                if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                    connection.executescript(
                        "BEGIN IMMEDIATE; DROP TABLE IF EXISTS believed;"
                        "CREATE TABLE believed (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER,"
                        " ctime_ns INTEGER, inode INTEGER, device INTEGER, checked_ns INTEGER) WITHOUT ROWID;"
                        f"PRAGMA user_version = {FORMAT}; COMMIT;"
                    )
                return connection
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        raise sqlite3.DatabaseError(f"{self.path} cannot be made")


# A connection of SQLite may not cross a fork, and neither may a lock that another thread holds.
_lock = threading.Lock()
_indexes: WeakSet[Index] = WeakSet()


def _close_all() -> None:
    _lock.acquire()
    for index in _indexes:
        if index._connection is not None:
            index._connection.close()
            index._connection = None


os.register_at_fork(before=_close_all, after_in_parent=_lock.release, after_in_child=_lock.release)
