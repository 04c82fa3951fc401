"""Archives read in one pass from their beginning to their end: zip, and tar below gz, bz2, xz, zst or nothing.

Nothing is written where an archive says. The caller sees each member, and reads those it wants as streams. An archive
is written by others: how many members it may have, how much it may unfold to and how much of it is read at once is
bounded, and passing a bound is a `BuildFailed` that names it.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, BinaryIO, Literal, Protocol

from datapkg.errors import BuildFailed
from datapkg.format.texts import quoted

MAX_MEMBERS = 500_000
MAX_DIRECTORY_BYTES = 128 << 20
MAX_RATIO = 200
# Below this nobody minds how much a little unfolds to.
FREE_BYTES = 1 << 30
# A tar reads a name, or a link's target, in one piece, however long its header says that it is.
_MAX_READ_BYTES = 4 << 20
_MAX_PAX = 1_000

ENDINGS = (*(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst"),)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DRIVE = re.compile(r"[A-Za-z]:")
_NO_ARCHIVE = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, RecursionError),
    *(ValueError, OverflowError, NotImplementedError, RuntimeError, KeyError, IndexError),
)


class ByteStream(Protocol):
    """Bytes that are read once, from the first on."""

    def read(self, size: int, /) -> bytes: ...


Kind = Literal["file", "folder", "link", "device", "encrypted", "sparse"]


@dataclass(frozen=True)
class Member:
    """One entry: its name as the archive has it, and what it is. `size` is what the archive says, true or not."""

    name: str
    kind: Kind
    size: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its path, in Unicode's normal form; of `./a/b` they are `a` and `b`."""
        parts = unicodedata.normalize("NFC", self.name.removesuffix("/") if self.kind == "folder" else self.name).split(
            "/"
        )
        while len(parts) > 1 and parts[0] == ".":
            parts = parts[1:]
        return tuple(parts)


def member_problem(member: Member) -> str:
    """Return why the bytes of this member cannot be taken; "" where they can."""
    if member.kind != "file":
        return _KINDS[member.kind]
    if member.name.startswith("/") or _DRIVE.match(member.name):
        return "its path is absolute"
    if "\\" in member.name:
        return "its path has backslashes"
    return "its path leads upwards" if ".." in member.parts else ""


_KINDS = {
    "folder": "it is a folder; a glob takes what is in it",
    "link": "it is a link, and only files are taken",
    "device": "it is not a regular file",
    "encrypted": "it is encrypted; unpack it by hand, and name the file by `file:`",
    "sparse": "it is a sparse file, which is not unfolded",
}


def members(stream: BinaryIO, name: str) -> Iterator[tuple[Member, ByteStream | None]]:
    """Yield every member in turn, and of a file its bytes, to be read before the next is asked for.

    `stream` is the archive, open at its beginning; `name` is what messages call it. Raise `BuildFailed` for what is no
    archive, or too much of one.
    """
    size = os.fstat(stream.fileno()).st_size
    bounds = _Bounds(name, size)
    with _explained(name):
        start = stream.read(512)
        stream.seek(0)
        if start.startswith(_ZIP):
            yield from _zip_members(stream, bounds)
            return
        with _unfolded(stream, start) as unfolded:
            yield from _tar_members(_Forward(unfolded, bounds), bounds)


class _Bounds:
    """Counts what comes out of an archive, all members together."""

    def __init__(self, name: str, archive_bytes: int) -> None:
        self.name = name
        self._may = max(FREE_BYTES, MAX_RATIO * archive_bytes)
        self._members = self._bytes = 0

    def add_member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BuildFailed(f"{quoted(self.name)} has more than {MAX_MEMBERS:,} members, which is the bound")

    def add_bytes(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._may:
            raise BuildFailed(
                f"{quoted(self.name)} unfolds to more than {MAX_RATIO} times its own size ({self._bytes:,} bytes so "
                "far), which is the bound",
                hint="if it is meant so, unpack it by hand and name the files by `file:`",
            )


def _zip_members(stream: BinaryIO, bounds: _Bounds) -> Iterator[tuple[Member, ByteStream | None]]:
    _check_directory(stream, bounds.name)
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            bounds.add_member()
            member = Member(info.filename, _zip_kind(info), info.file_size)
            with closing(_MemberBody(partial(archive.open, info), bounds.name, bounds)) as body:
                yield member, body if member.kind == "file" else None


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    mode = info.external_attr >> 16
    if info.is_dir() or stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISLNK(mode):
        return "link"
    if info.flag_bits & 0x41:
        return "encrypted"
    return "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "device"


def _check_directory(stream: BinaryIO, name: str) -> None:
    """Enforce the bounds on the list of members at the end of a zip, before zipfile makes an object of every entry."""
    length = stream.seek(0, os.SEEK_END)
    start = max(0, length - (1 << 16) - 100)
    stream.seek(start)
    end = stream.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0:
        raise BuildFailed(f"{quoted(name)} is a zip without its end: it was cut off")
    count, size = int.from_bytes(end[at + 10 : at + 12], "little"), int.from_bytes(end[at + 12 : at + 16], "little")
    if end[at - 20 : at - 16] == b"PK\x06\x07" and at >= 20:
        stream.seek(int.from_bytes(end[at - 12 : at - 4], "little"))
        larger = stream.read(56)
        count, size = int.from_bytes(larger[32:40], "little"), int.from_bytes(larger[40:48], "little")
    stream.seek(0)
    # The count may lie; no entry is shorter than 46 bytes.
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        what = f"{count:,} members, listed in {size:,} bytes"
        bound = f"{MAX_MEMBERS:,} members and {MAX_DIRECTORY_BYTES >> 20} MiB of list are the bounds"
        raise BuildFailed(f"{quoted(name)} has {what}; {bound}")


@contextmanager
def _unfolded(stream: BinaryIO, start: bytes) -> Iterator[BinaryIO]:
    """Give the tar itself, below what compresses it, which is known by how it begins."""
    opener: Callable[[BinaryIO], Any] | None = None
    for magic, each in _MAGIC.items():
        if start.startswith(magic):
            opener = each
    if opener is None:
        yield stream
        return
    with opener(stream) as unfolded:
        yield unfolded


def _open_zst(stream: BinaryIO) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")


_MAGIC: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": partial(gzip.GzipFile, None, "rb", 9),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": partial(lzma.LZMAFile, format=lzma.FORMAT_XZ),
    b"\x28\xb5\x2f\xfd": _open_zst,
}


def _tar_members(forward: Any, bounds: _Bounds) -> Iterator[tuple[Member, ByteStream | None]]:
    archive: Any
    with tarfile.open(fileobj=forward, mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # it would keep them all
            bounds.add_member()
            if len(archive.pax_headers) > _MAX_PAX:
                raise BuildFailed(f"{quoted(bounds.name)} has more than {_MAX_PAX:,} headers for all its members")
            kind = _tar_kind(info)
            if info.size < 0:
                raise tarfile.ReadError(f"the size of {quoted(info.name)} is negative")
            with closing(_MemberBody(partial(archive.extractfile, info), bounds.name)) as body:
                yield Member(info.name, kind, info.size), body if kind == "file" else None


def _tar_kind(info: tarfile.TarInfo) -> Kind:
    if info.isdir():
        return "folder"
    if info.issym() or info.islnk():
        return "link"
    if not info.isreg():
        return "device"
    return "sparse" if info.issparse() else "file"


class _Forward:
    """A stream that is only ever read onwards, a bounded piece at a time, and counted."""

    def __init__(self, stream: BinaryIO | io.FileIO, bounds: _Bounds) -> None:
        self._stream, self._bounds = stream, bounds
        self._at = 0

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_READ_BYTES:
            raise BuildFailed(
                f"{quoted(self._bounds.name)} has a header of {size:,} bytes; {_MAX_READ_BYTES >> 20} MiB are the bound"
            )
        pieces = []
        while size > 0 and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._at += len(piece)
            self._bounds.add_bytes(len(piece))
        return b"".join(pieces)

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or to < self._at:
            raise tarfile.ReadError("its headers lead backwards")
        if isinstance(self._stream, io.FileIO):  # nothing to unfold: what nobody wants is not read
            if to > os.fstat(self._stream.fileno()).st_size:
                raise tarfile.ReadError("unexpected end of data")
            self._at = self._stream.seek(to)
        while self._at < to and self.read(min(1 << 20, to - self._at)):
            pass
        return self._at


class _MemberBody:
    """The bytes of a member, opened when they are first read, and counted where nothing below counts them."""

    def __init__(self, opener: Callable[[], IO[bytes]], name: str, bounds: _Bounds | None = None) -> None:
        self._opener, self._name, self._bounds = opener, name, bounds
        self._stream: IO[bytes] | None = None

    def read(self, size: int) -> bytes:
        with _explained(self._name):
            if self._stream is None:
                self._stream = self._opener()
            piece = self._stream.read(size)
        if self._bounds is not None:
            self._bounds.add_bytes(len(piece))
        return piece

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what the libraries raise over bytes that are no archive into one line."""
    try:
        yield
    except BuildFailed:
        raise
    except _NO_ARCHIVE as error:
        # A damaged archive may send a library to a place before the start of the file; other errors are the system's.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        hint = f"an archive is one of {', '.join(ENDINGS)}"
        raise BuildFailed(f"{quoted(name)} cannot be read as an archive: {reason}", hint=hint) from error
