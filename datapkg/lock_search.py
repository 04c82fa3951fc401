"""Find the lock file that decides: the one of `DATAPKG_LOCK`, of the running code, or of the working directory."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from shlex import quote

from datapkg.code_folder import code_folder
from datapkg.errors import InvalidLock
from datapkg.format.lockfile import DEFAULT_GROUP, REQUIREMENTS
from datapkg.project import lock_path, nearest_lock, read_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.format.lockfile import Lock, Pin
    from datapkg.home import Home

OFF = "off"

# Locks of the code and working directories that were compared, so that each difference is reported once.
_compared: set[tuple[Path, str]] = set()
_unpinned: set[tuple[Path, str]] = set()


def deciding_lock(home: Home, start: Path | None = None, *, of_code: bool = False) -> tuple[Path, Lock] | None:
    """Return the lock that decides which states are meant, with its path; None if there is none.

    The setting `lock` overrules all. Else, with `of_code`, the lock is looked for from the folder of the running code
    upwards first; then from `start`, by default the working directory. Raise `InvalidLock`.
    """
    given = home.settings.get("lock")
    if given.value == OFF:
        return None
    if given.value:
        if found := read_lock(Path(given.value)):
            return found
        raise InvalidLock(
            f"{given.source} names the lock {given.value}, which is not a file", hint=_unset(given.source)
        )
    folder = code_folder() if of_code else None
    if folder and (found := nearest_lock(Path(folder))):
        _compare(found[0])
        return found
    return nearest_lock(start)


def _unset(source: str) -> str:
    return f"unset {source}" if source.isupper() else "datapkg config --unset lock"


def _compare(used: Path) -> None:
    """Warn if the working directory has a lock with other contents than the one that is used."""
    try:
        here = os.getcwd()
    except OSError:
        return
    if (used, here) in _compared:
        return
    _compared.add((used, here))
    other = lock_path(Path(here))
    if other and other != used and not _are_equal(used, other):
        warnings.warn(
            f"{used} of the running code is used, not {other} of the working directory; to use that one: "
            f"export DATAPKG_LOCK={quote(str(other))}",
            stacklevel=2,
        )


def _are_equal(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other) or one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def install_line(path: Path, pin: Pin, start: Path | None = None) -> str:
    """Return the command that installs what a lock pins, typed in `start`, by default the working directory."""
    if lock_path(start) == path:
        return f"datapkg install --group {pin.group}" if pin.group not in ("", DEFAULT_GROUP) else "datapkg install"
    wanted = path.parent / REQUIREMENTS
    return f"datapkg install {f'-r {quote(str(wanted))}' if wanted.is_file() else f'{pin.package}@sha256:{pin.hash}'}"


def add_line(path: Path, package: str) -> str:
    """Return the command that pins a package in the project of a lock, typed in the working directory."""
    line = f"datapkg add {package}"
    return line if lock_path() == path else f"cd {quote(str(path.parent))} && {line}"


def warn_unpinned(path: Path, package: str) -> None:
    """Warn, once for each package, that the lock which decides does not pin it."""
    if (path, package) not in _unpinned:
        _unpinned.add((path, package))
        warnings.warn(
            f"{package} is not pinned by {path}, so its installed state is used; to pin it: {add_line(path, package)}",
            stacklevel=2,
        )
