"""Many small objects in one body: each is preceded by its hash and its size, in 40 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from datapkg.errors import InvalidInput, QuotaExceeded
from datapkg.format import wire

FRAME_HEAD_BYTES = 40
READ_BYTES = 64 << 10
"""A body is read in pieces of up to this size, whatever the size of its objects."""


def frame_head(hash: str, size: int) -> bytes:
    """Return the 40 bytes that precede an object's bytes."""
    return bytes.fromhex(hash) + size.to_bytes(8, "little")


def encode_frames(items: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield the body of frames for these (hash, bytes) pairs."""
    for hash, data in items:
        yield frame_head(hash, len(data))
        yield data


def read_frames(stream: BinaryIO, max_bytes: int = wire.SMALL_BYTES) -> Iterator[tuple[str, bytes]]:
    """Read a body of frames one object at a time, without verifying their hashes.

    Raise `InvalidInput` for a truncated body, `QuotaExceeded` for an object over `max_bytes`.
    """
    data, at = b"", 0
    while True:
        start = at + FRAME_HEAD_BYTES
        if len(data) < start:
            data, at, start = _with_more(stream, data[at:], FRAME_HEAD_BYTES), 0, FRAME_HEAD_BYTES
            if not data:
                return
        hash, size = data[at : at + 32].hex(), int.from_bytes(data[at + 32 : start], "little")
        if size > max_bytes:
            raise QuotaExceeded(f"an object of {size:,} bytes in a batch; at most {max_bytes:,} are allowed")
        if len(data) < start + size:
            data, start = _with_more(stream, data[start:], size), 0
            if not data:
                raise _too_short(size)
        at = start + size
        yield hash, data[start:at]


def _with_more(stream: BinaryIO, begun: bytes, size: int) -> bytes:
    """Return bytes that were read and those that follow, at least `size`; none at the end of the stream.

    Raise `InvalidInput` if it ends after some of them.
    """
    pieces, got = [begun], len(begun)
    while got < size:
        piece = stream.read(READ_BYTES)
        if not piece:
            if not got:
                return b""
            raise _too_short(size - got)
        pieces.append(piece)
        got += len(piece)
    return b"".join(pieces)


def read_exactly(stream: BinaryIO, size: int, allow_end: bool = False) -> bytes:
    """Return exactly `size` bytes; none at the end of the stream if `allow_end`, else raise `InvalidInput`."""
    pieces: list[bytes] = []
    got = 0
    while got < size:
        piece = stream.read(size - got)
        if not piece:
            if allow_end and not got:
                return b""
            raise _too_short(size - got)
        pieces.append(piece)
        got += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_short(lacking: int) -> InvalidInput:
    return InvalidInput(f"the body ends {lacking:,} bytes too early")
