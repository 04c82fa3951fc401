"""Files that appear whole or not at all: written beside their place, synced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import time
from functools import cache
from pathlib import Path

from datapkg.errors import DatapkgError, InvalidInput, NotFound, Refused, exhausted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Iterator
    from typing import IO, Any

# EFBIG is what the size limit of a process (ulimit -f) gives.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
OTHER_HOME = "export DATAPKG_HOME=FOLDER, one that you may write"
# Longer than any upload may take, and short enough that leftovers of shared folders do not pile up.
STALE_TEMP_S = 24 * 3600
# Beyond these, one syncfs of everything costs less than an fsync of each folder.
MANY_FOLDERS = 8
SEALED_MTIME_NS = 946_684_800 * 10**9  # the year 2000


def no_such_path(path: Path, kind: str = "file or folder", note: str = "") -> NotFound:
    """Return the error for a path of the user at which there is nothing, or something of another kind.

    It names the folder, and a name that is near.

    `note` is a clause on what was not done because of it.
    """
    import shlex

    from datapkg.format.suggestions import close_names, did_you_mean
    from datapkg.format.texts import quoted

    folder = path.absolute().parent
    try:
        near = close_names(path.name, os.listdir(folder), cutoff=0.8)[:1]
    except OSError:
        near = []
    meant = os.fspath(path.with_name(near[0])) if near else ""
    line = f"there is no {kind} {quoted(path)}" + ("" if path.is_absolute() else f" in {Path.cwd()}")
    if path.exists():
        line, meant = f"{quoted(path)} is not a {kind}", ""
    detail: dict[str, Any] = {"meant": [os.fspath(path), meant]} if meant else {}
    message = f"{line}{f'; {note}' if note else ''}{did_you_mean([meant] if meant else [])}"
    there = next(each for each in (folder, *folder.parents) if each.is_dir() or each == each.parent)
    return NotFound(message, hint=shlex.join(["ls", str(there)]), path=os.fspath(path), **detail)


def private_folder(folder: Path) -> None:
    """Make a folder of datapkg's own, and those above it, private to its owner; one that exists is left as it is.

    Raise `Refused`, which names `DATAPKG_HOME`, where it may not be written.
    """
    try:
        _make_private(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise Refused(f"datapkg cannot make the folder {folder}: a file is there", hint=OTHER_HOME) from error
    except OSError as error:
        if error.errno not in UNWRITABLE | {errno.ENOENT}:  # ENOENT: mkdir below /proc
            raise
        raise Refused(f"datapkg cannot write {folder}: {error.strerror}", hint=OTHER_HOME) from error


def _make_private(folder: Path) -> None:
    # Not by `Path.mkdir`, which gives the folders above the usual rights.
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        _make_private(folder.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing: private, or open to the group as the shared one above is."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent)
        make_folder(folder)
        return
    if is_shared(folder.parent):
        # The umask removed permissions. By descriptor, so that nobody can put a link in its place.
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(fd, stat.S_IMODE(os.stat(folder.parent).st_mode))
        finally:
            os.close(fd)


def is_shared(folder: Path) -> bool:
    """Return whether a folder belongs to a group on purpose: set-group-ID, and writable for the group."""
    try:
        mode = os.stat(folder).st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def temp_path(folder: Path, kind: str = "put") -> Path:
    """Return a name in a folder for a temporary file that no other process uses; make the folder.

    The name has the process that writes the file, so that `stale_temps` can find files of killed ones.
    """
    make_folder(folder)
    return folder / f"{kind}-{this_boot()}-{os.getpid()}-{os.urandom(8).hex()}"


def beginning(name: str) -> str:
    """Return the first 100 bytes of a file's name or less, for a temporary name that file systems do not refuse."""
    return os.fsencode(name)[:100].decode(errors="ignore")


@cache
def this_boot() -> str:
    """Return 8 digits that are the same only where process ids mean the same: in one boot and one PID namespace."""
    import hashlib

    try:
        where = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    except OSError:
        where = " ".join(os.uname())
    return hashlib.sha256(where.encode()).hexdigest()[:8]


@contextlib.contextmanager
def temp_folder(folder: Path, kind: str) -> Iterator[Path]:
    """Make a folder with a name as of `temp_path`, and remove it at the end of the block as far as rights allow.

    `tempfile.TemporaryDirectory` recurses without an end where it may not list its folder any more, and its names do
    not tell `stale_temps` that their process was killed.
    """
    path = temp_path(folder, kind)
    make_folder(path)
    try:
        yield path
    finally:
        remove_tree(path)


def new_file(path: Path, buffering: int = -1, mode: int = 0o600) -> IO[bytes]:
    """Return a new file that only its owner may read, or with this mode, open for writing; fails if it exists."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    return os.fdopen(fd, "wb", buffering=buffering)


def unnamed_file(folder: Path) -> IO[bytes]:
    """Open a new file of a folder to write and read, which has no name any more and is gone when it is closed."""
    path = temp_path(folder)
    try:
        return open(path, "x+b")
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path, temp: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open the new file `temp`, which replaces `path` when the block ends; after an error it is deleted."""
    try:
        with new_file(temp, mode=mode) as file:
            yield file
        rename(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


class NamedFile(io.FileIO):
    """A file of which failing reads name it, as failing to open does."""

    def readinto(self, buffer: Any) -> int:
        with naming(self.name):
            return super().readinto(buffer) or 0

    def readall(self) -> bytes:
        with naming(self.name):
            return super().readall() or b""


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write bytes to an unbuffered file, which takes only some of them at once where a disk is nearly full."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def append_line(path: Path, line: bytes, mode: int = 0o600) -> None:
    """Append a line to a file, in one write: lines of several processes do not mix, and a kill leaves whole lines."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb", buffering=0) as file:
        write_all(file, line)


@contextlib.contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Inside, an error of the system that names no file (a full disk) names this one."""
    try:
        yield
    except OSError as error:
        name_file(error, path)
        raise


def name_file(error: OSError, path: Path | str) -> None:
    """Let an error of the system that names no file name this one."""
    if error.filename is None:
        error.filename = str(path)


def seal(file: IO[bytes]) -> None:
    """Make a finished file read-only, with a modification time long past.

    So any later write, however soon, changes the time that the index of the store remembers.
    """
    file.flush()
    os.fchmod(file.fileno(), 0o444)
    os.utime(file.fileno(), ns=(time.time_ns(), SEALED_MTIME_NS))


def is_sealed(status: os.stat_result) -> bool:
    """Return whether a file was finished by `seal`; all of these are named by their hash."""
    return status.st_mtime_ns == SEALED_MTIME_NS and not stat.S_IMODE(status.st_mode) & 0o222


def sync_file(file: IO[bytes]) -> None:
    """Write this file to the disk: its bytes survive a power cut when this returns (fsync(2))."""
    file.flush()
    os.fsync(file.fileno())


def sync_path(path: Path) -> None:
    """Write the file at this path to the disk, as `sync_file` does."""
    # A sealed file cannot be opened for writing; fsync does not need that.
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write the names in this folder to the disk: they survive a power cut when this returns."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_folders(folders: Iterable[Path], within: Path) -> None:
    """Write the names in these folders of one file system to the disk, as `sync_folder` does."""
    distinct = set(folders)
    if len(distinct) > MANY_FOLDERS:
        sync_all(within)
    else:
        for folder in distinct:
            sync_folder(folder)


def sync_all(folder: Path) -> None:
    """Write everything in the file system of this folder to the disk (syncfs(2))."""
    import ctypes

    # Only Linux has syncfs.
    syncfs = _syncfs()
    if syncfs is None:
        os.sync()
        return
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(fd)


@cache
def _syncfs() -> ctypes._NamedFuncPointer | None:
    import ctypes.util

    try:
        return ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True).syncfs
    except (OSError, AttributeError, TypeError):
        return None


def write_atomic(path: Path, data: bytes, tmp: Path, mode: int = 0o600) -> None:
    """Replace a small file: readers see the old bytes or the new, also after a crash."""
    with replacing(path, temp_path(tmp, "file")) as file:
        file.write(data)
        # The mode is set on the open file, since the umask takes rights from that of `open`.
        os.fchmod(file.fileno(), mode)
        sync_file(file)
    sync_folder(path.parent)


def read_json(path: Path, what: str, hint: str) -> Any:
    """Return the value of a JSON file, {} if there is none; raise `InvalidInput` with `what` it is and the hint."""
    import json

    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, OSError, RecursionError) as error:
        raise exhausted(error) or InvalidInput(f"the {what} {path} cannot be read: {error}", hint=hint) from error


def may_be_whole(error: BaseException) -> bool:
    """Return whether reading a file failed for another reason than its bytes, such as rights or open files."""
    return isinstance(error, OSError) and not isinstance(error, DatapkgError) and error.errno not in _LOST


# EIO: the disk fails. EISDIR, ELOOP: something else has taken the name.
_LOST = (errno.EIO, errno.EISDIR, errno.ELOOP)


def rename(temp: Path, path: Path) -> None:
    """Give a finished file its name, over what had it; make the folder if it is missing."""
    # The folder is there nearly always, so it is made only where the rename fails.
    try:
        os.replace(temp, path)
    except FileNotFoundError:
        make_folder(path.parent)
        os.replace(temp, path)


def sweep_temp(folder: Path, older_than_s: float = STALE_TEMP_S) -> int:
    """Remove what killed processes left in a folder of temporary files; return how many."""
    removed = 0
    for path in stale_temps(folder, older_than_s):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            else:
                os.unlink(path)
            removed += 1
    return removed


def remove_tree(folder: Path) -> None:
    """Remove a folder with all below it, also what may not be written; do nothing where there is none."""
    import shutil

    # A name cannot be removed from a folder that is not writable.
    for root, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            os.chmod(root, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def stale_temps(folder: Path, older_than_s: float = STALE_TEMP_S) -> Iterator[Path]:
    """Yield the files in a folder of temporary files whose process has ended, or that are older than this.

    Processes of other machines, which may share the folder, cannot be looked up: only the age counts there. Of this
    machine it does not count while the process runs: it may have slept with the machine, or the clock was set.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                # Not the modification time, which `seal` sets to the past.
                age_s = time.time() - entry.stat(follow_symlinks=False).st_ctime
                is_running = _is_running(entry.name)
                if not is_running and (is_running is False or age_s > older_than_s):
                    yield Path(entry.path)


def _is_running(name: str) -> bool | None:
    """Return whether the process of this machine runs that made a temporary file; None for one of another machine."""
    _, machine, pid, *_ = *name.split("-"), "", "", ""
    if machine != this_boot() or not pid.isdigit():
        return None
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True
