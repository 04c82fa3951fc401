"""Chunk maps as files: making one reads a whole manifest or object, and a restart should not make it again.

A file is the encoded map and a checksum. It is derived data, so it is written without a sync, and one that is damaged
or cannot be read is made again. The sweep deletes maps of objects that are gone and, beyond a limit, those that were
not used for the longest time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from datapkg.format.chunks import decode_chunks, encode_chunks
from datapkg.format.hashing import is_hash
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.objects.files import replacing, temp_path

CHECKSUM_BYTES = 32
# A manifest is cut at its lines, and differently when it is read as an object. How objects are cut is part of the name:
# maps that were made in another way have little in common; the sweep deletes those that are not used.
SUFFIXES = {"object": ".2", "manifest": ".lines"}


class ChunkMaps:
    """A folder of maps, `ab/cdef…`, of which many threads and processes read and write."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self.folder, self._tmp = folder, tmp

    def _path(self, kind: str, hash: str) -> Path:
        return self.folder / hash[:2] / f"{hash[2:]}{SUFFIXES[kind]}"

    def get(self, kind: str, hash: str) -> bytes | None:
        """Return the map of an "object" or a "manifest", or None."""
        path = self._path(kind, hash)
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            chunks, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
            if _checksum(path, chunks) == checksum:
                # The modification time is when the map was last used, by which the oldest are
                # deleted.
                os.utime(path)
                return chunks
        return None

    def keep(self, kind: str, hash: str, chunks: bytes) -> None:
        """Write a map; without space or permission, it is made again the next time."""
        path = self._path(kind, hash)
        # Not synced: a map has its own checksum, and one that was lost is made again.
        with contextlib.suppress(OSError), replacing(path, temp_path(self._tmp, "map")) as file:
            file.write(chunks + _checksum(path, chunks))

    def fill(self, manifest: MappedManifest) -> None:
        """Give a manifest its cached map, or cache the one that it has."""
        if (found := self.get("manifest", manifest.hash)) is not None:
            manifest.chunks = decode_chunks(found)
        else:
            self.keep("manifest", manifest.hash, encode_chunks(manifest.chunks))

    def remove(self, is_alive: Callable[[set[str]], set[str]], max_bytes: int) -> int:
        """Delete maps of objects that are not alive, and the least recently used beyond a limit; return how many."""
        found = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        hashes = {path: path.parent.name + path.name.partition(".")[0] for _, _, path in found}
        alive = is_alive({hash for hash in hashes.values() if is_hash(hash)})
        total, removed = 0, 0
        for _, size, path in sorted(found, reverse=True):
            total += size
            if hashes[path] not in alive or total > max_bytes:
                path.unlink(missing_ok=True)
                total -= size
                removed += 1
        return removed


def _checksum(path: Path, chunks: bytes) -> bytes:
    """Return the checksum of a map under this name: a map of another object is not one of this."""
    return hashlib.sha256(path.parent.name.encode() + path.name.encode() + chunks).digest()
