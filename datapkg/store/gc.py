"""Free the space of removed packages: delete what no other state refers to, and nothing that a process relies on.

`rm` frees what the removed package referred to; there is no collection of everything that is unreferenced. The steps:
the pointers of a package are moved into the trash (`Refs.remove`); mark what the remaining states refer to; move
unmarked objects and packs into the trash; mark again; restore what is needed after all; delete the rest. A package
stays in the trash until all its space is freed, so a run that was killed, or that had to keep something, is continued
by the next one.

A process that writes holds a lock (`Store.writing`), and what it counts as present gets a new access time
(`VerifiedObjects.missing`), which leaves the modification time, by which it is trusted, unchanged. While there is such
a process, files used since it began are kept, and files used within the last hour: it may take days, or be suspended
with its machine. The second check finds a process that began after the first. One that ended before it has written its
pointer, which the second marking finds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from datapkg.errors import CorruptObject, DatapkgError, ObjectNotFound
from datapkg.format.hashing import is_hash
from datapkg.objects.files import rename
from datapkg.objects.pack_file import Pack, PackLocation
from datapkg.store import writer_lock
from datapkg.store.refs import Refs
from datapkg.store.verified import RENEWED_NS, hash_place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from datapkg.format.manifest.parsed import Manifest
    from datapkg.format.names import Ref
    from datapkg.store.verified import VerifiedObjects

    class CollectableStore(Protocol):
        """The parts of a store that garbage collection needs; the store itself imports this module, to free space."""

        folder: Path
        links_folder: Path
        refs: Refs

        @property
        def objects(self) -> VerifiedObjects: ...

        @property
        def work_lock(self) -> Path: ...

        def open_manifest(self, hash: str) -> Manifest: ...


GRACE_S = 3600
_MANIFEST_HEAD = b'{"datapkg":'


@dataclass(frozen=True)
class Freed:
    """Bytes that were freed, that are kept because other states use them, and that are kept because of recent use.

    `until` is when the last of these can be freed, in seconds since 1970, and 0 if that is when a process ends;
    `problem` is the reason why nothing was freed.
    """

    size_bytes: int = 0
    shared_bytes: int = 0
    left_bytes: int = 0
    until: float = 0
    problem: str = ""


@dataclass
class _Garbage:
    """Objects that only removed states refer to: hash to size, manifests separately; `shared` are also used by others.

    `kept` are the states that were marked.
    """

    objects: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, int] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    shared_bytes: int = 0
    kept: set[str] = field(default_factory=set)

    @property
    def hashes(self) -> set[str]:
        """Return the hashes of all garbage."""
        return {*self.objects, *self.manifests}


@dataclass(frozen=True)
class _Moved:
    """A file that was moved into the trash: its original path, the garbage in it, and the bytes that it frees."""

    home: Path
    trash: Path
    hashes: set[str]
    size_bytes: int


def estimate(store: CollectableStore, ref: Ref) -> Freed:
    """Return what removing a package would free if no other process were running."""
    try:
        garbage = _find_garbage(store, store.refs.known_hashes(ref), without=ref.package)
    except DatapkgError as error:
        return Freed(problem=error.message)
    absent = store.objects.packed.missing(garbage.hashes)
    sizes = garbage.objects | garbage.manifests
    return Freed(sum(size for hash, size in sizes.items() if hash not in absent), garbage.shared_bytes)


def free(store: CollectableStore, *, now: bool = False, wait: bool = True) -> Freed:
    """Free the space of all removed packages; `now` asserts that no other process is running.

    Only one run is active at a time: wait for another one, or without `wait` do nothing.
    """
    trash = store.folder / "trash"
    with writer_lock.exclusive(trash / "lock", wait=wait) as is_held:
        if not is_held:
            return Freed()
        _put_all_back(store, trash)
        removed = _removed(trash)
        hashes = {hash for refs, ref in removed for hash in refs.known_hashes(ref)}
        try:
            garbage = _find_garbage(store, hashes)
        except DatapkgError as error:
            return Freed(problem=error.message)
        freed, is_all = _free_files(store, trash, garbage, now=now)
        if is_all:
            freed = replace(freed, size_bytes=freed.size_bytes + _delete_derived(store, garbage))
            shutil.rmtree(trash / "removed", ignore_errors=True)
        return freed


def has_removed(store: CollectableStore) -> bool:
    """Return whether the space of a removed package may still have to be freed."""
    return bool(_names(store.folder / "trash" / "removed"))


def _removed(trash: Path) -> list[tuple[Refs, Ref]]:
    """Return the removed packages, each as it was when it was removed."""
    found = []
    for token in _names(trash / "removed"):
        refs = Refs(trash / "removed" / token, trash)
        found += [(refs, ref) for ref in refs.folders()]
    return found


def _find_garbage(store: CollectableStore, removed: set[str], without: str = "") -> _Garbage:
    """Return what only these states refer to; raise if something hides which objects are needed."""
    garbage = _Garbage()
    named = _named_states(store, without)
    for hash in removed:
        with contextlib.suppress(DatapkgError):  # a missing or corrupt manifest does not tell its objects
            manifest = store.open_manifest(hash)
            garbage.manifests[hash] = manifest.size_bytes
            garbage.objects |= manifest.objects()
    sizes = garbage.objects | garbage.manifests
    if not sizes:
        return garbage
    garbage.kept = named | set(_manifests(store, sizes.keys()))
    marked = _mark(store, garbage.kept, named).intersection(sizes)
    garbage.shared = marked - store.objects.packed.missing(marked)
    garbage.shared_bytes = sum(sizes[hash] for hash in garbage.shared)
    for hash in marked:
        garbage.objects.pop(hash, None)
        garbage.manifests.pop(hash, None)
    return garbage


def _named_states(store: CollectableStore, without: str = "") -> set[str]:
    """Return every state that a pointer or a log of this store names; raise `CorruptObject` if one cannot be read."""
    named: set[str] = set()
    for ref in store.refs.folders():
        if ref.package == without:
            continue
        if damaged := store.refs.damaged(ref):
            raise CorruptObject(f"{damaged[0][1]}, so it is not known what {ref.package} needs")
        named |= store.refs.known_hashes(ref)
    return named


def _manifests(store: CollectableStore, garbage: Collection[str]) -> Iterator[str]:
    """Yield the manifests among the other objects, also of states without a pointer, such as one that a lock pins.

    Garbage is not read, since that would give it a new access time.
    """
    loose = store.objects.packed.loose
    for hash in loose:
        if hash in garbage:
            continue
        with contextlib.suppress(OSError, ObjectNotFound), loose.open(hash, 0, len(_MANIFEST_HEAD)) as stream:
            if stream.read(len(_MANIFEST_HEAD)) == _MANIFEST_HEAD:
                yield hash


def _mark(store: CollectableStore, states: Iterable[str], named: set[str]) -> set[str]:
    """Return the manifests and objects of states; raise for a corrupt one that is `named`: its objects are unknown."""
    marked: set[str] = set()
    for hash in states:
        try:
            manifest = store.open_manifest(hash)
        except ObjectNotFound:
            continue
        except DatapkgError:
            if hash in named:
                raise
            continue
        marked.add(hash)
        marked.update(manifest.objects())
    return marked


def _free_files(store: CollectableStore, trash: Path, garbage: _Garbage, *, now: bool) -> tuple[Freed, bool]:
    """Move, mark again, restore, delete; return the result, and whether nothing had to be kept.

    Manifests are deleted last, and only if everything else can be deleted: without them it would be unknown what is
    left of a state.
    """
    limit = None if now else _limit(store)
    left: list[tuple[int, float]] = []
    moved = list(_move_objects(store, trash, garbage.objects, limit, left))
    moved += _move_packs(store, trash, garbage, limit, left)
    if limit is None:
        moved += _move_objects(store, trash, garbage.manifests, limit, left)
    if moved:
        if not now and (later := _limit(store)) is not None:
            limit = later if limit is None else min(limit, later)
        needed = _newly_needed(store, garbage)
        moved = [each for each in moved if not _put_back_if_needed(store, each, needed, limit, left)]
    if limit is not None:
        for each in [each for each in moved if each.hashes & garbage.manifests.keys()]:
            _put_back(store, each.trash, each.home)
            moved.remove(each)
    for each in moved:
        each.trash.unlink(missing_ok=True)
    left_bytes = sum(size for size, _ in left)
    until = max((used for _, used in left), default=0.0) + GRACE_S
    if not left or until <= time.time():
        until = 0
    freed = Freed(sum(each.size_bytes for each in moved), garbage.shared_bytes, left_bytes, until)
    return freed, limit is None


def _limit(store: CollectableStore) -> float | None:
    """Return the time after which anything used may be needed by a running process; None if there is none."""
    since = writer_lock.busy_since(store.work_lock)
    return None if since is None else min(time.time() - GRACE_S, since - RENEWED_NS / 1e9)


def _newly_needed(store: CollectableStore, garbage: _Garbage) -> set[str]:
    """Return what states added since the first marking refer to; all garbage if a removed state came back."""
    named = _named_states(store)
    if named & garbage.manifests.keys():
        return garbage.hashes
    return _mark(store, (named | set(_manifests(store, garbage.hashes))) - garbage.kept, set())


def _move_objects(
    store: CollectableStore, trash: Path, hashes: Iterable[str], limit: float | None, left: list[tuple[int, float]]
) -> Iterator[_Moved]:
    for hash in hashes:
        path = store.objects.packed.loose.path(hash)
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if limit is not None and status.st_atime > limit:
                left.append((status.st_size, status.st_atime))
                continue
            target = trash / "objects" / hash
            rename(path, target)
            yield _Moved(path, target, {hash}, status.st_size)


def _move_packs(
    store: CollectableStore, trash: Path, garbage: _Garbage, limit: float | None, left: list[tuple[int, float]]
) -> Iterator[_Moved]:
    """Rewrite packs that also hold other objects without the garbage, however little it is.

    Otherwise garbage could be read again as soon as a part of the package is installed. Second copies of objects are
    removed too.
    """
    packed = store.objects.packed
    digests = {bytes.fromhex(hash) for hash in garbage.hashes | garbage.shared}
    for pack in packed.packs():
        inside = {digest.hex() for digest in digests.intersection(pack.hashes())}
        dead = inside - garbage.shared
        spare = {hash for hash in inside - dead if _is_elsewhere(store, hash, pack)}
        if not dead and len(spare) < pack.count:
            continue
        with contextlib.suppress(FileNotFoundError):
            status = pack.path.stat()
            if limit is not None and status.st_atime > limit:
                left.append((_size_in(pack, dead), status.st_atime))
                continue
            gone = dead | spare
            new_bytes = packed.write_without(pack, gone) if len(gone) < pack.count else 0
            target = trash / "packs" / pack.path.name
            rename(pack.path, target)
            packed.look_again()
            yield _Moved(pack.path, target, dead, status.st_size - new_bytes)


def _is_elsewhere(store: CollectableStore, hash: str, pack: Pack) -> bool:
    """Return whether an object in a pack has an intact copy outside of it."""
    packed, digest = store.objects.packed, bytes.fromhex(hash)
    path = packed.loose.path(hash)
    places = [PackLocation(path, 0, path.stat().st_size)] if path.exists() else []
    places += [place for each in packed.packs() if each.path != pack.path and (place := each.find(digest))]
    return any(hash_place(place) == hash for place in places)


def _size_in(pack: Pack, hashes: set[str]) -> int:
    return sum(place.size for digest, place in pack.entries() if place and digest.hex() in hashes)


def _put_back_if_needed(
    store: CollectableStore, moved: _Moved, needed: set[str], limit: float | None, left: list[tuple[int, float]]
) -> bool:
    used = moved.trash.stat().st_atime
    is_needed = bool(moved.hashes & needed)
    if not is_needed and (limit is None or used <= limit):
        return False
    _put_back(store, moved.trash, moved.home)
    if not is_needed:
        left.append((moved.size_bytes, used))
    return True


def _put_back(store: CollectableStore, trash: Path, home: Path) -> None:
    """Restore the name of a file; a file that took it meanwhile has the same bytes."""
    rename(trash, home)
    if home.suffix == ".pack":
        store.objects.packed.look_again()


def _put_all_back(store: CollectableStore, trash: Path) -> None:
    """Restore the files moved by a run that was killed; what is still garbage is found again."""
    packed = store.objects.packed
    for name in _names(trash / "objects"):
        if is_hash(name):
            _put_back(store, trash / "objects" / name, packed.loose.path(name))
    for name in _names(trash / "packs"):
        _put_back(store, trash / "packs" / name, packed.packs_folder / name)


def _delete_derived(store: CollectableStore, garbage: _Garbage) -> int:
    """Delete what was derived from these objects, links and partial files; return their size in bytes."""
    size_bytes = 0
    for hash in garbage.manifests:
        for path in (store.links_folder / hash).glob("*/*"):
            with contextlib.suppress(OSError):
                size_bytes += 0 if path.is_symlink() else path.stat().st_size
        shutil.rmtree(store.links_folder / hash, ignore_errors=True)
    hashes = garbage.hashes
    for path in (store.folder / "partial").glob("*/*"):
        if path.name[:64] in hashes:
            with contextlib.suppress(OSError):
                size_bytes += path.stat().st_blocks * 512
                path.unlink()
    return size_bytes


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
