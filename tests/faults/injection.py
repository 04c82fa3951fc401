"""Fail this process at one of its system calls: kill it before the Nth, or let that one raise an `OSError`.

The calls are counted that change or read files below given folders, and commits of SQLite. They are found by the audit
events of Python and by wrappers for the few calls that have none, so the product needs no code for it. What C++ writes
to files of its own is not counted.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Audit events of calls that change files, with the number of leading arguments that are paths.
CHANGES = {
    "os.rename": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.utime": 1,
    "os.chmod": 1,
}
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which calls a real system lets fail in which way.
WRITES = frozenset({"write", "open-w", "os.mkdir", "os.truncate", "fsync", "os.rename", "os.link", "commit"})
POSSIBLE = {
    "ENOSPC": WRITES,
    "EDQUOT": WRITES,
    "EIO": WRITES | {"read", "open-r"},
    "EACCES": frozenset({"open-w", "open-r", "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"}),
    "EROFS": frozenset({"open-w", "os.mkdir", "os.rename", "os.remove", "os.utime", "os.chmod", "commit"}),
    "EMFILE": frozenset({"open-w", "open-r"}),
    "short": frozenset({"write"}),
}
KILLS = frozenset({"kill", "power"})
_SQLITE_TEXTS = {
    errno.ENOSPC: "database or disk is full",
    errno.EDQUOT: "database or disk is full",
    errno.EROFS: "attempt to write a readonly database",
}


@dataclass
class Injection:
    """`kind` happens at call number `at` (from 1) of those that can fail so, and with `lasting` at all later ones.

    `kind` is "kill", "power" (a kill, and files that were not synced lose their ends), "short" (a write writes half of
    what it is given, as it may), or the name of an error number. With `at` 0 nothing happens, and calls are counted.
    """

    kind: str
    at: int
    roots: tuple[str, ...]
    lasting: bool = False
    seed: int = 0
    count: int = 0
    calls: list[str] = field(default_factory=list)
    unsynced: set[tuple[int, int]] = field(default_factory=set)

    def is_ours(self, path: object) -> bool:
        """Return whether a path or a descriptor is of a file below the folders."""
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return False
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        text = os.fsdecode(path)
        return (text if os.path.isabs(text) else os.path.join(os.getcwd(), text)).startswith(self.roots)

    def call(self, name: str, path: object) -> bool:
        """Count a call; kill the process, or raise, if it is the one; return whether it is to write less."""
        if self.kind not in KILLS and name not in POSSIBLE[self.kind]:
            return False
        if self.kind in KILLS and name in ("read", "open-r"):
            return False
        if getattr(_inside, "call", False) or not self.is_ours(path):
            return False
        _inside.call = True
        try:
            return self._happen(name, path)
        finally:
            _inside.call = False

    def _happen(self, name: str, path: object) -> bool:
        self.count += 1
        if not self.at:
            self.calls.append(name)
        elif self.count == self.at or (self.lasting and self.count > self.at):
            if self.kind == "short":
                return True
            if self.kind in KILLS:
                self._kill()
            number = getattr(errno, self.kind)
            if name == "commit":
                raise sqlite3.OperationalError(_SQLITE_TEXTS.get(number, "disk I/O error"))
            named = (os.fsdecode(path),) if isinstance(path, (str, bytes, os.PathLike)) else ()
            raise OSError(number, os.strerror(number), *named)
        return False

    def _kill(self) -> None:
        if self.kind == "power":
            chance = random.Random(self.seed)
            for path in sorted(each for root in self.roots for each in Path(root).rglob("*")):
                status = path.lstat()
                if (status.st_dev, status.st_ino) in self.unsynced and path.is_file() and not path.is_symlink():
                    os.truncate(path, chance.choice([0, status.st_size // 2, status.st_size]))
        os.kill(os.getpid(), signal.SIGKILL)

    def wrote(self, fd: int) -> None:
        """Remember that a file has bytes that are not on the disk."""
        if self.kind == "power":
            status = os.fstat(fd)
            self.unsynced.add((status.st_dev, status.st_ino))

    def synced(self, fd: int | None = None) -> None:
        """Remember that a file, or every one, is on the disk."""
        if fd is None:
            self.unsynced.clear()
        else:
            status = os.fstat(fd)
            self.unsynced.discard((status.st_dev, status.st_ino))


_inside = threading.local()


def install(injection: Injection) -> None:
    """Watch the calls of this process from now on; this cannot be taken back."""
    _audit(injection)
    _wrap_calls(injection)
    _wrap_files(injection)
    _wrap_sqlite(injection)


def _audit(injection: Injection) -> None:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if paths := CHANGES.get(event):
            for path in args[:paths]:
                if injection.is_ours(path):
                    injection.call(event, path)
                    return
        elif event == "open" and not isinstance(args[0], int):
            injection.call("open-w" if args[2] & WRITE_FLAGS else "open-r", args[0])

    sys.addaudithook(hook)


def _wrap_calls(injection: Injection) -> None:
    def wrapped(name: str, function: Callable[..., Any], after: Callable[[int], None]) -> Callable[..., Any]:
        def call(fd: Any, *args: Any) -> Any:
            number = fd if isinstance(fd, int) else fd.fileno()
            if injection.call(name, number):
                args = (memoryview(args[0])[: -(-len(args[0]) // 2)], *args[1:])
            if name == "write" and injection.kind in KILLS and injection.at == injection.count + 1:
                function(fd, memoryview(args[0])[: len(args[0]) // 2], *args[1:])  # a write that is cut in two
            result = function(fd, *args)
            after(number)
            return result

        return call

    for name in ("write", "pwrite"):
        setattr(os, name, wrapped("write", getattr(os, name), injection.wrote))
    for name in ("fsync", "fdatasync"):
        setattr(os, name, wrapped("fsync", getattr(os, name), injection.synced))
    for name in ("read", "pread", "preadv"):
        setattr(os, name, wrapped("read", getattr(os, name), lambda fd: None))
    from datapkg.objects import files

    sync_all = files._syncfs

    def syncfs() -> Callable[[int], int] | None:
        found = sync_all()
        if found is None:
            return None

        def call(fd: int) -> int:
            injection.call("fsync", fd)
            injection.synced()
            return found(fd)

        return call

    vars(files)["_syncfs"] = syncfs


class _Raw(io.FileIO):
    """A file whose reads and writes are counted."""

    injection: Injection

    def write(self, data: Any) -> int:
        injection = self.injection
        if injection.call("write", self.fileno()):
            data = memoryview(data).cast("B")
            data = data[: -(-len(data) // 2)]
        written = super().write(data)
        injection.wrote(self.fileno())
        return written

    def readinto(self, buffer: Any) -> int:
        self.injection.call("read", self.fileno())
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self.injection.call("read", self.fileno())
        return super().readall()


def _wrap_files(injection: Injection) -> None:
    _Raw.injection = injection
    true_open = builtins.open

    def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        if "b" not in mode or args or options.get("opener") or not injection.is_ours(file):
            return true_open(file, mode, buffering, *args, **options)
        raw = _Raw(file, mode.replace("b", ""), options.get("closefd", True))
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering < 2 else buffering
        if "+" in mode:
            return io.BufferedRandom(raw, size)
        return io.BufferedReader(raw, size) if "r" in mode else io.BufferedWriter(raw, size)

    _wrap_named_file(injection)
    builtins.open = opened
    io.open = opened
    os.fdopen = lambda fd, *args, **options: opened(fd, *args, **options)


def _wrap_named_file(injection: Injection) -> None:
    def counted(read: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, *args: Any) -> Any:
            with files.naming(file.name):
                injection.call("read", file.fileno())
            return read(file, *args)

        return call

    from datapkg.objects import files

    for name in ("readinto", "readall"):
        setattr(files.NamedFile, name, counted(getattr(files.NamedFile, name)))


def _wrap_sqlite(injection: Injection) -> None:
    class Connection(sqlite3.Connection):
        path = ""

        def commit(self) -> None:
            if self.in_transaction:
                injection.call("commit", self.path)
            super().commit()

    true_connect = sqlite3.connect

    def connect(database: Any, *args: Any, **options: Any) -> Any:
        found = true_connect(database, *args, factory=Connection, **options)
        found.path = os.fsdecode(database)
        return found

    sqlite3.connect = connect
    sqlite3.dbapi2.connect = connect
