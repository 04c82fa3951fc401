"""The lock that all writers of a store share, so that a process that frees space can find out whether it is alone.

The kernel releases the lock of a process that ends, however it ends. Readers take no lock. A writer that is alone when
it begins sets the modification time of the lock file, which thus is the time since when writers overlap, and writes
into it what tells whether the clock was set since: access times from before and after cannot be compared. The library
filelock has no shared lock of this kind: its locks are exclusive.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from datapkg.objects.files import is_shared, make_folder, this_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


SET_S = 60
"""A clock that was only adjusted differs by less, even over months."""
# Time that the machine sleeps counts, where the system can tell.
_SINCE_START = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock together with other writers; without locks in the file system, continue."""
    with _open(path) as fd:
        with contextlib.suppress(OSError):
            # Getting it exclusively proves that no other writer is at work, so overlapping ones begin
            # now.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.utime(fd)
            os.ftruncate(fd, 0)
            os.pwrite(fd, _clock(), 0)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_SH)
        yield


def busy_since(path: Path) -> float | None:
    """Return a time at or before which the oldest running writer began, in seconds since 1970.

    Return None if nobody holds the lock in this file, 0 if the clock was set back since, and the present if the file
    system has no locks.
    """
    with _open(path) as fd:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now, began = time.time(), os.stat(fd).st_mtime
            return began if began <= now and not _was_set(os.pread(fd, 100, 0)) else 0.0
        except OSError:
            # Without locks nothing is known, so whatever was used up to now may be in use.
            return time.time()
        return None


def _clock() -> bytes:
    """Return what stays the same while nobody sets the clock of this machine: when it was started, by the clock."""
    return f"{this_boot()} {time.time() - time.clock_gettime(_SINCE_START):.0f}".encode()


def _was_set(noted: bytes) -> bool:
    """Return whether the clock was set since `_clock`; False where that was on another machine, or is not known."""
    (boot, started), (noted_boot, noted_started) = ((*each.split(), b"", b"")[:2] for each in (_clock(), noted))
    if boot != noted_boot or not noted_started.lstrip(b"-").isdigit():
        return False
    return abs(int(started) - int(noted_started)) > SET_S


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock in this file exclusively; without `wait`, yield False if another process holds it."""
    with _open(path) as fd:
        is_held = True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            is_held = False
        except OSError:  # no locks here: renaming is atomic, so another process moves each file only once
            pass
        yield is_held


@contextlib.contextmanager
def _open(path: Path) -> Iterator[int]:
    """Open a lock file; closing it releases the lock, unless a forked child has it open too."""
    make_folder(path.parent)
    # In a shared store, another member of the group could make it a link to a file that only this user may change.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if is_shared(path.parent):
            with contextlib.suppress(PermissionError):  # whoever made it has done this
                os.fchmod(fd, 0o664)
        yield fd
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)
