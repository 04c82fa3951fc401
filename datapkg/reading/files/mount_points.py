"""Find what is mounted on this machine, test whether it responds, and unmount it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from datapkg.errors import MissingDependency

MOUNTS = Path("/proc/self/mountinfo")
DEVICE = Path("/dev/fuse")
OURS = "datapkg:"  # the prefix of the name in `mount` and `df`
IS_MACOS = sys.platform == "darwin"
INSTALL_FUSE = "install macFUSE: https://macfuse.io" if IS_MACOS else "apt-get install fuse3"
_ESCAPE = re.compile(r"\\([0-7]{3})")
_MAC_LINE = re.compile(r"(.*) on (/.*) \(([^,)]+)")


def check_fuse() -> None:
    """Raise `MissingDependency` if this machine cannot mount anything, with what to do about it."""
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
    """Return the absolute path of a folder without links, even if what is mounted on it does not respond."""
    return Path(os.path.realpath(Path(folder).expanduser()))


def mounted_at(folder: Path) -> str | None:
    """Return the name of what is mounted on a folder, `datapkg:…` for a package; None if nothing is."""
    # Of two mounts on one folder, the later one is seen.
    return dict(_linux_mounts() if MOUNTS.exists() else _other_mounts()).get(str(folder))


def answers(folder: Path) -> bool:
    """Return whether the process behind a mount is alive; wait for it if it is busy."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))  # the kernel answers other calls itself
    except OSError as error:
        return error.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.ENXIO)
    return True


def detach(folder: Path, even_if_busy: bool = False) -> str:
    """Unmount; return "", or why the system refused. A busy mount stays for programs that have its files open."""
    if IS_MACOS:
        command = ["umount", *(["-f"] if even_if_busy else []), str(folder)]
    else:
        command = ["fusermount3", "-u", *(["-z"] if even_if_busy else []), str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ended with {done.returncode}"


def _linux_mounts() -> list[tuple[str, str]]:
    """Return mount point and name of each mount, in the order in which they were made (man 5 proc)."""
    mounts = []
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        mounts.append((_unescaped(left.split(" ")[4]), _unescaped(right.split(" ")[1])))
    return mounts


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def _other_mounts() -> list[tuple[str, str]]:
    """Return the same from the output of `mount`: `NAME on FOLDER (type, …)`."""
    output = subprocess.run(["mount"], capture_output=True, text=True, check=False).stdout
    return [(match[2], match[1]) for match in map(_MAC_LINE.match, output.splitlines()) if match]
