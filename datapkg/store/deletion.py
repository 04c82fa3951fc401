"""Delete objects of a store that no state needs, and nothing that a running process relies on.

The steps: move the files into the trash; look again for what is needed; put back what is; delete the rest. A run that
was killed is undone by the next one.

A process that writes holds a lock (`Store.writing`), and what it counts as present gets a new access time
(`VerifiedObjects.missing`), which leaves the modification time, by which it is trusted, unchanged. While there is such
a process, files used since it began are kept, and files used within the last hour: it may take days, or be suspended
with its machine. The second check finds a process that began after the first. One that ended before it has written its
pointer, which the second look finds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product, repeat
from pathlib import Path

from datapkg.errors import CorruptObject
from datapkg.format.object_sets import within
from datapkg.format.object_sizes import SizesCollector
from datapkg.objects.files import NO_ROOM, is_shared, rename
from datapkg.objects.pack_file import Pack, PackLocation, hash_place
from datapkg.objects.recipes import read_recipe
from datapkg.store import writer_lock
from datapkg.store.trash import FOLDER, homes, restore
from datapkg.store.verified import RENEWED_NS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datapkg.store.roots import CollectableStore

GRACE_S = 3600


@dataclass
class Garbage:
    """Objects that no state needs: hash to size in bytes, manifests separately.

    `copies` are objects that are needed and of which there may be a second copy to delete.
    """

    objects: Mapping[str, int] = field(default_factory=dict)
    manifests: dict[str, int] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.objects) + len(self.manifests)

    def __contains__(self, hash: object) -> bool:
        return hash in self.objects or hash in self.manifests


@dataclass
class DeletionResult:
    """Bytes that were deleted; and the size and last use of each file that was kept, as a process may rely on it.

    `compacted_bytes` are those among them that were saved by recipes.
    """

    size_bytes: int = 0
    compacted_bytes: int = 0
    left: list[tuple[int, float]] = field(default_factory=list)
    is_all: bool = True

    @property
    def left_bytes(self) -> int:
        """Return the bytes of the files that were kept."""
        return sum(size for size, _ in self.left)

    @property
    def until(self) -> float:
        """Return when the last of them can be deleted, in seconds since 1970; 0 if that is when a process ends."""
        until = max((used for _, used in self.left), default=0.0) + GRACE_S
        return until if self.left and until > time.time() else 0.0


@dataclass(frozen=True)
class _Moved:
    """A file that was moved into the trash: its original path, its path there, and the bytes that it frees."""

    home: Path
    trash: Path
    size_bytes: int

    @property
    def is_recipe(self) -> bool:
        """Return whether it is the recipe of an object."""
        return self.trash.parent.name == "recipes"

    def has(self, hashes: Container[str]) -> bool:
        """Return whether one of these objects is in it; False if a process has put it back."""
        if self.home.suffix != ".pack":
            return self.trash.name in hashes
        # Read again: the objects of all packs at a time would take more memory than anything else.
        with contextlib.suppress(FileNotFoundError):
            return any(digest.hex() in hashes for digest in Pack(self.trash).hashes())
        return False

    def bases(self) -> set[str]:
        """Return what the object is made of if the file is a recipe."""
        # A damaged recipe names no bases; its object is lost with or without them.
        with contextlib.suppress(CorruptObject):
            return {str(each.source) for each in read_recipe(self.trash, self.trash.name)}
        return set()


@dataclass(frozen=True)
class _Asked:
    """Garbage that turned out to be needed; what else a pack holds was written again, and need not be put back."""

    garbage: Garbage
    needed: Sequence[Container[str]]

    def __contains__(self, hash: object) -> bool:
        return any(hash in some for some in self.needed) and hash in self.garbage


def delete(
    store: CollectableStore,
    garbage: Garbage,
    needed_again: Callable[[], Container[str]],
    *,
    now: bool = False,
    manifests_last: bool = False,
) -> DeletionResult:
    """Move garbage away, put back what `needed_again` then contains, and delete the rest.

    `now` asserts that no other process is running. With `manifests_last`, manifests are deleted only if everything else
    can be: for a caller that could not tell without them what is left of a state.
    """
    trash = store.folder / FOLDER
    limit = None if now else _limit(store)
    done = DeletionResult()
    moved = list(_move_objects(store, trash, garbage.objects, limit, done.left))
    moved += _move_packs(store, trash, garbage, limit, done.left)
    if limit is None or not manifests_last:
        moved += _move_objects(store, trash, garbage.manifests, limit, done.left)
    if moved:
        if not now and (later := _limit(store)) is not None:
            limit = later if limit is None else min(limit, later)
        needed = needed_again()
        # A recipe that is put back needs the objects that it is made of.
        bases = {base for each in moved if each.is_recipe and each.trash.name in needed for base in each.bases()}
        looked_for = _Asked(garbage, (needed, bases))
        moved = [each for each in moved if not _put_back_if_needed(store, each, looked_for, limit, done.left)]
    if manifests_last and (limit is not None or done.left):
        for each in [each for each in moved if each.has(garbage.manifests)]:
            restore(store.objects.packed, each.trash, each.home)
            moved.remove(each)
    for each in moved:
        try:
            each.trash.unlink()
            done.size_bytes += each.size_bytes
        except FileNotFoundError:  # a process that needs it has put it back
            done.left.append((each.size_bytes, time.time()))
    done.is_all = limit is None and not done.left
    return done


def _limit(store: CollectableStore) -> float | None:
    """Return the time after which anything used may be needed by a running process; None if there is none."""
    if is_shared(store.folder):  # who uses it takes no lock, so somebody may be at work
        return time.time() - GRACE_S
    since = writer_lock.busy_since(store.work_lock)
    # An access time is renewed only when it is older than RENEWED_NS, so what was just used may show an earlier time.
    return None if since is None else min(time.time() - GRACE_S, since - RENEWED_NS / 1e9)


def _move_objects(
    store: CollectableStore, trash: Path, hashes: Iterable[str], limit: float | None, left: list[tuple[int, float]]
) -> Iterator[_Moved]:
    packed = store.objects.packed
    used = {name: place for name, place in homes(packed).items() if name != "recipes" or packed.recipes}
    for hash, (name, place) in product(hashes, used.items()):
        with contextlib.suppress(FileNotFoundError):
            path = place(hash)
            status = path.stat()
            # Builds and installs renew the access time of what they rely on before a state names it.
            if limit is not None and status.st_atime > limit:
                left.append((status.st_size, status.st_atime))
                continue
            target = trash / name / hash
            # Moved, not deleted: if a process begins to need it meanwhile, it is put back.
            rename(path, target)
            yield _Moved(path, target, status.st_size)


def _move_packs(
    store: CollectableStore, trash: Path, garbage: Garbage, limit: float | None, left: list[tuple[int, float]]
) -> Iterator[_Moved]:
    """Rewrite packs that also hold other objects without the garbage, however little it is.

    Otherwise garbage could be read again as soon as a part of the package is installed. Second copies of objects are
    removed too. A pack for whose remainder the disk has no room stays until there is.
    """
    packed = store.objects.packed
    for pack in packed.packs() if garbage or garbage.copies else ():
        inside = _hashes_in(pack)
        dead = within(inside, garbage.objects, garbage.manifests)
        spare = {hash for hash in within(inside, garbage.copies) if _is_elsewhere(store, hash, pack)}
        # Second copies alone are no reason to rewrite a pack, unless it has nothing else.
        if not dead and len(spare) < pack.count:
            continue
        with contextlib.suppress(FileNotFoundError):
            status = pack.path.stat()
            if limit is not None and status.st_atime > limit:
                left.append((_size_in(pack, dead), status.st_atime))
                continue
            gone = spare.union(dead)
            try:
                new_bytes = packed.write_without(pack, gone) if len(gone) < pack.count else 0
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                left.append((_size_in(pack, dead), 0.0))
                continue
            target = trash / "packs" / pack.path.name
            rename(pack.path, target)
            packed.look_again()
            yield _Moved(pack.path, target, status.st_size - new_bytes)


def _hashes_in(pack: Pack) -> Mapping[str, int]:
    """Return what the index of a pack names; of a damaged one, that may be the same twice."""
    collector = SizesCollector()
    collector.add_digests(pack.hashes(), repeat(0, pack.count))
    return collector.collected()


def _is_elsewhere(store: CollectableStore, hash: str, pack: Pack) -> bool:
    """Return whether an object in a pack has an intact copy outside of it."""
    packed, digest = store.objects.packed, bytes.fromhex(hash)
    path = packed.loose.path(hash)
    places = [PackLocation(path, 0, path.stat().st_size)] if path.exists() else []
    places += [place for each in packed.packs() if each.path != pack.path and (place := each.find(digest))]
    return any(hash_place(place) == hash for place in places)


def _size_in(pack: Pack, hashes: Container[str]) -> int:
    return sum(place.size for digest, place in pack.entries() if place and digest.hex() in hashes)


def _put_back_if_needed(
    store: CollectableStore,
    moved: _Moved,
    needed: Container[str],
    limit: float | None,
    left: list[tuple[int, float]],
) -> bool:
    try:
        used = moved.trash.stat().st_atime
    except FileNotFoundError:  # a process that needs it has put it back
        left.append((moved.size_bytes, time.time()))
        return True
    is_needed = moved.has(needed)
    if not is_needed and (limit is None or used <= limit):
        return False
    restore(store.objects.packed, moved.trash, moved.home)
    if not is_needed:
        left.append((moved.size_bytes, used))
    return True
