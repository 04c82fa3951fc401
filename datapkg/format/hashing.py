"""Hashes: sha256, written as 64 lower-case hex digits."""

from __future__ import annotations

import hashlib
from mmap import mmap
from typing import IO, Any, BinaryIO

from datapkg.errors import HashMismatch, InvalidName
from datapkg.format.mapped_pages import in_pieces
from datapkg.format.names import is_hash as is_hash

READ_BYTES = 1 << 20


def check_hash(text: object) -> str:
    """Return the hash itself; raise `InvalidName` for anything that is not 64 lower-case hex digits."""
    if not isinstance(text, str) or not is_hash(text):
        raise InvalidName(f"a hash is 64 lower-case hex digits, got {str(text)[:80]!r}")
    return text


def hash_bytes(data: bytes | bytearray | memoryview | mmap) -> str:
    """Return the sha256 of these bytes."""
    if not isinstance(data, mmap):
        return hashlib.sha256(data).hexdigest()
    sha256, view = hashlib.sha256(), memoryview(data)
    for start, stop in in_pieces(data):
        sha256.update(view[start:stop])
    return sha256.hexdigest()


def check_bytes(data: bytes | mmap, expected: str, what: str = "object") -> None:
    """Raise `HashMismatch` unless these bytes hash to `expected`."""
    if (actual := hash_bytes(data)) != expected:
        raise mismatch(expected, actual, what)


def check_file(file: IO[bytes], expected: str, what: str = "object") -> None:
    """Raise `HashMismatch` unless what is in a file hashes to `expected`."""
    file.seek(0)
    if (actual := hashlib.file_digest(file, "sha256").hexdigest()) != expected:  # type: ignore[arg-type]
        raise mismatch(expected, actual, what)


def mismatch(expected: str, actual: str, what: str = "object") -> HashMismatch:
    """Return the error with the expected and the actual hash."""
    return HashMismatch(
        f"{what} expected to hash to {expected} hashes to {actual}; it was not kept",
        hint="run the command again; if this repeats, the source is damaged",
        expected=expected,
        actual=actual,
    )


class HashingReader:
    """A binary stream that hashes and counts all bytes read through it; the caller closes the inner stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, by default all."""
        data = self._stream.read(size)
        self._sha256.update(data)
        self.size_bytes += len(data)
        return data

    def hexdigest(self) -> str:
        """Return the sha256 of the bytes read so far."""
        return self._sha256.hexdigest()


class VerifyingReader:
    """A stream that raises `HashMismatch` at its end unless its bytes have this hash, so that they get no name."""

    def __init__(self, stream: BinaryIO, expected: str) -> None:
        self._reader, self._expected = HashingReader(stream), expected

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, by default all."""
        data = self._reader.read(size)
        if (not data or size < 0) and self._reader.hexdigest() != self._expected:
            raise mismatch(self._expected, self._reader.hexdigest())
        return data


def hash_stream(stream: BinaryIO) -> tuple[str, int]:
    """Return the hash and size in bytes of a stream, read to its end piece by piece."""
    sha256, size = hashlib.sha256(), 0
    while piece := stream.read(READ_BYTES):
        sha256.update(piece)
        size += len(piece)
    return sha256.hexdigest(), size


def copy_hashed(source: BinaryIO, target: Any, limit: int | None = None) -> tuple[str, int]:
    """Copy a stream to its end in one pass with a constant buffer; return its hash and size in bytes.

    `target` needs `write`. Raise `OverflowError` as soon as there are more than `limit` bytes.
    """
    sha256 = hashlib.sha256()
    size = 0
    readinto = getattr(source, "readinto", None)
    buffer = memoryview(bytearray(READ_BYTES))
    while True:
        if readinto is not None:
            count = readinto(buffer) or 0
            piece: bytes | memoryview = buffer[:count]
        else:
            piece = source.read(READ_BYTES)
            count = len(piece)
        if not count:
            return sha256.hexdigest(), size
        size += count
        if limit is not None and size > limit:
            raise OverflowError(f"more than {limit} bytes")
        sha256.update(piece)
        target.write(piece)
