"""Where something is mounted on this machine, whether it still answers, and how it is taken away."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from datapkg.errors import MissingDependency

MOUNTS = Path("/proc/self/mountinfo")
DEVICE = Path("/dev/fuse")
OURS = "datapkg:"  # how the name begins that `mount` and `df` show
IS_MACOS = sys.platform == "darwin"
INSTALL_FUSE = "install macFUSE: https://macfuse.io" if IS_MACOS else "apt-get install fuse3"
_ESCAPE = re.compile(r"\\([0-7]{3})")
_MAC_LINE = re.compile(r"(.*) on (/.*) \(([^,)]+)")


def check_fuse() -> None:
    """Raises `MissingDependency` where this machine cannot mount anything, with what to do about it."""
    if IS_MACOS:
        return
    if shutil.which("fusermount3") is None:
        raise MissingDependency("mounting takes fusermount3, which is not installed", hint=INSTALL_FUSE)
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        raise MissingDependency(
            f"mounting takes {DEVICE}, which cannot be opened here: {error.strerror}",
            hint="modprobe fuse; a container needs: docker run --device /dev/fuse --cap-add SYS_ADMIN …",
        ) from error


def real_path(folder: Path) -> Path:
    """The absolute path of a folder without links, also where what is mounted on it no longer answers."""
    return Path(os.path.realpath(Path(folder).expanduser()))


def mounted_at(folder: Path) -> str | None:
    """The name of what is mounted on a folder, `datapkg:…` for a package; None where nothing is."""
    return dict(_linux_mounts() if MOUNTS.exists() else _other_mounts()).get(str(folder))


def answers(folder: Path) -> bool:
    """Whether the process behind a mount lives; waits for it where it is busy."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))  # the kernel answers other questions itself
    except OSError as error:
        return error.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.ENXIO)
    return True


def detach(folder: Path, even_if_busy: bool = False) -> str:
    """Unmounts; gives nothing, or why the system refused. A busy one goes on for programs that have its files open."""
    if IS_MACOS:
        command = ["umount", *(["-f"] if even_if_busy else []), str(folder)]
    else:
        command = ["fusermount3", "-u", *(["-z"] if even_if_busy else []), str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ended with {done.returncode}"


@contextlib.contextmanager
def claimed(folder: Path, wait_s: float = 0.0) -> Iterator[bool]:
    """Holds the folder that lies below a mount, or is to; gives false where another process does so for `wait_s`.

    Who mounts holds it until all is taken away; where a file system knows no locks, everybody has it.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _is_locked(number, time.monotonic() + wait_s)
    finally:
        os.close(number)


def _is_locked(number: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)
            continue
        except OSError:
            pass
        return True


def _linux_mounts() -> list[tuple[str, str]]:
    """Mount point and name of each mount, in the order in which they were made (man 5 proc)."""
    mounts = []
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        mounts.append((_unescaped(left.split(" ")[4]), _unescaped(right.split(" ")[1])))
    return mounts


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _other_mounts() -> list[tuple[str, str]]:
    """The same from what `mount` says: `NAME on FOLDER (type, …)`."""
    said = subprocess.run(["mount"], capture_output=True, text=True, check=False).stdout
    return [(match[2], match[1]) for match in map(_MAC_LINE.match, said.splitlines()) if match]
