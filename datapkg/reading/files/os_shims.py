"""Replacements for Python's file functions, for paths at which a package is shown."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from datapkg.errors import NodeNotFound, NotAFile, NotAFolder, ReadOnly
from datapkg.format.hashing import hash_bytes
from datapkg.reading.files.ref_paths import absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn, TypeVar

    from datapkg.reading.files.tree import Entry, FileTree

    _Error = TypeVar("_Error", bound=OSError)

TIME_S = 946_684_800  # 2000-01-01, as for files in the store, since a state has no time of its own
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Spot(NamedTuple):
    """A path at which a package is shown: `given` is what the caller wrote, `inner` the path among its files."""

    tree: FileTree
    inner: str
    given: str | bytes

    @property
    def text(self) -> str:
        """The path that the caller wrote, as text."""
        return os.fsdecode(self.given)

    def look(self) -> Entry:
        """Return what is there; raise `NoSuchFile`."""
        try:
            return self.tree.look(self.inner)
        except NodeNotFound as error:
            raise absent(error, self.text) from error

    def file(self) -> str:
        """Return a real file with these bytes; raise `NoSuchFile`, `NotAFile`, `ObjectNotFound`, `CorruptObject`."""
        if self.look().is_folder:
            raise _named(NotAFile(f"{self.text} is a folder of {self.tree.source.ref.package}, not a file"), self)
        return str(self.tree.local_path(self.inner))

    def entries(self) -> list[Entry]:
        """Return what is in a folder; raise `NoSuchFile`, `NotAFolder`."""
        if not self.look().is_folder:
            raise _named(NotAFolder(f"{self.text} is a file of {self.tree.source.ref.package}, not a folder"), self)
        return self.tree.listing(self.inner)


class PackageDirEntry:
    """What `os.scandir` yields for a folder of a package, like `os.DirEntry`."""

    def __init__(self, spot: Spot, entry: Entry) -> None:
        is_text = isinstance(spot.given, str)
        self.name: str | bytes = entry.name if is_text else os.fsencode(entry.name)
        self.path: str | bytes = os.path.join(spot.given, self.name)  # type: ignore[arg-type]
        self._entry = entry
        self._inner = f"{spot.inner}/{entry.name}" if spot.inner else entry.name

    def __fspath__(self) -> str | bytes:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._entry.is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self._entry.is_folder

    def is_symlink(self) -> bool:
        return False

    def is_junction(self) -> bool:
        return False

    def inode(self) -> int:
        return self.stat().st_ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return status(self._inner, self._entry)


class Scan:
    """An iterator over a folder that is a context manager and can be closed, as `os.scandir` returns it."""

    def __init__(self, entries: Iterator[PackageDirEntry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[PackageDirEntry]:
        return self

    def __next__(self) -> PackageDirEntry:
        return next(self._entries)

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def status(inner: str, entry: Entry) -> os.stat_result:
    """Return the status of a read-only file or folder of this user, with its true size and a constant time."""
    mode = stat.S_IFDIR | 0o555 if entry.is_folder else stat.S_IFREG | 0o444
    # From the path: programs take two paths with one inode for the same file.
    inode = int(hash_bytes(inner.encode())[:15], 16)
    short = (mode, inode, 0, 1, os.getuid(), os.getgid(), entry.size, TIME_S, TIME_S, TIME_S)
    times = {f"st_{name}time": float(TIME_S) for name in "amc"}
    times_ns = {f"st_{name}time_ns": TIME_S * 1_000_000_000 for name in "amc"}
    more = {"st_blksize": 4096, "st_blocks": -(-entry.size // 512), "st_rdev": 0}
    return os.stat_result(short, {**times, **times_ns, **more})


def open_(spot: Spot, real: Callable[..., Any], mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    """Open the file behind the path for reading, as `open` does; raise `ReadOnly` for a mode that writes."""
    if isinstance(mode, str) and set(mode) & set("wax+"):
        refuse(spot, real)
    return real(spot.file(), mode, *args, **kwargs)


def os_open(spot: Spot, real: Callable[..., Any], flags: int, *args: Any, **kwargs: Any) -> Any:
    """Return a descriptor of the file behind the path, as `os.open` does; raise `ReadOnly` for flags that write."""
    if flags & WRITES:
        refuse(spot, real)
    return real(spot.file(), flags, *args, **kwargs)


def os_stat(spot: Spot, real: Callable[..., Any], **kwargs: Any) -> os.stat_result:
    """Return the status of the node at the path, as `os.stat` does."""
    return status(spot.inner, spot.look())


def os_listdir(spot: Spot, real: Callable[..., Any]) -> list[Any]:
    """Return the names in a folder, as bytes if the path was given as bytes."""
    names = [entry.name for entry in spot.entries()]
    return names if isinstance(spot.given, str) else [os.fsencode(name) for name in names]


def os_scandir(spot: Spot, real: Callable[..., Any]) -> Scan:
    """Return an iterator over the entries of a folder, as `os.scandir` does."""
    return Scan(iter([PackageDirEntry(spot, entry) for entry in spot.entries()]))


def os_access(spot: Spot, real: Callable[..., Any], mode: int, **kwargs: Any) -> bool:
    """Return whether the node may be used in this way: files can be read, folders also searched, nothing written."""
    try:
        entry = spot.look()
    except FileNotFoundError:
        return False
    return not mode & os.W_OK and (entry.is_folder or not mode & os.X_OK)


def os_listxattr(spot: Spot, real: Callable[..., Any], **kwargs: Any) -> list[str]:
    """Return an empty list, since nodes have no extended attributes."""
    spot.look()
    return []


def refuse(spot: Spot, real: Callable[..., Any], *args: Any, **kwargs: Any) -> NoReturn:
    """Refuse everything that would write."""
    what = f"{spot.text} belongs to {spot.tree.source.ref.package}, which is only read here"
    raise _named(ReadOnly(f"{what}; a new state of it is made by: datapkg build USER/NAME PATH"), spot)


def _named(error: _Error, spot: Spot) -> _Error:
    error.filename = spot.text
    return error


ANSWERS: dict[str, Callable[..., Any]] = {
    "open": os_open,
    "stat": os_stat,
    "lstat": os_stat,
    "listdir": os_listdir,
    "scandir": os_scandir,
    "access": os_access,
    "listxattr": os_listxattr,
    **dict.fromkeys(["chmod", "mkdir", "remove", "rmdir", "truncate", "unlink", "utime"], refuse),
}
"""The replacement of each function in `os` that takes one path first, by name."""

TWO_PATHS = ("link", "rename", "replace", "symlink")
"""Functions of `os` that take two paths and write."""
