"""Locks of folders: one process mounts a folder or changes the small files in it at a time.

The folder itself is locked, by flock(2): a file that is replaced by renaming cannot hold a lock, and none is left in a
folder of the user. The kernel releases the lock of a process that ends, however it ends. On a file system without
locks, such as some network ones, the lock always succeeds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from shlex import quote

from datapkg.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 120.0
"""Longer than a registry that does not answer holds a command, unless its time limit was raised."""
_POLL_S = 0.01


@contextlib.contextmanager
def claimed(folder: Path, wait_s: float = 0.0) -> Iterator[bool]:
    """Lock a folder; yield false if another process, or thread, holds its lock for `wait_s`."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        is_held = _is_locked(number, time.monotonic() + wait_s)
        try:
            yield is_held
        finally:
            # A forked child has the descriptor too, so closing it here would not release the lock.
            if is_held:
                with contextlib.suppress(OSError):
                    fcntl.flock(number, fcntl.LOCK_UN)
    finally:
        os.close(number)


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while files of it are read, changed and replaced, so that no other change is lost.

    Raise `Conflict` if another process holds it for `WAIT_S`. The lock is not reentrant.
    """
    with claimed(folder, WAIT_S) as is_held:
        if not is_held:
            raise Conflict(
                f"another command is changing files in {folder}, for more than {WAIT_S:g} s; nothing was changed",
                hint=f"fuser -v {quote(str(folder))} shows it; end it, or type this again later",
            )
        yield


def _is_locked(number: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_S)
            continue
        except OSError:
            pass
        return True
