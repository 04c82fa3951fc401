"""Packages as a read-only file system of fsspec: `datapkg://uciml/iris@1.2/measurements.parquet`."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from datapkg.errors import InvalidName, MissingDependency, NoSuchFile, ReadOnly
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import check_user
from datapkg.home import Home
from datapkg.reading.files.ref_paths import RefPath, absent, find_place

try:
    from fsspec.spec import AbstractFileSystem
    from fsspec.utils import tokenize
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "fsspec":
        raise
    raise MissingDependency("fsspec is not installed; type: pip install fsspec", hint="pip install fsspec") from error

if TYPE_CHECKING:
    from typing import BinaryIO

    from datapkg.reading.files.tree import Entry

# A state has no time of its own, only entries in this machine's log. Readers get the same constant everywhere.
TIME = datetime(2000, 1, 1, tzinfo=UTC)


class DatapkgFileSystem(AbstractFileSystem):
    """The packages of this machine as folders `user/name`, a state of one as `user/name@state`.

    `lazy` and `registry` are those of `datapkg.load`, `home` is a folder that replaces `DATAPKG_HOME`. An instance is
    cheap, and keeps the home that it was made with; a package without a state is resolved at each call.
    """

    protocol = "datapkg"
    cachable = False  # a cached one would keep the home of the environment in which it was made

    def __init__(
        self,
        home: str | Path | None = None,
        lazy: bool | None = None,
        registry: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._options = {"lazy": lazy, "registry": registry}
        self._home = Home() if home is None else Home({**Home().settings.environ, "DATAPKG_HOME": str(home)})

    @property
    def _fs_token(self) -> str:
        """Equal for file systems that read the same, in other threads and processes too."""
        token: str = tokenize(type(self).__name__, str(self._home.data), sorted(self._options.items()))
        return token

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return stripped.lstrip("/") if isinstance(stripped, str) else stripped

    def _place(self, path: str) -> RefPath | None:
        """Return what is at a path; None for the root and for users, which are folders of packages."""
        if "/" in path:
            return find_place(self._home, path, **self._options)
        try:
            if not path or check_user(path) in self._home.users():
                return None
        except InvalidName as error:
            raise absent(error, path) from error
        raise NoSuchFile(f"no package of {path} is installed", path=path)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return name, size, type, kind, time and, of files, the hash; of tables, rows. Raise `NoSuchFile`."""
        path = self._strip_protocol(path)
        place = self._place(path)
        return _info(path, place.entry) if place else _folder_info(path, "user" if path else "root")

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Return what is in a folder, in the order of the nodes; of a file, the file. Raise `NoSuchFile`."""
        path = self._strip_protocol(path)
        if place := self._place(path):
            if not place.entry.is_folder:
                found = [_info(path, place.entry)]
            else:
                found = [_info(f"{place.name}/{entry.name}", entry) for entry in place.tree.listing(place.path)]
        elif path:
            found = [_folder_info(f"{path}/{name}", "package") for name in self._home.packages(path)]
        else:
            found = [_folder_info(user, "user") for user in self._home.users()]
        return found if detail else [each["name"] for each in found]

    def walk(
        self, path: str, maxdepth: int | None = None, topdown: bool = True, on_error: Any = "omit", **kwargs: Any
    ) -> Any:
        """Walk as fsspec does, but raise errors of folders that cannot be read; only missing ones are skipped."""
        return super().walk(path, maxdepth, topdown, _omit if on_error == "omit" else on_error, **kwargs)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Return whether there is such a file or folder; raise an error for a corrupt one."""
        try:
            self.info(path)
        except NoSuchFile:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Return whether there is such a file."""
        return self._is(path, "file")

    def isdir(self, path: str) -> bool:
        """Return whether there is such a folder."""
        return self._is(path, "directory")

    def _is(self, path: str, type: str) -> bool:
        try:
            return bool(self.info(path)["type"] == type)
        except NoSuchFile:
            return False

    def du(
        self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> Any:
        """Return the size of all files below a path in bytes, or a mapping of each file to its size."""
        found = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True, **kwargs)
        sizes = {name: (info or self.info(name))["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def ukey(self, path: str) -> str:
        """Return the hash of a file's bytes; of a folder, one that changes with anything in the package."""
        path = self._strip_protocol(path)
        place = self._place(path)
        if place is None:
            return hash_bytes("\n".join(self.ls(path, detail=False)).encode())
        return place.entry.objects[0][0] if place.entry.objects else hash_bytes(place.exact.encode())

    def checksum(self, path: str) -> int:
        """Return `ukey` as a number."""
        return int(self.ukey(path), 16)

    def created(self, path: str) -> datetime:
        """Return the same time for every path; raise `NoSuchFile`."""
        self.info(path)
        return TIME

    def modified(self, path: str) -> datetime:
        """Return the same time for every path, since a state never changes. Raise `NoSuchFile`."""
        return self.created(path)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> PackageFile:
        if mode != "rb":
            self._refuse(path)
        return open_file(self, path)

    def _refuse(self, *paths: object, **kwargs: Any) -> NoReturn:
        """Refuse everything that would write."""
        what = ", ".join(str(path) for path in paths[:1])
        what = what or "datapkg://"
        raise ReadOnly(f"{what}: packages are only read here; a new state is made by: datapkg build USER/NAME PATH")

    mkdir = makedirs = rmdir = rm = rm_file = _rm = mv = touch = _refuse
    cp_file = copy = put = put_file = pipe = pipe_file = _refuse


def _omit(error: Exception) -> None:
    if not isinstance(error, NoSuchFile):
        raise error


def open_file(fs: DatapkgFileSystem, path: str, position: int = 0) -> PackageFile:
    """Return a file of a package, opened for reading at a position; raise `NoSuchFile`, `NotAFile`, `CorruptObject`."""
    path = fs._strip_protocol(path)
    place = fs._place(path)
    if place is None:
        raise NoSuchFile(f"{path or 'datapkg://'} names no file: a path is user/name/node", path=path)
    stream = place.tree.open(place.path)
    stream.seek(position)
    return PackageFile(fs, path, place, stream)


class PackageFile(io.BufferedIOBase):
    """A file of a package, open for reading; unpickled, it is opened at the same position of the same state."""

    mode = "rb"

    def __init__(self, fs: DatapkgFileSystem, path: str, place: RefPath, stream: BinaryIO) -> None:
        self.fs, self.path, self.size = fs, path, place.entry.size
        self._exact = place.exact
        self._stream = stream

    @property
    def name(self) -> str:
        return self.path

    @property
    def full_name(self) -> str:
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def details(self) -> dict[str, Any]:
        return self.info()

    def info(self) -> dict[str, Any]:
        """Return what the file system's `info` returned."""
        found: dict[str, Any] = self.fs.info(self._exact)
        return {**found, "name": self.path}

    def __reduce__(self) -> tuple[Any, ...]:
        return open_file, (self.fs, self._exact, self.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._stream.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        return self._stream.read1(size)  # type: ignore[attr-defined]

    def readinto(self, buffer: Any, /) -> int:
        return self._stream.readinto(buffer)  # type: ignore[attr-defined]

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._stream.readline(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _folder_info(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory", "kind": kind}


def _info(name: str, entry: Entry) -> dict[str, Any]:
    if entry.is_folder:
        found = _folder_info(name, entry.kind)
    else:
        ((hash, size),) = entry.objects
        found = {"name": name, "size": size, "type": "file", "kind": entry.kind, "hash": hash, "ETag": hash}
        found["mtime"] = found["created"] = TIME
    if entry.rows is not None:
        found["rows"] = entry.rows
    return found
