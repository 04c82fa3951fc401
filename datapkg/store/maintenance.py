"""Checking a store: every byte is hashed again, and what is wrong is taken out of use."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.objects.packs import Pack
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


def check_packs(store: Store) -> list[str]:
    """Puts packs whose index is damaged into quarantine, keeping the objects in them that are whole; gives their names.

    A wrong byte in the index can hide an object: packs are checked before objects are.
    """
    damaged = []
    packed = store.objects.packed
    try:
        names = sorted(os.listdir(packed.packs_folder))
    except FileNotFoundError:
        return []
    for name in names:
        path = packed.packs_folder / name
        if not name.endswith(".pack") or hash_file(path) == path.stem:
            continue
        pack = _readable(path)
        if pack is not None and _is_ordered(pack):
            continue  # the wrong byte is in an object: checking the objects finds it
        damaged.append(name)
        if pack is not None:
            packed.rewrite(pack, without=set(), keep=True)
        store.objects.quarantine_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(path, store.objects.quarantine_folder / f"pack-{name}-{secrets.token_hex(4)}")
    return damaged


def _readable(path: Path) -> Pack | None:
    """The pack, if each of its entries lies inside it."""
    try:
        pack = Pack(path)
        for _ in pack.entries():
            pass
        return pack
    except CorruptObject:
        return None


def _is_ordered(pack: Pack) -> bool:
    hashes = list(pack.hashes())
    return hashes == sorted(set(hashes))
