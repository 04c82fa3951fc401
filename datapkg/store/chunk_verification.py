"""What a stretch of an object is held against: its chunk map, which a registry makes of bytes that it checked."""

from __future__ import annotations

import contextlib
import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable

from datapkg.errors import InvalidInput
from datapkg.format.chunks import Chunk, decode_chunks, encode_chunks
from datapkg.objects.files import rename, temp_path
from datapkg.store.byte_ranges import Stretch
from datapkg.store.partial_objects import PartialObject, chunks_path


def kept_chunks(part: PartialObject) -> list[Chunk] | None:
    """Return the chunks of an object as they were kept; None where they were not, or cannot be read."""
    try:
        return _fitting(part, decode_chunks(chunks_path(part.path).read_bytes()))
    except (OSError, InvalidInput):
        return None


def asked_chunks(part: PartialObject, ask: Callable[[], list[Chunk] | None]) -> list[Chunk] | None:
    """Return the chunks of an object from where it comes from, and kept; None where they are not known there.

    Raise `InvalidInput` for those that cannot be its own.
    """
    if (chunks := ask()) is None:
        return None
    if _fitting(part, chunks) is None:
        raise InvalidInput("its chunks are not as long as it is")
    path = chunks_path(part.path)
    temp = temp_path(path.parent, "chunks")
    with contextlib.suppress(OSError):  # without them they are asked for again
        try:
            temp.write_bytes(encode_chunks(chunks))
            rename(temp, path)
        finally:
            temp.unlink(missing_ok=True)
    return chunks


def touched(chunks: list[Chunk], stretches: Iterable[Stretch]) -> list[Chunk]:
    """Return the chunks in which these stretches lie, each once, in order."""
    starts = [chunk.start for chunk in chunks]
    found: set[int] = set()
    for start, stop in stretches:
        found.update(range(bisect_right(starts, start) - 1, bisect_right(starts, max(start, stop - 1))))
    return [chunks[at] for at in sorted(found)]


def is_right(part: PartialObject, chunk: Chunk) -> bool:
    """Return whether the bytes of a chunk match its hash."""
    return hashlib.sha256(part.read(chunk.start, chunk.stop)).digest() == chunk.digest


def _fitting(part: PartialObject, chunks: list[Chunk]) -> list[Chunk] | None:
    return chunks if chunks and chunks[-1].stop == part.size else None
