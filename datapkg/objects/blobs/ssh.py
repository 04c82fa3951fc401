"""Bytes under keys as the files of a folder on another machine, over SSH's file protocol (SFTP), by asyncssh.

User, key, port and jump hosts are those of `~/.ssh/config` and the agent, as for `ssh`; the host key must be known. As
in a folder here, a file gets its name by a rename or, where it must be absent, by a hard link, both OpenSSH's
extensions.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import posixpath
import stat
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote, urlsplit

from datapkg.errors import DatapkgError, InvalidInput, MissingDependency, Refused, Unreachable
from datapkg.objects.blobs.base import BlobInfo, Blobs, absent, check_key
from datapkg.objects.blobs.piece_stream import PieceStream
from datapkg.objects.blobs.ssh_session import SshSession

if TYPE_CHECKING:
    import asyncssh

TMP = "tmp"
PIECE_BYTES = 4 << 20
"""asyncssh asks for a piece in blocks, many at once; so long lines are filled, and memory stays bounded."""
TRIES = 3
T = TypeVar("T")


class SshBlobs(Blobs):
    """The files below a folder of a host: `ssh://host/path`, `ssh://user@host:port/path`, `ssh://host/~/path`.

    Raise `Refused` where the host does not let the user in or its key is not known, `Unreachable` where it does not
    answer.
    """

    jobs = 8

    def __init__(self, url: str) -> None:
        parts = urlsplit(check_ssh_url(url))
        _library()
        self._url = url.rstrip("/")
        self._host, self._port, self._user = parts.hostname or "", parts.port, parts.username
        path = unquote(parts.path).rstrip("/") or "/"
        # The working directory of SFTP is the user's home.
        self._root = path.removeprefix("/~/") if path != "/~" else "."
        self._folders: set[str] = set()
        self._lock = threading.Lock()
        self._session: SshSession | None = None

    @property
    def url(self) -> str:
        return self._url

    @cached_property
    def can_create(self) -> bool:
        """Whether the server makes hard links; tried once, with files that are removed again."""
        import asyncssh

        async def attempt(sftp: asyncssh.SFTPClient) -> bool:
            temp = await self._new_file(sftp, io.BytesIO())
            try:
                await sftp.link(temp, f"{temp}.link")
                await sftp.remove(f"{temp}.link")
            except (asyncssh.SFTPOpUnsupported, asyncssh.SFTPFailure, asyncssh.SFTPPermissionDenied):
                return False
            finally:
                await _removed(sftp, temp)
            return True

        return self._run(attempt, TMP)

    def _path(self, key: str) -> str:
        return posixpath.join(self._root, check_key(key))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        size = self.size(key)
        if size is None:
            raise absent(key, self._url)
        return cast(
            BinaryIO, io.BufferedReader(_SshStream(self, key, start, size if stop is None else min(stop, size)))
        )

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`, fewer at the end; raise `NotFound`."""

        async def read(sftp: asyncssh.SFTPClient) -> bytes:
            async with sftp.open(self._path(key), "rb") as file:
                return cast(bytes, await file.read(stop - start, start))

        return self._run(read, key)

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        async def read(sftp: asyncssh.SFTPClient) -> list[bytes]:
            async with sftp.open(self._path(key), "rb") as file:
                return [
                    cast(bytes, await file.read(stop - start, start)) if start < stop else b"" for start, stop in ranges
                ]

        return self._run(read, key)

    def size(self, key: str) -> int | None:
        async def look(sftp: asyncssh.SFTPClient) -> int | None:
            return await self._size(sftp, key)

        try:
            return self._run(look, key)
        except LookupError:
            return None

    def create(self, key: str, data: bytes) -> bool:
        import asyncssh

        if not self.can_create:
            raise Refused(f"{self._url} makes no hard links, by which pushers decide who was first")

        async def attempt(sftp: asyncssh.SFTPClient) -> bool:
            temp = await self._new_file(sftp, io.BytesIO(data))
            try:
                await self._in_folder(sftp, self._path(key), lambda path: sftp.link(temp, path))
            except asyncssh.SFTPFailure:
                # This protocol has no code for a name that is taken. After an answer that was lost it may be our own.
                if not await sftp.exists(self._path(key)):
                    raise
                async with sftp.open(self._path(key), "rb") as file:
                    return cast(bytes, await file.read(len(data) + 1)) == data and attempts > 1
            finally:
                await _removed(sftp, temp)
            return True

        attempts = 0

        async def counted(sftp: asyncssh.SFTPClient) -> bool:
            nonlocal attempts
            attempts += 1
            return await attempt(sftp)

        return self._run(counted, key)

    def put(self, key: str, stream: BinaryIO) -> None:
        check_key(key)
        start = stream.tell() if stream.seekable() else None
        tries = itertools.count()

        async def store(sftp: asyncssh.SFTPClient) -> None:
            if next(tries):
                if start is None:
                    raise Unreachable(f"{self._url} broke off while {key} was sent; push again")
                stream.seek(start)
            temp = await self._new_file(sftp, stream)
            try:
                # SFTP's own rename fails where the target exists; this extension of OpenSSH replaces it.
                await self._in_folder(sftp, self._path(key), lambda path: sftp.posix_rename(temp, path))
            except BaseException:
                await _removed(sftp, temp)
                raise

        self._run(store, key)

    def delete(self, key: str) -> None:
        async def remove(sftp: asyncssh.SFTPClient) -> None:
            await _removed(sftp, self._path(key))

        self._run(remove, key)

    def copy(self, key: str, target: str) -> None:
        # A second name is enough: files are replaced and never changed.
        async def link(sftp: asyncssh.SFTPClient) -> None:
            await self._size(sftp, key)
            temp = self._temp_path()
            await self._in_folder(sftp, temp, lambda path: sftp.link(self._path(key), path))
            await self._in_folder(sftp, self._path(target), lambda path: sftp.posix_rename(temp, path))
            await _removed(sftp, temp)  # a rename to another name of the same file does nothing

        self._run(link, key)

    def rename(self, key: str, target: str) -> None:
        tries = itertools.count()

        async def move(sftp: asyncssh.SFTPClient) -> None:
            if next(tries) and not await sftp.exists(self._path(key)) and await sftp.exists(self._path(target)):
                return  # only the answer to an earlier try was lost
            await self._size(sftp, key)
            await self._in_folder(sftp, self._path(target), lambda path: sftp.posix_rename(self._path(key), path))
            # A rename keeps mtime, and SFTP has no ctime: without this, the sweep would see the age of the old name.
            with contextlib.suppress(OSError):
                await sftp.utime(self._path(target), None)

        self._run(move, key)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        folders, seen = [prefix.rstrip("/")], set[str]()
        while folders:
            folder = folders.pop()
            for name, size, mode, changed_at in self._listed(folder):
                key = f"{folder}/{name}" if folder else name
                if stat.S_ISLNK(mode) and (found := self._linked(key)):  # to another disk, for example
                    real, mode, size = found
                    if stat.S_ISDIR(mode) and real in seen:  # to a folder above
                        continue
                    seen.add(real)
                if stat.S_ISDIR(mode):
                    if key != TMP:
                        folders.append(key)
                elif stat.S_ISREG(mode):
                    yield BlobInfo(key, size, datetime.fromtimestamp(changed_at, UTC))

    def _listed(self, folder: str) -> Sequence[tuple[str, int, int, float]]:
        async def scan(sftp: asyncssh.SFTPClient) -> list[tuple[str, int, int, float]]:
            found = []
            async for each in sftp.scandir(posixpath.join(self._root, folder)):
                if (name := str(each.filename)) not in (".", ".."):
                    attrs = each.attrs
                    found.append((name, attrs.size or 0, attrs.permissions or 0, float(attrs.mtime or 0)))
            return found

        try:
            return self._run(scan, folder)
        except LookupError:
            return []

    def _linked(self, key: str) -> tuple[str, int, int] | None:
        """Return where a link leads, with the mode and the size there; None where that is nowhere."""

        async def look(sftp: asyncssh.SFTPClient) -> tuple[str, int, int]:
            path = posixpath.join(self._root, key)
            found = await sftp.stat(path)
            return str(await sftp.realpath(path)), found.permissions or 0, found.size or 0

        try:
            return self._run(look, key)
        except LookupError:
            return None

    async def _size(self, sftp: asyncssh.SFTPClient, key: str) -> int:
        """Return the size of a key's file; raise `NotFound`, for a folder too."""
        found = await sftp.stat(self._path(key))
        if not stat.S_ISREG(found.permissions or 0):
            raise absent(key, self._url)
        return found.size or 0

    async def _new_file(self, sftp: asyncssh.SFTPClient, stream: BinaryIO) -> str:
        """Write a stream to a new file beside the others and make it durable; return its path."""
        temp = self._temp_path()
        try:
            async with await self._in_folder(sftp, temp, lambda path: sftp.open(path, "xb")) as file:
                # In a thread: what reads the stream may wait, and other transfers go on.
                while piece := await asyncio.to_thread(stream.read, PIECE_BYTES):
                    await file.write(piece)
                await file.fsync()
        except BaseException:
            await _removed(sftp, temp)
            raise
        return temp

    def _temp_path(self) -> str:
        return posixpath.join(self._root, TMP, f"blob-{os.getpid()}-{uuid.uuid4().hex}")

    async def _in_folder(self, sftp: asyncssh.SFTPClient, path: str, name: Callable[[str], Awaitable[T]]) -> T:
        """Give a file its name in a folder, which is made if it is missing."""
        import asyncssh

        await self._make_folder(sftp, path)
        try:
            return await name(path)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):  # another process removed a folder that was known
            self._folders.discard(posixpath.dirname(path))
            await self._make_folder(sftp, path)
            return await name(path)

    async def _make_folder(self, sftp: asyncssh.SFTPClient, path: str) -> None:
        import asyncssh

        folder = posixpath.dirname(path)
        # Known folders are remembered: one round trip for each folder, not for each file.
        if folder not in self._folders:
            try:
                await sftp.makedirs(folder, exist_ok=True)
            except asyncssh.SFTPNoSuchFile as error:  # the folder above is of a kind in which none can be made
                raise Refused(f"{self._url}: the folder {folder} cannot be made: {error.reason}") from None
            self._folders.add(folder)

    def _run(self, action: Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, T]], key: str) -> T:
        """Do something with the connection, which is made anew where it was lost; raise our errors."""
        import asyncssh

        for number in range(TRIES):
            session = None
            try:
                # Under the lock: threads that start together share one connection instead of opening one each.
                with self._lock:
                    session = self._session = self._session or SshSession(self._host, self._port, self._user)
                return session.run(action)
            except DatapkgError:  # some are an OSError too
                raise
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                raise absent(key, self._url) from None
            except asyncssh.SFTPPermissionDenied as error:
                raise Refused(f"{self._url} refuses {key}: {error.reason}") from None
            except (
                asyncssh.SFTPConnectionLost,
                asyncssh.SFTPNoConnection,
                asyncssh.ConnectionLost,
                TimeoutError,
            ) as error:
                self._forget(session)
                if number == TRIES - 1:
                    raise Unreachable(f"{self._url} does not answer: {_reason(error)}", again=True) from None
            except asyncssh.SFTPError as error:
                raise Unreachable(f"{self._url} cannot do this with {key}: {error.reason}") from None
            except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
                hint = f"connect once by hand, and accept its key where that is right: ssh {self._target}"
                raise Refused(f"the key of host {self._host} is not known here: {_reason(error)}", hint=hint) from None
            except asyncssh.PermissionDenied as error:
                hint = f"see whether this works: ssh {self._target}"
                raise Refused(f"{self._host} does not let you in: {_reason(error)}", hint=hint) from None
            except (OSError, asyncssh.Error) as error:
                hint = f"see whether this works: ssh {self._target}"
                what = f"{self._host} cannot be reached by ssh: {_reason(error)}"
                raise Unreachable(what, hint=hint, again=True) from None
        raise AssertionError("unreachable")

    @property
    def _target(self) -> str:
        port = f" -p {self._port}" if self._port else ""
        return f"{self._user}@{self._host}{port}" if self._user else f"{self._host}{port}"

    def _forget(self, session: SshSession | None) -> None:
        if session is None:
            return
        with self._lock:
            # Another thread may have replaced the lost connection already.
            if self._session is session:
                self._session = None
                self._folders.clear()
        session.close()


class _SshStream(PieceStream):
    """The bytes of a key from `start` up to `stop`."""

    def __init__(self, blobs: SshBlobs, key: str, start: int, stop: int) -> None:
        super().__init__(start, stop)
        self._blobs, self._key = blobs, key

    def next_piece(self) -> bytes:
        piece = self._blobs.read_range(self._key, self._at, min(self._at + PIECE_BYTES, self._end))
        if not piece:
            raise Unreachable(f"{self._blobs.url}/{self._key} is shorter than it was when it was opened")
        return piece


async def _removed(sftp: Any, path: str) -> None:
    import asyncssh

    with contextlib.suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        await sftp.remove(path)


def check_ssh_url(url: str) -> str:
    """Return the URL itself; raise `InvalidInput` for anything but `ssh://[user@]host[:port]/path`."""
    parts = urlsplit(url)
    is_odd = parts.scheme != "ssh" or not parts.hostname or parts.password or parts.query or parts.fragment
    # ssh reads what begins with a dash as an option, and our own hints are typed.
    if is_odd or (parts.hostname or "").startswith("-") or (parts.username or "").startswith("-"):
        raise InvalidInput(f"{url!r} is not the address of a folder over SSH: expected ssh://HOST/PATH")
    return url


def _library() -> None:
    try:
        import asyncssh  # noqa: F401 - tried once, for the message
    except ImportError as error:
        raise MissingDependency("ssh:// needs the library asyncssh", hint="pip install asyncssh") from error


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
