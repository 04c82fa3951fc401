"""Chunks and chunk maps: long bytes are transferred in chunks; a map lists the chunks of some bytes in order.

A manifest is cut behind lines chosen by a hash of their own bytes, so that equal lines are cut alike wherever they are:
an insertion changes only the chunks around it. A longer line is more likely to be chosen, so chunks are about 64 KiB
whatever the length of the lines. A map is derived data and not part of a package; both sides cache it, and any cut is
valid: what is assembled from it is hashed as a whole.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from datapkg.errors import InvalidInput
from datapkg.format.mapped_pages import give_back, in_pieces

if TYPE_CHECKING:
    from mmap import mmap

    import numpy as np

LONG_BYTES = 1 << 20
"""Shorter bytes are transferred whole."""
TARGET_BYTES, MIN_BYTES, MAX_BYTES = 64 << 10, 16 << 10, 256 << 10
ENTRY_BYTES = 36
MIN_MEAN_BYTES = 1 << 10
REFINED_BYTES = 16 << 20
"""Longer gaps are not compared line by line, which takes an object in memory for each line."""
_WORD = 8
_WORDS_OF_START, _WORDS_OF_END = 12, 8
_LINES_AT_ONCE = 1 << 16
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9)


class Chunk(NamedTuple):
    """A chunk: the sha256 of its bytes, its start and its end."""

    digest: bytes
    start: int
    stop: int


class Gap(NamedTuple):
    """A difference of two chunk maps: bytes `old_start` to `old_stop` of the old were replaced by those of the new."""

    old_start: int
    old_stop: int
    start: int
    stop: int


class Step(NamedTuple):
    """`size` bytes from `offset` of the object `source`, or of the new bytes if that is None."""

    source: str | None
    offset: int
    size: int


def encode_chunks(chunks: Sequence[Chunk]) -> bytes:
    """Return an encoded chunk map: for each chunk 32 bytes of sha256 and 4 bytes of length (little-endian)."""
    return b"".join(chunk.digest + (chunk.stop - chunk.start).to_bytes(4, "little") for chunk in chunks)


def decode_chunks(data: bytes) -> list[Chunk]:
    """Return the chunks of an encoded map; raise `InvalidInput` if it is malformed."""
    if len(data) % ENTRY_BYTES:
        raise InvalidInput("a chunk map is cut short")
    chunks, at = [], 0
    for start in range(0, len(data), ENTRY_BYTES):
        size = int.from_bytes(data[start + 32 : start + ENTRY_BYTES], "little")
        if not size:
            raise InvalidInput("a chunk map has a chunk without bytes")
        chunks.append(Chunk(data[start : start + 32], at, at + size))
        at += size
    return chunks


def max_map_bytes(size: int) -> int:
    """Return the maximum size of the chunk map of `size` bytes: chunks have at least 1 KiB on average."""
    return ENTRY_BYTES * (size // MIN_MEAN_BYTES + 16)


def line_offsets(data: bytes | mmap | memoryview) -> Sequence[int]:
    """Return the offsets of the lines of some bytes, and of the end of the last; each line ends with a newline.

    Without numpy, which takes longer to load than most manifests take here.
    """
    offsets, newline = array("Q", [0]), re.compile(b"\n")
    for start, stop in in_pieces(data):
        offsets.extend(map(re.Match.end, newline.finditer(data, start, stop)))
    return memoryview(offsets)


def chunks_of_lines(data: bytes | mmap | memoryview, offsets: Sequence[int]) -> list[Chunk]:
    """Return the chunk map of lines with these `line_offsets`: about 64 KiB each, at least 16 KiB except the last.

    Chunks have at most 256 KiB, unless a single line is longer.
    """
    view = memoryview(data)
    hits = _hits(view, offsets)
    chunks: list[Chunk] = []
    start, size = 0, len(view)
    while start < size:
        at = bisect_right(hits, start + MIN_BYTES - 1)
        stop = hits[at] if at < len(hits) else size
        if stop - start > MAX_BYTES:
            last = bisect_right(offsets, start + MAX_BYTES) - 1
            stop = offsets[last] if offsets[last] - start >= MIN_BYTES else offsets[last + 1]
        chunks.append(Chunk(hashlib.sha256(view[start:stop]).digest(), start, stop))
        give_back(view, start, stop)
        start = stop
    return chunks


def _hits(view: memoryview, offsets: Sequence[int]) -> list[int]:
    """Return the ends of lines at which a chunk may end, chosen by a hash of a line's first and last bytes.

    The probability grows with the length of the line, so chunks are about equally long for lines of any length.
    """
    import numpy as np

    if len(view) <= MIN_BYTES:
        return []
    # A word at each place of the bytes, without a copy.
    words: np.ndarray = np.ndarray((len(view) - _WORD + 1,), "<u8", view, strides=(1,))
    ends = np.asarray(offsets).astype(np.int64)
    hits: list[int] = []
    for first in range(0, len(ends) - 1, _LINES_AT_ONCE):
        some = ends[first : first + _LINES_AT_ONCE + 1]
        # Not TARGET_BYTES itself: the product would be 2^64, which becomes 0.
        bound = np.minimum(np.diff(some), TARGET_BYTES - 1).astype(np.uint64) * np.uint64((1 << 64) // TARGET_BYTES)
        hits += some[1:][_line_hashes(words, some) < bound].tolist()
        give_back(view, int(some[0]), int(some[-1]))
    return hits


def _line_hashes(words: np.ndarray, ends: np.ndarray) -> np.ndarray:
    import numpy as np

    # Of a line shorter than these words, bytes of its neighbours count too: that may move a cut, and is never wrong.
    places = [ends[:-1] + _WORD * number for number in range(_WORDS_OF_START)]
    places += [ends[1:] - _WORD * number for number in range(1, _WORDS_OF_END + 1)]
    hashes = np.zeros(len(ends) - 1, np.uint64)
    for place in places:
        hashes ^= words[np.clip(place, 0, len(words) - 1)]
        hashes *= np.uint64(_ODD[0])
        hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(_ODD[1])
    return hashes ^ (hashes >> np.uint64(32))


def gaps(old: Sequence[Chunk], new: Sequence[Chunk]) -> list[Gap]:
    """Return the differences of two maps, in order: what is between chunks that both have in the same order."""
    known: dict[bytes, deque[Chunk]] = {}
    for chunk in old:
        known.setdefault(chunk.digest, deque()).append(chunk)
    found: list[Gap] = []
    old_at = at = 0
    for chunk in new:
        same = known.get(chunk.digest, deque())
        # Chunks match in one order only: one that moved before what was matched counts as new.
        while same and same[0].start < old_at:
            same.popleft()
        if not same:
            continue
        before = same[0]
        if (old_at, at) != (before.start, chunk.start):
            found.append(Gap(old_at, before.start, at, chunk.start))
        old_at, at = before.stop, chunk.stop
    old_size, size = (each[-1].stop if each else 0 for each in (old, new))
    if (old_at, at) != (old_size, size):
        found.append(Gap(old_at, old_size, at, size))
    return found


def refined(gap: Gap, old: memoryview, new: memoryview) -> list[Gap]:
    """Return the parts of a gap in which whole lines differ; a very long gap is returned unchanged."""
    one, other = old[gap.old_start : gap.old_stop], new[gap.start : gap.stop]
    if max(len(one), len(other)) > REFINED_BYTES:
        return [gap]
    return [
        Gap(
            gap.old_start + part.old_start, gap.old_start + part.old_stop, gap.start + part.start, gap.start + part.stop
        )
        for part in gaps(_each_line(one), _each_line(other))
    ]


def _each_line(view: memoryview) -> list[Chunk]:
    """Return each line as a chunk identified by its bytes."""
    *lines, rest = bytes(view).split(b"\n")
    lines = [line + b"\n" for line in lines] + ([rest] if rest else [])
    ends = accumulate(map(len, lines))
    return [Chunk(line, end - len(line), end) for line, end in zip(lines, ends, strict=True)]
