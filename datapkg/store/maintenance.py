"""Checking a store: every byte is hashed again, and what is wrong is taken out of use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.objects.pack_file import Pack, read_place
from datapkg.objects.progress import Progress, silent
from datapkg.store.store import Store
from datapkg.store.trusted import hash_file, hash_place


def check_objects(store: Store, hashes: Iterable[str], progress: Progress = silent) -> set[str]:
    """Hashes these objects, whatever the index believes; puts the wrong ones into quarantine and gives their hashes."""
    wanted = list(hashes)
    wrong, right = set(), set()
    for number, hash in enumerate(wanted):
        progress("objects", number, len(wanted))
        try:
            place = store.objects.packed.locate(hash)
        except (ObjectNotFound, CorruptObject):
            continue
        if hash_place(place) == hash:
            if not place.pack:
                right.add(place.path)
        else:
            wrong.add(hash)
    for hash in wrong:
        store.objects.quarantine(hash)
    store.objects.index.believe(right)
    return wrong


def check_packs(store: Store) -> set[str]:
    """Mends packs that are not what their name says: whole objects are kept, others go into quarantine; gives these.

    A wrong byte in a pack's index can hide an object: packs are checked before objects are.
    """
    wrong: set[str] = set()
    packed = store.objects.packed
    for path in sorted(packed.packs_folder.glob("*.pack")):
        if hash_file(path) == path.stem:
            continue
        pack = _readable(path)
        if pack is None:
            store.objects.keep_aside(path.name, path.read_bytes())
            path.unlink()
            continue
        bad = {
            digest.hex(): place for digest, place in pack.entries() if not place or hash_place(place) != digest.hex()
        }
        for hash, place in bad.items():
            store.objects.keep_aside(hash, read_place(place) if place else b"")
        packed.rewrite(pack, without=set(bad))
        wrong.update(bad)
    return wrong


def _readable(path: Path) -> Pack | None:
    try:
        return Pack(path)
    except CorruptObject:
        return None
