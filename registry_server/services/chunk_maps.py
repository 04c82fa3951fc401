"""Chunk maps of manifests, kept in memory since one of a million nodes takes a second to make."""

from __future__ import annotations

import threading
from collections import OrderedDict

from datapkg.format.chunks import decode_chunks, encode_chunks
from datapkg.format.lined_manifest import LinedManifest

KEPT = 64


class ChunkMaps:
    """The maps that were asked for last, as they travel."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self._maps: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, hash: str) -> bytes | None:
        """The map of a manifest, if it is kept."""
        with self._lock:
            if hash in self._maps:
                self._maps.move_to_end(hash)
            return self._maps.get(hash)

    def keep(self, hash: str, chunks: bytes) -> None:
        """Keeps a map; the oldest go."""
        with self._lock:
            self._maps[hash] = chunks
            while len(self._maps) > KEPT:
                self._maps.popitem(last=False)

    def fill(self, manifest: LinedManifest) -> None:
        """Gives a manifest its map where that is kept, else keeps it."""
        if found := self.get(manifest.hash):
            manifest.chunks = decode_chunks(found)
        else:
            self.keep(manifest.hash, encode_chunks(manifest.chunks))
