"""Verify a store: hash every byte again, and quarantine what is corrupt."""

from __future__ import annotations

import contextlib
import os
import secrets
import warnings
from collections.abc import Iterable
from pathlib import Path

from datapkg.errors import CorruptObject, DamagedFile, DatapkgError, ObjectNotFound
from datapkg.format.names import Ref
from datapkg.objects.pack_file import Pack, read_place
from datapkg.objects.progress import Progress, silent
from datapkg.store.refs import Current
from datapkg.store.store import Store
from datapkg.store.verified import hash_file, hash_place


def check_objects(store: Store, hashes: Iterable[str], progress: Progress = silent) -> set[str]:
    """Hash these objects regardless of the index; quarantine the corrupt ones and return their hashes."""
    wanted = list(hashes)
    wrong, right = set(), set()
    for number, hash in enumerate(wanted):
        progress("objects", number, len(wanted))
        try:
            place = store.objects.locate(hash)
        except (ObjectNotFound, CorruptObject):
            continue
        if hash_place(place) == hash:
            if not place.pack:
                right.add(place.path)
        else:
            wrong.add(hash)
    for hash in wrong:
        store.objects.quarantine(hash)
    store.objects.index.mark_verified(right)
    return wrong


def check_packs(store: Store) -> set[str]:
    """Repair packs whose hash does not match: intact objects are kept, the others are quarantined and returned.

    Packs are checked before objects, since a corrupt byte in a pack's index can hide an object.
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


def mend_pointers(store: Store, packages: Iterable[Ref]) -> list[str]:
    """Move corrupt pointers of these packages away, and restore them from the log; return their messages."""
    messages = []
    for ref in packages:
        for path, message in store.refs.damaged(ref):
            messages.append(message)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DamagedFile)
                current = store.refs.current(ref) if path.name == "current" else None
            store.objects.quarantine_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside = f"{ref.user}-{ref.name}-{path.name}-{secrets.token_hex(4)}"
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, store.objects.quarantine_folder / aside)
            if current is not None:
                store.refs.set_current(ref, _described(store, current))
    return messages


def _described(store: Store, current: Current) -> Current:
    """Return a pointer restored from the log, completed with what lists show of its state."""
    try:
        manifest = store.manifest(current.hash)
    except DatapkgError:
        return current
    size = sum(manifest.objects().values())
    partial = bool(store.absent(manifest))
    return Current(current.hash, current.origin, partial, str(manifest.meta.get("title", "")), size)


def _readable(path: Path) -> Pack | None:
    try:
        return Pack(path)
    except CorruptObject:
        return None
