"""Open what a run left: only a regular file, since reading a pipe or a device may never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_left(path: Path) -> BinaryIO | None:
    """Open a file; None for a link, folder, pipe or device. Raise `FileNotFoundError` if nothing is there."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return None
    # What is there may be replaced meanwhile, by a process that the run left.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None
