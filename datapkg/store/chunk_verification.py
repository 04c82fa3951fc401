"""Verify ranges of an object by its chunk map, which the registry computes while it verifies the object's hash.

This detects corruption, not a malicious registry; a complete object is hashed as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable

from datapkg.errors import InvalidInput
from datapkg.format.chunks import Chunk, decode_chunks, encode_chunks
from datapkg.objects.files import replacing, temp_path
from datapkg.store.byte_ranges import Stretch
from datapkg.store.partial_objects import PartialObject, chunks_path


def kept_chunks(part: PartialObject) -> list[Chunk] | None:
    """Return the stored chunk map of an object; None if there is none or it cannot be read."""
    try:
        return _fitting(part, decode_chunks(chunks_path(part.path).read_bytes()))
    except (OSError, InvalidInput):
        return None


def asked_chunks(part: PartialObject, ask: Callable[[], list[Chunk] | None]) -> list[Chunk] | None:
    """Request the chunk map of an object from its origin and store it; return None if the origin has none.

    Raise `InvalidInput` if it does not match the object's size.
    """
    if (chunks := ask()) is None:
        return None
    if _fitting(part, chunks) is None:
        raise InvalidInput("its chunks are not as long as it is")
    path = chunks_path(part.path)
    # If it cannot be stored, it is requested again. Not synced: a chunk that does not match a torn map is not used.
    with contextlib.suppress(OSError), replacing(path, temp_path(path.parent, "chunks")) as file:
        file.write(encode_chunks(chunks))
    return chunks


def touched(chunks: list[Chunk], stretches: Iterable[Stretch]) -> list[Chunk]:
    """Return the chunks that these ranges overlap, each once, in order."""
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
