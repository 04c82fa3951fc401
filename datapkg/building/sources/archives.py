"""Read archives in one pass from beginning to end: zip, and tar compressed with gz, bz2, xz, zst or not at all.

Nothing is written to a path that an archive names: the caller sees each member and reads those it wants as streams.
Archives are untrusted, so the number of members, the total unpacked size and the size of a single read are limited;
exceeding a limit raises a `BuildFailed` that names it.
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

from datapkg.errors import BuildFailed, exhausted
from datapkg.format.texts import quoted

# Limits against archive bombs: the list of members takes memory, what they unpack to takes the disk.
MAX_MEMBERS = 500_000
MAX_DIRECTORY_BYTES = 128 << 20
MAX_RATIO = 200
# Archives that unpack to less than this are not checked for their compression ratio.
FREE_BYTES = 1 << 30
# tarfile reads a name or a link target in one piece, of whatever length its header claims.
_MAX_READ_BYTES = 4 << 20
_MAX_PAX = 1_000  # tarfile keeps global headers in memory until the end

ENDINGS = (*(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst"),)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DRIVE = re.compile(r"[A-Za-z]:")
_NO_ARCHIVE = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, RecursionError),
    *(ValueError, OverflowError, NotImplementedError, RuntimeError, KeyError, IndexError),
)


class ByteStream(Protocol):
    """Bytes that can be read once, from the beginning."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        ...


Kind = Literal["file", "folder", "link", "device", "encrypted", "sparse"]


@dataclass(frozen=True)
class Member:
    """One archive entry: its name as stored, and its kind; `size` is a claim of the archive and may be wrong."""

    name: str
    kind: Kind
    size: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names in its path, in Unicode's normal form NFC; those of `./a/b` are `a` and `b`."""
        parts = unicodedata.normalize("NFC", self.name.removesuffix("/") if self.kind == "folder" else self.name).split(
            "/"
        )
        while len(parts) > 1 and parts[0] == ".":
            parts = parts[1:]
        return tuple(parts)


def member_problem(member: Member) -> str:
    """Return why this member cannot be extracted; "" if it can."""
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
    """Yield every member in order, and the stream of a file, which must be read before the next member is requested.

    `stream` is the archive, open at its beginning; `name` is its name in messages. Raise `BuildFailed` if it is not an
    archive or exceeds a limit.
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
    """Count the members and bytes of an archive, and enforce the limits."""

    def __init__(self, name: str, archive_bytes: int) -> None:
        self.name = name
        self._may = max(FREE_BYTES, MAX_RATIO * archive_bytes)
        self._members = self._bytes = 0

    def add_member(self) -> None:
        """Count a member; raise `BuildFailed` above the limit."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BuildFailed(f"{quoted(self.name)} has more than {MAX_MEMBERS:,} members, which is the bound")

    def add_bytes(self, count: int) -> None:
        """Count unpacked bytes; raise `BuildFailed` above the limit."""
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
    if info.flag_bits & 0x41:  # bits 0 and 6: encrypted, and strongly encrypted (APPNOTE.TXT, 4.4.4)
        return "encrypted"
    return "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "device"


def _check_directory(stream: BinaryIO, name: str) -> None:
    """Enforce the limits on the directory of a zip before zipfile creates an object for every entry."""
    length = stream.seek(0, os.SEEK_END)
    # The end record is followed by a comment of at most 64 KiB.
    start = max(0, length - (1 << 16) - 100)
    stream.seek(start)
    end = stream.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0:
        raise BuildFailed(f"{quoted(name)} is a zip without its end: it was cut off")
    count, size = int.from_bytes(end[at + 10 : at + 12], "little"), int.from_bytes(end[at + 12 : at + 16], "little")
    # The Zip64 locator before the end record leads to 64-bit counts.
    if end[at - 20 : at - 16] == b"PK\x06\x07" and at >= 20:
        stream.seek(int.from_bytes(end[at - 12 : at - 4], "little"))
        larger = stream.read(56)
        count, size = int.from_bytes(larger[32:40], "little"), int.from_bytes(larger[40:48], "little")
    stream.seek(0)
    # The count is a claim, so the size is checked too; an entry has at least 46 bytes.
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        what = f"{count:,} members, listed in {size:,} bytes"
        bound = f"{MAX_MEMBERS:,} members and {MAX_DIRECTORY_BYTES >> 20} MiB of list are the bounds"
        raise BuildFailed(f"{quoted(name)} has {what}; {bound}")


@contextmanager
def _unfolded(stream: BinaryIO, start: bytes) -> Iterator[BinaryIO]:
    """Yield the uncompressed tar stream; the compression is detected by its magic bytes."""
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
            archive.members.clear()  # otherwise all of them stay in memory
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
    """A forward-only stream for tarfile that limits the size of single reads and counts bytes."""

    def __init__(self, stream: BinaryIO | io.FileIO, bounds: _Bounds) -> None:
        self._stream, self._bounds = stream, bounds
        self._at = 0

    def tell(self) -> int:
        """Return the position in the uncompressed stream."""
        return self._at

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; raise `BuildFailed` for a read above the limit."""
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
        """Move forward to a position by reading; raise `tarfile.ReadError` for any other movement."""
        if whence != os.SEEK_SET or to < self._at:
            raise tarfile.ReadError("its headers lead backwards")
        if isinstance(self._stream, io.FileIO):  # uncompressed: skip over unwanted members without reading them
            if to > os.fstat(self._stream.fileno()).st_size:
                raise tarfile.ReadError("unexpected end of data")
            self._at = self._stream.seek(to)
        while self._at < to and self.read(min(1 << 20, to - self._at)):
            pass
        return self._at


class _MemberBody:
    """The bytes of a member, opened at the first read; they are counted if `bounds` is given."""

    def __init__(self, opener: Callable[[], IO[bytes]], name: str, bounds: _Bounds | None = None) -> None:
        self._opener, self._name, self._bounds = opener, name, bounds
        self._stream: IO[bytes] | None = None

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        with _explained(self._name):
            if self._stream is None:
                self._stream = self._opener()
            piece = self._stream.read(size)
        if self._bounds is not None:
            self._bounds.add_bytes(len(piece))
        return piece

    def close(self) -> None:
        """Close the member if it was opened."""
        if self._stream is not None:
            self._stream.close()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn library errors for data that is not a valid archive into a one-line `BuildFailed`."""
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
        what = f"{quoted(name)} cannot be read as an archive: {reason}"
        raise exhausted(error) or BuildFailed(what, hint=hint) from error
