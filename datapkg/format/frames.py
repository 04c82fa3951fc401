"""Many small objects in one body: each is preceded by its hash and its size, in 40 bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from datapkg.errors import InvalidInput, QuotaExceeded
from datapkg.format import wire

FRAME_HEAD_BYTES = 40


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
    while head := read_exactly(stream, FRAME_HEAD_BYTES, allow_end=True):
        size = int.from_bytes(head[32:], "little")
        if size > max_bytes:
            raise QuotaExceeded(f"an object of {size:,} bytes in a batch; at most {max_bytes:,} are allowed")
        yield head[:32].hex(), read_exactly(stream, size)


def read_exactly(stream: BinaryIO, size: int, allow_end: bool = False) -> bytes:
    """Return exactly `size` bytes; none at the end of the stream if `allow_end`, else raise `InvalidInput`."""
    pieces: list[bytes] = []
    got = 0
    while got < size:
        piece = stream.read(size - got)
        if not piece:
            if allow_end and not got:
                return b""
            raise InvalidInput(f"the body ends {size - got:,} bytes too early")
        pieces.append(piece)
        got += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
