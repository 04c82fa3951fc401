"""The chunk map of an object: ranges of the object are verified by it, and two objects are compared by it.

A Parquet file is cut at its pages, everything else by its content (FastCDC: Xia et al., "The Design of Fast
Content-Defined Chunking", 2020), so that shared data is found at any offset. A map is derived data and never part of a
package: every cut is correct, and equal cuts save more bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from datapkg.format.chunks import MAX_BYTES, MIN_BYTES, TARGET_BYTES, Chunk
from datapkg.format.hashing import mismatch
from datapkg.objects.base import Readable
from datapkg.objects.parquet_pages import MAGIC, MAX_HEADER_BYTES, Page, page_at

MIN_PAGE_BYTES = 1 << 10
"""Shorter pages are joined with the next ones, which keeps maps small."""
VALUES_BYTES = 8 << 10
"""The mean length of chunks of uncompressed pages. Shorter ones would make maps longer than what they save."""
WINDOW_BYTES = 4 << 20


def chunks_of_object(objects: Readable, hash: str) -> list[Chunk]:
    """Return the chunks of an object in order; reads all of it, in bounded memory.

    Raise `HashMismatch` if its bytes do not have this hash, `ObjectNotFound`.
    """
    with objects.open(hash) as stream:
        found, chunks = chunks_of_stream(stream)
    if found != hash:
        raise mismatch(hash, found)
    return chunks


def chunks_of_stream(stream: BinaryIO) -> tuple[str, list[Chunk]]:
    """Return the hash of a stream, read to its end, and its chunks in order; in bounded memory."""
    whole, chunks, at = hashlib.sha256(), [], 0
    for piece in cut(stream):
        whole.update(piece)
        chunks.append(Chunk(hashlib.sha256(piece).digest(), at, at + len(piece)))
        at += len(piece)
    return whole.hexdigest(), chunks


def cut(stream: BinaryIO) -> Iterator[memoryview]:
    """Yield the bytes of a stream in chunks of at most `MAX_BYTES`; each is valid until the next is requested."""
    window = _Lookahead(stream)
    if window.ahead(len(MAGIC)) == MAGIC:
        yield window.take(len(MAGIC))
        yield from _pages(window)
    yield from _by_content(window)


def _pages(window: _Lookahead) -> Iterator[memoryview]:
    """Yield consecutive pages; a long one in several chunks, short ones joined."""
    size = 0
    while (page := _page_ahead(window, size)) is not None:
        size += page.size
        if size >= MIN_PAGE_BYTES:
            yield from _pieces(window, size) if page.is_compressed else _values(window, size)
            size = 0
    if size:
        yield from _pieces(window, size)


def _page_ahead(window: _Lookahead, offset: int) -> Page | None:
    """Return the page `offset` bytes ahead, or None if the stream does not have all of it."""
    page = page_at(window.ahead(offset + MAX_HEADER_BYTES)[offset:])
    return page if page is not None and window.has(offset + min(page.size, WINDOW_BYTES)) else None


def _pieces(window: _Lookahead, size: int) -> Iterator[memoryview]:
    while size and (piece := window.take(min(size, MAX_BYTES))):
        size -= len(piece)
        yield piece


def _values(window: _Lookahead, size: int) -> Iterator[memoryview]:
    """Yield the next `size` bytes, an uncompressed page, in chunks that end by its values.

    A row that is inserted moves the ends of pages, or of blocks; the bytes of the rows around it stay as they were.
    """
    from pyfastcdc import FastCDC

    cutter = FastCDC(VALUES_BYTES, min_size=VALUES_BYTES // 4, max_size=4 * VALUES_BYTES)
    while size and (data := window.ahead(min(size, WINDOW_BYTES))):
        sizes = [chunk.length for chunk in cutter.cut_buf(data)]
        if len(data) < size and len(sizes) > 1:  # the last one ends with the window
            sizes.pop()
        del data
        for each in sizes:
            size -= each
            yield window.take(each)


def _by_content(window: _Lookahead) -> Iterator[memoryview]:
    from pyfastcdc import FastCDC

    cutter = FastCDC(TARGET_BYTES, min_size=MIN_BYTES, max_size=MAX_BYTES)
    while data := window.ahead(WINDOW_BYTES):
        sizes = [chunk.length for chunk in cutter.cut_buf(data)]
        # A view keeps its whole window in memory, beside the next one.
        del data
        if window.has(WINDOW_BYTES):  # the last one ends at the end of the window, not at a boundary of its content
            sizes.pop()
        for size in sizes:
            yield window.take(size)


class _Lookahead:
    """A position in a stream, with some of the bytes after it in memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._data = memoryview(b"")
        self._at = 0

    def ahead(self, size: int) -> memoryview:
        """Return the next `size` bytes, fewer only at the end of the stream, without moving the position."""
        if len(self._data) - self._at < size:
            data = bytearray(self._data[self._at :])
            while len(data) < max(size, WINDOW_BYTES) and (piece := self._stream.read(WINDOW_BYTES)):
                data += piece
            self._data, self._at = memoryview(data), 0
        return self._data[self._at : self._at + size]

    def has(self, size: int) -> bool:
        return len(self.ahead(size)) == size

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes, fewer only at the end, and move the position after them."""
        data = self.ahead(size)
        self._at += len(data)
        return data
