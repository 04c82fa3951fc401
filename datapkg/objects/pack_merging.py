"""Merge packs of similar size, so that their number does not grow with that of batches."""

from __future__ import annotations

import hashlib

from datapkg.objects.files import temp_path
from datapkg.objects.pack_file import Pack
from datapkg.objects.pack_writer import PackWriter
from datapkg.objects.packs import PACK_BYTES, PACK_OBJECTS, PackedObjects

MERGED_AT, MERGED_BYTES, MERGED_OBJECTS = 16, 64 << 20, 1 << 15


def merge_packs(home: PackedObjects) -> None:
    """Write many packs of similar size as one.

    As in a log-structured merge tree: packs count as similar up to a factor of 8, and merge when they are `MERGED_AT`;
    each byte is written again a few times at most, and those in long ones (`MERGED_BYTES`, `MERGED_OBJECTS`) never. A
    pack with a wrong byte stays as it is, for `verify`. Only one process may merge, and no other may rewrite meanwhile.
    """
    home.has_new_packs = False
    while similar := _similar(home.packs()):
        merged = _written_as_one(home, similar)
        if len(merged) < 2:
            return
        # Only after the merged pack is synced and named; a kill in between leaves copies, which `gc` removes.
        for pack in merged:
            home.delete_pack(pack)


def _similar(packs: list[Pack]) -> list[Pack]:
    """Return the smallest packs of a size of which there are `MERGED_AT`, together at most what one pack takes."""
    sizes: dict[int, list[Pack]] = {}
    for pack in sorted(packs, key=lambda pack: pack.size):
        if pack.size < MERGED_BYTES and pack.count < MERGED_OBJECTS:
            sizes.setdefault((max(pack.size >> 16, 1).bit_length() - 1) // 3, []).append(pack)
    similar = next((each for each in sizes.values() if len(each) >= MERGED_AT), [])
    size, count, chosen = 0, 0, []
    for pack in similar:
        size, count = size + pack.size, count + pack.count
        chosen += [pack] if size <= PACK_BYTES and count <= PACK_OBJECTS else []
    return chosen


def _written_as_one(home: PackedObjects, packs: list[Pack]) -> list[Pack]:
    """Write the objects of packs into a new one, and return the packs of which it has all."""
    writer = PackWriter(temp_path(home.tmp, "pack"))
    try:
        merged = [pack for pack in packs if _copy_all(home, pack, writer)]
        if len(merged) > 1:
            home.name_pack(writer)
        else:
            writer.discard()
    except BaseException:
        writer.discard()
        raise
    return merged


def _copy_all(home: PackedObjects, pack: Pack, writer: PackWriter) -> bool:
    """Copy the objects of a pack; return False at the first that is not right."""
    for digest, place in pack.entries():
        if digest not in writer.entries:
            data = home.readable_bytes(place) if place else b""
            if hashlib.sha256(data).digest() != digest:
                return False
            writer.add({digest: data})
    return True
