"""Free space: checked before bytes are written; a disk that fills up later is reported with what is lacking."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from datapkg.errors import DiskFull
from datapkg.objects.files import NO_ROOM

OTHER_DISK = "make room (datapkg gc), or set DATAPKG_HOME to a larger disk"


def free_bytes(folder: Path) -> int:
    """Return how much room the file system of a folder has, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raise `DiskFull`, with the bytes that are lacking, if a folder has no room for so many bytes more.

    `what` is the subject of the message, such as a package.
    """
    if needed > (free := free_bytes(folder)):
        lacking = needed - free
        raise DiskFull(
            f"{what} needs {needed:,} bytes more, and {folder} has {free:,} free: {lacking:,} are lacking; "
            "nothing was written",
            hint=OTHER_DISK,
            lacking=lacking,
        )


@contextmanager
def explaining_full_disk(folder: Path, left: Callable[[], int]) -> Iterator[None]:
    """Inside, raise `DiskFull` for a full disk, with the bytes that it lacks for those that are `left` to write."""
    try:
        yield
    except (OSError, DiskFull) as error:
        if not isinstance(error, DiskFull) and error.errno not in NO_ROOM:
            raise
        needed, free = left(), free_bytes(folder)
        lacking = max(needed - free, 1)
        raise DiskFull(
            f"{folder} is full: {needed:,} bytes are still to be written, and {free:,} are free; what arrived is kept",
            hint=OTHER_DISK,
            lacking=lacking,
        ) from error
