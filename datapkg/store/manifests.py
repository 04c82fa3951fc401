"""Read manifests of a store; long ones are mapped into memory, with a cached index whose errors are cache misses."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING

from datapkg.errors import DatapkgError
from datapkg.format.hashing import check_bytes
from datapkg.format.manifest.parsed import Manifest
from datapkg.objects.files import replacing, seal, sweep_temp, sync_file, temp_path
from datapkg.objects.pack_file import PackLocation
from datapkg.store.index import Index
from datapkg.store.verified import VerifiedObjects

if TYPE_CHECKING:
    from datapkg.format.chunks import Chunk

LONG_BYTES = 4 << 20  # shorter ones are parsed in less than 0.1 s
KEPT = 32
"""How many indexes of long manifests stay in the cache."""
_CHUNKS = "chunks:1:"


def read_manifest(objects: VerifiedObjects, cache: Index, hash: str) -> Manifest:
    """Return the manifest with this hash, every line of which was validated once; raise as `open_manifest` does."""
    from datapkg.format.chunks import LONG_BYTES, decode_chunks
    from datapkg.format.manifest import patch
    from datapkg.format.manifest.mapped import MappedManifest

    place = objects.trusted(hash)
    is_read, chunks = f"manifest:{hash}", _CHUNKS + hash
    found = cache.get_many([is_read, chunks])
    if place.size < LONG_BYTES or place.pack is not None or is_read not in found:
        is_mapped = place.size >= LONG_BYTES and place.pack is None
        data = _mapped(place) if is_mapped else objects.read(hash)
        check_bytes(data, hash, "manifest")
        return patch.read_manifest(data, hash, verified=is_read in found)
    manifest = MappedManifest(_mapped(place), hash)
    with contextlib.suppress(DatapkgError):
        kept = decode_chunks(found.get(chunks, b""))
        if kept and kept[-1].stop == place.size:
            manifest.chunks = kept
    manifest.keep_chunks = partial(_keep_map, cache, hash)
    return manifest


def keep_chunks(cache: Index, manifest: Manifest) -> None:
    """Cache the chunk map of a long manifest if it was made, to compare it with another one."""
    if chunks := vars(manifest).get("chunks"):
        _keep_map(cache, manifest.hash, chunks)


def _keep_map(cache: Index, hash: str, chunks: list[Chunk]) -> None:
    from datapkg.format.chunks import encode_chunks

    cache.put_many({_CHUNKS + hash: encode_chunks(chunks)})


def open_manifest(objects: VerifiedObjects, cache: Index, hash: str) -> Manifest:
    """Return the manifest with this hash, indexed if it is long.

    A long one is verified by the stat of its file, as other objects are, and parsed as a whole once, to create its
    index. Raise `ObjectNotFound`, `CorruptObject` or `InvalidManifest`.
    """
    place = objects.trusted(hash)
    is_read = f"manifest:{hash}"
    if place.size < LONG_BYTES or place.pack is not None:
        with objects.open(hash) as stream:
            return Manifest.parse(stream.read(), expected=hash, verified=bool(cache.get_many([is_read])))
    from datapkg.format.manifest import patch
    from datapkg.format.manifest.index import FORMAT, make_index
    from datapkg.format.manifest.indexed import IndexedManifest

    data = _mapped(place)
    path = cache.path.parent / "manifests" / f"{hash}.{FORMAT}"
    if cache.is_verified(path):
        with contextlib.suppress(OSError, ValueError):
            return IndexedManifest(data, hash, _mapped(PackLocation(path, 0, path.stat().st_size)))
    if not cache.get_many([is_read]):
        patch.read_manifest(data, hash)
        cache.put_many({is_read: b"read"})
    index = make_index(data, hash)
    with contextlib.suppress(OSError):
        _keep(path, index)
        cache.mark_verified([path])
    return IndexedManifest(data, hash, index)


def _mapped(place: PackLocation) -> mmap:
    with open(place.path, "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def _keep(path: Path, index: bytes) -> None:
    """Write an index atomically, durably, as it is then marked as verified; delete the oldest ones above the limit."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    tmp = path.parent / "tmp"
    sweep_temp(tmp)
    with replacing(path, temp_path(tmp, "index")) as file:
        file.write(index)
        seal(file)
        sync_file(file)
    others = sorted(path.parent.glob("*.*"), key=lambda each: each.stat().st_ctime_ns)
    for old in others[:-KEPT]:
        os.unlink(old)
