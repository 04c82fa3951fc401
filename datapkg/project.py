"""The files of a project, `datapkg.yml` and `datapkg.lock`: where the nearest ones are."""

from __future__ import annotations

import os
import stat
import time
import warnings
from pathlib import Path
from shlex import quote

from datapkg.errors import InvalidLock
from datapkg.format.lockfile import LOCK, REQUIREMENTS, Lock

_TICK_NS = 20_000_000


def project_folders(start: Path | None = None) -> list[Path]:
    """Return the folders in which a project's files are looked for, from `start` upwards.

    The last is the repository's root, the home folder or the edge of the file system, whichever comes first.
    """
    try:
        folder = (start or Path.cwd()).absolute()
        device = folder.stat().st_dev
        stop = Path.home()
    except (OSError, RuntimeError):
        return []
    folders = []
    for each in (folder, *folder.parents):
        try:
            if each.stat().st_dev != device:
                break
        except OSError:
            break
        folders.append(each)
        if each == stop or (each / ".git").exists():
            break
    return folders


def nearest_lock(start: Path | None = None) -> tuple[Path, Lock] | None:
    """Return the nearest lock file upwards and what it pins; one that belongs to somebody else is skipped."""
    path = lock_path(start)
    return read_lock(path) if path else None


def lock_path(start: Path | None = None) -> Path | None:
    """Return the nearest lock file upwards, which is not read; one that belongs to somebody else is skipped."""
    for folder in project_folders(start):
        path = folder / LOCK
        try:
            status = path.stat()
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise InvalidLock(f"{path} is not a regular file", hint=f"mv {quote(str(path))} {quote(str(path))}.old")
        if status.st_uid in (os.getuid(), 0) and not _is_foreign(path):
            return path
        warnings.warn(f"{path} belongs to somebody else and was passed over", stacklevel=2)
    return None


def read_lock(path: Path) -> tuple[Path, Lock] | None:
    """Return a lock file and what it pins; None if it does not exist. Raise `InvalidLock`."""
    try:
        return path, _parsed(path, path.stat())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidLock(f"{path} cannot be read: {error.strerror}", hint=f"ls -ld {quote(str(path))}") from error


_last_parsed: dict[Path, tuple[tuple[int, ...], Lock]] = {}


def _parsed(path: Path, status: os.stat_result) -> Lock:
    """Return what a lock file pins; each import asks, so it is parsed once for as long as it is unchanged."""
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    found = _last_parsed.get(path)
    if found is None or found[0] != stamp:
        found = stamp, Lock.parse(path.read_bytes(), str(path))
        if time.time_ns() - max(stamp[1:3]) > _TICK_NS:  # a later write within a tick of the clock has the same stamp
            _last_parsed.clear()
            _last_parsed[path] = found
    return found[1]


def nearest_requirements(start: Path | None = None) -> Path | None:
    """Return the nearest `datapkg.yml` upwards, or None."""
    return next((folder / REQUIREMENTS for folder in project_folders(start) if (folder / REQUIREMENTS).is_file()), None)


def _is_foreign(path: Path) -> bool:
    """Return whether somebody else could have written this file: its folder is writable by all, and it is not ours."""
    folder = path.parent.stat()
    return bool(folder.st_mode & stat.S_IWOTH) and path.stat().st_uid != os.getuid()
