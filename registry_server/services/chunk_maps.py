"""A cache of chunk maps in memory: making one reads a whole manifest or object."""

from __future__ import annotations

import threading
from collections import OrderedDict

from datapkg.format.chunks import decode_chunks, encode_chunks
from datapkg.format.manifest.mapped import MappedManifest

KEPT_BYTES = 64 << 20


class ChunkMaps:
    """The most recently used maps, encoded; safe for threads, and no lock is held while a map is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._maps: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: str) -> bytes | None:
        """Return the map with this key, or None."""
        with self._lock:
            if key in self._maps:
                self._maps.move_to_end(key)
            return self._maps.get(key)

    def keep(self, key: str, chunks: bytes) -> None:
        """Cache a map and evict the oldest; a map larger than the whole cache is not cached."""
        if len(chunks) > KEPT_BYTES:
            return
        with self._lock:
            self._size += len(chunks) - len(self._maps.pop(key, b""))
            self._maps[key] = chunks
            while self._size > KEPT_BYTES:
                self._size -= len(self._maps.popitem(last=False)[1])

    def fill(self, manifest: MappedManifest) -> None:
        """Give a manifest its cached map, or cache the one that it has."""
        key = f"manifest:{manifest.hash}"
        if found := self.get(key):
            manifest.chunks = decode_chunks(found)
        else:
            self.keep(key, encode_chunks(manifest.chunks))
