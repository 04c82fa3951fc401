"""The chunk map of an object, against which a part of it is held that travels alone."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from datapkg.format.chunks import Chunk
from datapkg.format.hashing import mismatch
from datapkg.objects.base import Readable

CHUNK_BYTES = 64 << 10


def chunks_of_object(objects: Readable, hash: str) -> list[Chunk]:
    """The chunks of an object in order, of 64 KiB each but the last; all of it is read, and held against its hash.

    Raise `HashMismatch`, `ObjectNotFound`.
    """
    whole, chunks, at = hashlib.sha256(), [], 0
    with objects.open(hash) as stream:
        while piece := _read(stream, CHUNK_BYTES):
            whole.update(piece)
            chunks.append(Chunk(hashlib.sha256(piece).digest(), at, at + len(piece)))
            at += len(piece)
    if whole.hexdigest() != hash:
        raise mismatch(hash, whole.hexdigest())
    return chunks


def _read(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    data = stream.read(size)
    while data and len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
