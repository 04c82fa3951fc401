"""Objects kept in a folder where small ones of one batch share one file, a pack, and big ones may be recipes.

Creating a file is the expensive step on most file systems; a batch of 10,000 small objects creates one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from heapq import merge
from pathlib import Path
from typing import BinaryIO, cast
from weakref import WeakSet

from datapkg.errors import CorruptObject
from datapkg.format.chunks import Step
from datapkg.format.hashing import hash_bytes, mismatch
from datapkg.objects.base import not_found
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.objects.directory import ChainedStream, DirectoryObjects, Named, no_notice, read_up_to
from datapkg.objects.files import rename, sync_folder, sync_path, temp_path
from datapkg.objects.pack_file import Pack, PackEntries, PackLocation
from datapkg.objects.pack_writer import PackWriter
from datapkg.objects.packed_reads import PackedReads
from datapkg.objects.recipes import Recipes, clipped

SMALL_BYTES = 1 << 20
PACK_FROM_OBJECTS = 64
PACK_BYTES = 256 << 20
PACK_OBJECTS = 1 << 17
"""More objects make another pack: what is being written has its index as a dict, with 300 bytes for each."""
GATHERED_BYTES = 1 << 20
"""Objects are added to a pack together, in writes of about this size."""
MAX_LOCATED = 64
"""The most places of objects that are remembered."""
Unnamed = tuple[str, Path, Mapping[bytes, tuple[int, int]]]
"""A pack without its name yet: its hash ("" while it is being written), its file, and the places in it by hash."""
TICK_NS = 50_000_000  # two changes of a folder within this time may leave it the same modification time


class PackedObjects(PackedReads):
    """Folders `objects/` of single objects, `packs/` and `recipes/`; many processes read and write at once.

    `named` is called with the files that have just got their names.
    """

    def __init__(self, folder: Path, named: Named = no_notice) -> None:
        self.folder = Path(folder)
        self.tmp = self.folder / "tmp"
        self.loose = DirectoryObjects(self.folder / "objects", self.tmp, named)
        self.recipes = Recipes(self.folder / "recipes", self.tmp)
        self._named = named
        self.packs_folder = self.folder / "packs"
        self._packs: dict[str, Pack] = {}
        self._located: dict[tuple[str, int], PackLocation] = {}
        self._listed_at: int | None = None
        self._lock = threading.RLock()
        _homes.add(self)
        self._depth = 0
        self._writer: PackWriter | None = None
        self._finished: list[Unnamed] = []
        self.has_new_packs = False

    def packs(self) -> list[Pack]:
        """Return the packs here now; one that cannot be read is skipped, and only its objects are lost."""
        with self._lock:
            # Before the listing: taken afterwards, a slow listing would make a recent change of the folder look old.
            now = time.time_ns()
            try:
                stamp = os.stat(self.packs_folder).st_mtime_ns
            except FileNotFoundError:
                return []
            if stamp != self._listed_at:
                names = {name for name in os.listdir(self.packs_folder) if name.endswith(".pack")}
                for name in self._packs.keys() - names:
                    del self._packs[name]
                for name in names - self._packs.keys():
                    with _passing_over_unreadable():
                        self._packs[name] = Pack(self.packs_folder / name)
                # A pack that gets its name now may not change the time of the folder: list it again.
                self._listed_at = stamp if abs(now - stamp) >= TICK_NS else None
            return list(self._packs.values())

    def locate(self, hash: str) -> PackLocation:
        """Return where the object's bytes are now, in one piece; raise `ObjectNotFound`."""
        # Before packs: a repaired object is a file of its own, and its pack may still have the damaged bytes.
        found = self.loose.find_text(hash)
        if found is None:
            return self._in_pack(hash)
        # Kept, since recipes use few objects again and again, and making a Path takes longer than asking for its file.
        place = self._located.get(found)
        if place is None:
            if len(self._located) >= MAX_LOCATED:
                self._located.clear()
            place = self._located[found] = PackLocation(Path(found[0]), 0, found[1])
        return place

    def _in_pack(self, hash: str) -> PackLocation:
        digest = bytes.fromhex(hash)
        places = [
            PackLocation(temp, *found, name) for name, temp, each in self._unnamed() if (found := each.get(digest))
        ]
        if places and not places[0].pack:
            return places[0]
        # A file that has its name is not where it was written any more.
        for pack in self.packs():
            if place := pack.find(digest):
                return place
        if places:
            return places[0]
        raise not_found(hash)

    def _unnamed(self) -> list[Unnamed]:
        """Return the packs of the open batch; ask before `packs`, so that one that gets its name meanwhile is found."""
        # Without the lock, which is held while packs are sent; the writer first, since it becomes one of the others.
        writing = [("", writer.temp, writer.entries)] if (writer := self._writer) else []
        return [*writing, *self._finished]

    def places(self, hash: str, start: int = 0, stop: int | None = None) -> list[PackLocation]:
        """Return where the object's bytes from `start` up to `stop` are now: in one piece, or as its recipe states."""
        if found := self.loose.find(hash):
            place = PackLocation(found[0], 0, found[1])
        elif ranges := self.recipes.find(hash):
            return self.places_of(clipped(ranges, start, sys.maxsize if stop is None else stop))
        else:
            place = self._in_pack(hash)
        return [place.part(start, stop)]

    def places_of(self, ranges: Iterable[Step]) -> list[PackLocation]:
        """Return where the ranges of a recipe are now; raise `ObjectNotFound`, `CorruptObject` beyond an end."""
        found: list[PackLocation] = []
        sources: dict[str | None, PackLocation] = {}
        for each in ranges:
            place = sources.get(each.source)
            if place is None:
                place = sources[each.source] = self.locate(str(each.source))
            if each.offset + each.size > place.size:
                raise CorruptObject(f"a recipe uses {each.offset + each.size:,} bytes of object {each.source}")
            found.append(PackLocation(place.path, place.offset + each.offset, each.size, place.pack))
        return found

    def missing(self, hashes: Iterable[str]) -> set[str]:
        absent = self.missing_whole(hashes)
        if not absent or not self.recipes:
            return absent
        made = {hash: {str(each.source) for each in self._ranges(hash)} for hash in absent}
        lost = self.missing_whole({source for sources in made.values() for source in sources})
        return {hash for hash, sources in made.items() if not sources or sources & lost}

    def _ranges(self, hash: str) -> list[Step]:
        try:
            return self.recipes.find(hash)
        except CorruptObject:  # as a damaged pack: verify finds it
            return []

    def missing_whole(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes that are not here in one piece."""
        absent = self.loose.missing(hashes)
        if not absent:
            return absent
        digests = {bytes.fromhex(hash) for hash in absent}
        for _, _, entries in self._unnamed():
            digests = {digest for digest in digests if digest not in entries}
        for pack in self.packs():
            digests -= pack.among(digests)
        return {digest.hex() for digest in digests}

    def size(self, hash: str) -> int:
        return sum(place.size for place in self.places(hash))

    def key(self, path: Path) -> str:
        """Return the key of a file of this home, such as `packs/….pack`."""
        return path.relative_to(self.folder).as_posix()

    @cached_property
    def blobs(self) -> Blobs:
        """The files of this home by their keys."""
        return FolderBlobs(self.folder)

    def writer(self) -> PackedObjects:
        """Return the same home with batches of its own: one is durable at its end if no other is under way in it."""
        return PackedObjects(self.folder, self._named)

    def check_room(self, size: int, what: str) -> None:
        self.loose.check_room(size, what)

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        if not self._depth:
            return self.loose.put(stream, expected)
        head = read_up_to(stream, SMALL_BYTES)
        if len(head) < SMALL_BYTES:
            return self._pack(head, expected)
        return self.loose.put(cast(BinaryIO, ChainedStream(head, stream)), expected)

    def take(self, path: Path, expected: str, size: int) -> None:
        """Make the first `size` bytes of a file an object of its own (see `DirectoryObjects.take`)."""
        self.loose.take(path, expected, size)

    def _pack(self, data: bytes, expected: str | None) -> str:
        hash = hash_bytes(data)
        if expected not in (None, hash):
            raise mismatch(str(expected), hash)
        self._add({bytes.fromhex(hash): data})
        return hash

    def _add(self, bodies: dict[bytes, bytes]) -> None:
        """Add objects, by the 32 bytes of their hashes, to the pack of the open batch."""
        with self._lock:
            if self._writer is None and bodies:
                self._writer = PackWriter(temp_path(self.tmp, "pack"))
            known = self._writer.entries if self._writer else {}
            new = {digest: data for digest, data in bodies.items() if digest not in known}
            if self._writer and new:
                self._writer.add(new)
                if self._writer.size >= PACK_BYTES or len(self._writer.entries) >= PACK_OBJECTS:
                    self._finish_writer()

    def put_verified(self, items: Iterable[tuple[str, bytes]]) -> None:
        gathered: dict[bytes, bytes] = {}
        size = 0
        with self.batch():
            try:
                for hash, data in items:
                    if len(data) >= SMALL_BYTES:
                        self.loose.put_bytes(data, hash)
                        continue
                    gathered[bytes.fromhex(hash)] = data
                    size += len(data)
                    if size >= GATHERED_BYTES:
                        self._add(gathered)
                        gathered, size = {}, 0
            # After an error too: verified objects need not be fetched again.
            finally:
                self._add(gathered)

    def put_several(self, items: Mapping[str, bytes]) -> None:
        """Store verified small objects: few as files of their own, since packs are searched one after the other."""
        (self if len(items) >= PACK_FROM_OBJECTS else self.loose).put_verified(items.items())

    def discard(self, hashes: Iterable[str]) -> None:
        self.loose.discard(hashes)

    def _finish_writer(self) -> None:
        if writer := self._writer:
            try:
                hash = writer.finish()
                self._finished.append((hash, writer.temp, PackEntries(Pack(writer.temp))))
            finally:  # not before: its objects would be nowhere meanwhile
                self._writer = None

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._lock:
            self._depth += 1
        try:
            with self.loose.batch():
                yield
        finally:
            with self._lock:
                self._depth -= 1
                if not self._depth:
                    self._name_packs()

    def _name_packs(self) -> None:
        unfinished = self._writer
        try:
            self._finish_writer()
            for _, temp, _ in self._finished:  # few files: `sync_all` would wait for what other programs wrote too
                sync_path(temp)
            self._take_packs([(hash, temp) for hash, temp, _ in self._finished])
        except BaseException:
            if unfinished:
                unfinished.discard()
            for _, temp, _ in self._finished:
                temp.unlink(missing_ok=True)
            raise
        finally:
            self._finished = []

    def _take_packs(self, packs: Sequence[tuple[str, Path]]) -> None:
        """Give finished and synced packs their names."""
        paths = [self.packs_folder / f"{hash}.pack" for hash, _ in packs]
        for path, (_, temp) in zip(paths, packs, strict=True):
            rename(temp, path)
        if packs:
            sync_folder(self.packs_folder)
            self.look_again()
            self.has_new_packs = True
            self._named(paths)

    def delete(self, hash: str) -> None:
        # The recipe first: if this is killed, no recipe stays whose bases are deleted next.
        self.recipes.delete(hash)
        self.loose.delete(hash)
        digest = bytes.fromhex(hash)
        with self._lock:
            if self._writer:
                self._writer.entries.pop(digest, None)
            for unnamed in [each for each in self._finished if digest in each[2]]:
                # Its index is written, so it gets a new one, and its name before the batch ends.
                self._rewrite_unnamed(unnamed, without={hash})
            for pack in self.packs():
                if pack.find(digest):
                    self.rewrite(pack, without={hash})

    def rewrite(self, pack: Pack, without: set[str]) -> None:
        """Replace a pack by one that lacks these objects; the bytes of the others are checked on the way.

        An object whose bytes are wrong is left out too.
        """
        # The new pack has its name before the old one goes, so that every object is found at any moment.
        self.write_without(pack, without)
        self.delete_pack(pack)

    def _rewrite_unnamed(self, unnamed: Unnamed, without: set[str]) -> None:
        _, temp, _ = unnamed
        self.write_without(Pack(temp), without)
        self._finished.remove(unnamed)
        temp.unlink()

    def delete_pack(self, pack: Pack) -> None:
        """Delete a pack with all that is in it."""
        pack.path.unlink(missing_ok=True)
        self.look_again()

    def write_without(self, pack: Pack, without: set[str]) -> int:
        """Write a pack that lacks these objects of another one, as `rewrite` does, beside it; return its size."""
        writer = PackWriter(temp_path(self.tmp, "pack"))
        try:
            for digest, place in pack.entries():
                if place and digest.hex() not in without:
                    data = self.readable_bytes(place)
                    if hashlib.sha256(data).digest() == digest:
                        writer.add({digest: data})
            if not writer.entries:
                writer.discard()
                return 0
            self.name_pack(writer)
        except BaseException:
            writer.discard()
            raise
        return writer.size

    def name_pack(self, writer: PackWriter) -> None:
        """Give a pack, written outside of a batch, its name."""
        # A pack that a merge or `gc` writes is no reason for another merge.
        hash, has_new = writer.finish(), self.has_new_packs
        sync_path(writer.temp)
        self._take_packs([(hash, writer.temp)])
        self.has_new_packs = has_new

    def look_again(self) -> None:
        """List the packs anew at the next question: they were changed here, by other means than a batch."""
        with self._lock:
            self._listed_at = None

    def __iter__(self) -> Iterator[str]:
        packed = (map(bytes.hex, pack.hashes()) for pack in self.packs())
        last = ""
        # In order, so that of a million none has to be remembered for being somewhere else too.
        for hash in merge(sorted(self.loose), *packed, sorted(self.recipes)):
            if hash != last:
                yield (last := hash)


@contextmanager
def _passing_over_unreadable() -> Iterator[None]:
    """Inside, ignore what is wrong with one file; other errors, such as too many open files, concern all of them."""
    try:
        yield
    except (CorruptObject, FileNotFoundError, IsADirectoryError, PermissionError):
        pass
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise


_homes: WeakSet[PackedObjects] = WeakSet()


def _free_locks() -> None:
    """In the child of a fork: a lock that another thread held there would be held for ever."""
    for home in _homes:
        home._lock = threading.RLock()


os.register_at_fork(after_in_child=_free_locks)
