"""Chunk maps that were made, kept in memory: to make one all of a manifest or of an object is read."""

from __future__ import annotations

import threading
from collections import OrderedDict

from datapkg.format.chunks import decode_chunks, encode_chunks
from datapkg.format.manifest.mapped import MappedManifest

KEPT_BYTES = 64 << 20


class ChunkMaps:
    """The maps that were asked for last, as they travel; safe for threads, none of which waits for a map to be made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._maps: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> bytes | None:
        """The map under this key, if it is kept."""
        with self._lock:
            if key in self._maps:
                self._maps.move_to_end(key)
            return self._maps.get(key)

    def keep(self, key: str, chunks: bytes) -> None:
        """Keeps a map; the oldest go, and one that is longer than all may be is not kept."""
        if len(chunks) > KEPT_BYTES:
            return
        with self._lock:
            self._size += len(chunks) - len(self._maps.pop(key, b""))
            self._maps[key] = chunks
            while self._size > KEPT_BYTES:
                self._size -= len(self._maps.popitem(last=False)[1])

    def fill(self, manifest: MappedManifest) -> None:
        """Gives a manifest its map where that is kept, else keeps it."""
        key = f"manifest:{manifest.hash}"
        if found := self.get(key):
            manifest.chunks = decode_chunks(found)
        else:
            self.keep(key, encode_chunks(manifest.chunks))
