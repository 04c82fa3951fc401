"""Verify a store: hash every byte again, several files at once, and quarantine what is corrupt."""

from __future__ import annotations

import contextlib
import os
import secrets
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datapkg.errors import CorruptObject, DamagedFile, DatapkgError, ObjectNotFound
from datapkg.format.names import Ref
from datapkg.objects.files import UNWRITABLE
from datapkg.objects.pack_file import Pack, hash_file, hash_place, readable_bytes
from datapkg.objects.progress import VERIFYING, PartCounter, Progress, Share, silent
from datapkg.objects.recipe_maker import check_recipe
from datapkg.objects.threads import ThreadPool
from datapkg.store.index import Seen, seen
from datapkg.store.refs import Current
from datapkg.store.store import Store

MAX_THREADS = 8  # hashing releases Python's lock; more would only make the disk seek


@dataclass(frozen=True)
class _Check:
    """A file to verify: how, and what to do if it is wrong, which returns the hashes of corrupt objects in it."""

    path: Path
    size: int
    is_right: Callable[[Share], bool]
    set_aside: Callable[[], set[str]]

    def run(self, share: Share) -> Seen | None:
        """Return what the file was before it was read if it is right, else None; report all of it as done."""
        try:
            before = seen(self.path)
            return before if self.is_right(share) else None
        finally:
            share(1)


def check(store: Store, hashes: Collection[str] | None = None, progress: Progress = silent) -> set[str]:
    """Hash the files of these objects, or of all, regardless of the index; quarantine and return the corrupt objects.

    A pack is hashed as a whole; of a wrong one, intact objects are kept. In a store that cannot be written, nothing is
    moved. Recipes are last, since they are right only while the objects are that they are ranges of.
    """
    wrong = _run(store, [*_loose(store, hashes), *_packs(store, hashes)], progress)
    return wrong | _run(store, list(_recipes(store, hashes)), progress)


def _run(store: Store, checks: list[_Check], progress: Progress) -> set[str]:
    wrong, right = list[_Check](), dict[Path, Seen]()
    checks = sorted(checks, key=lambda each: -each.size)  # so that no large one is left alone at the end
    counter = PartCounter(progress, [each.size for each in checks], (VERIFYING, VERIFYING))
    with ThreadPool(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        begun = [pool.submit(each.run, counter.share(at)) for at, each in enumerate(checks)]
        for each, call in zip(checks, begun, strict=True):
            with contextlib.suppress(FileNotFoundError):  # another process has just deleted or rewritten it
                if before := call.result():
                    right[each.path] = before
                else:
                    wrong.append(each)
    store.objects.index.mark_seen(right)
    return {hash for each in wrong for hash in each.set_aside()}


def _loose(store: Store, hashes: Collection[str] | None) -> Iterator[_Check]:
    loose = store.objects.packed.loose
    for hash in loose if hashes is None else hashes:
        path = loose.path(hash)
        # An object in a pack or a recipe has no file of its own, nor has one that `gc` has just deleted.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            aside = partial(_quarantine, store, hash)
            yield _Check(path, os.stat(path).st_size, partial(_has_hash, path, hash), aside)


def _packs(store: Store, hashes: Collection[str] | None) -> Iterator[_Check]:
    """Yield the packs of these objects, and those whose index cannot be read, as it may hide one of them."""
    packed = store.objects.packed
    others = {
        pack.path
        for pack in packed.packs()
        if hashes is not None and not any(digest.hex() in hashes for digest in pack.hashes())
    }
    for path in sorted(set(packed.packs_folder.glob("*.pack")) - others):
        # A pack that was merged into another one since it was listed.
        with contextlib.suppress(FileNotFoundError):
            yield _Check(path, path.stat().st_size, partial(_has_hash, path, path.stem), partial(_mend, store, path))


def _recipes(store: Store, hashes: Collection[str] | None) -> Iterator[_Check]:
    packed = store.objects.packed
    for hash in packed.recipes if hashes is None else hashes:
        path = packed.recipes.path(hash)
        if path.exists():
            aside = partial(_quarantine, store, hash)
            yield _Check(path, path.stat().st_size, partial(_is_recipe_right, store, hash), aside)


def _has_hash(path: Path, hash: str, share: Share) -> bool:
    return hash_file(path, share) == hash


def _is_recipe_right(store: Store, hash: str, share: Share) -> bool:
    packed = store.objects.packed
    try:
        check_recipe(packed, hash, packed.recipes.find(hash))
    except CorruptObject:
        return False
    except ObjectNotFound:  # it is right again once what it is made of is
        return True
    return True


def _quarantine(store: Store, hash: str) -> set[str]:
    with _unless_read_only():
        store.objects.quarantine(hash)
    return {hash}


def _mend(store: Store, path: Path) -> set[str]:
    """Replace a wrong pack by one of its intact objects; return the others, none if its index cannot be read."""
    try:
        pack = Pack(path)
    except CorruptObject:
        with _unless_read_only():
            store.objects.move_aside(path)
        return set()
    bad = {digest.hex(): place for digest, place in pack.entries() if not place or hash_place(place) != digest.hex()}
    with _unless_read_only():
        # Before the rewrite, which deletes the only copy of these bytes.
        for hash, place in bad.items():
            store.objects.keep_aside(hash, readable_bytes(place) if place else b"")
        store.objects.packed.rewrite(pack, without=set(bad))
    return set(bad)


@contextlib.contextmanager
def _unless_read_only() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, DatapkgError) or error.errno not in UNWRITABLE:
            raise


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
