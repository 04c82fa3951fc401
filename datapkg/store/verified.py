"""Objects of this machine, verified by hash again whenever their file has changed.

A recipe counts as verified while its bases do. Reading the object writes it whole again: it is mapped and linked.

`missing` quarantines corrupt objects, so install and build repair the store without a special case. Readers take no
lock; one that finds its pack rewritten by another process locates the object again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from datapkg.errors import CorruptObject, DatapkgError, HashMismatch, ObjectNotFound
from datapkg.format.chunks import Chunk
from datapkg.format.hashing import copy_hashed, is_hash
from datapkg.objects.base import Objects, Writable
from datapkg.objects.directory import DirectoryObjects
from datapkg.objects.files import UNWRITABLE, make_folder, new_file, replacing, seal, sync_file, temp_path
from datapkg.objects.pack_file import (
    FEW_LOOKUPS,
    OpenFiles,
    PackLocation,
    hash_file,
    hash_place,
    open_place,
    readable_bytes,
)
from datapkg.objects.recipe_maker import check_recipe
from datapkg.store.index import Index, seen
from datapkg.store.small_files import names
from datapkg.store.trash import StoredObjects

if TYPE_CHECKING:
    from datapkg.format.manifest.parsed import Manifest

# Setting a time writes an inode, so it is done once in five minutes; the grace period is an hour.
RENEWED_NS = 300 * 10**9
CHUNKS_KEY = "chunks:3:"
"""How objects are cut is part of the key: maps that were made in another way find nothing in common."""


class VerifiedObjects(Objects):
    """Packed objects, and the index of the files that need not be hashed again."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.packed = StoredObjects(folder, named=index.mark_verified)
        self.quarantine_folder = folder / "quarantine"
        self.index = index
        self.is_renewing = False
        # For a store that cannot be written.
        self._restored = DirectoryObjects(index.path.parent / "restored", named=index.mark_verified)

    def trusted(self, hash: str) -> PackLocation:
        """Return the verified location of an object.

        Raise `ObjectNotFound`; `CorruptObject` if the bytes have changed since they were stored.
        """
        for is_last in (False, True):
            try:
                place = self._whole(hash)
                if self._file_is_right(place, hash) or hash_place(place) == hash:
                    return place
                break
            except (FileNotFoundError, ObjectNotFound):  # another process has just rewritten its pack
                if is_last:
                    raise
            except HashMismatch:  # of what its recipe gives
                break
        raise CorruptObject(
            f"object {hash} in the store is damaged: its bytes have changed since it was stored; they were not used",
            hint="datapkg verify, then install the package again",
            hash=hash,
        )

    def opened(self, hash: str) -> tuple[PackLocation, FileIO]:
        """Return the verified location of an object and its file, open; the caller closes it.

        Raise as `trusted` does. Another process may move the object between the two steps.
        """
        with contextlib.suppress(FileNotFoundError):
            return (place := self.trusted(hash)), open(place.path, "rb", buffering=0)
        return (place := self.trusted(hash)), open(place.path, "rb", buffering=0)

    def _whole(self, hash: str) -> PackLocation:
        return self._own_whole(hash)

    def _own_whole(self, hash: str) -> PackLocation:
        """Return the location of an object, after writing it whole if it is a recipe; raise `ObjectNotFound`."""
        with contextlib.suppress(ObjectNotFound):
            return self.packed.locate(hash)
        for home in (self.packed.loose, self._restored):
            if home.missing([hash]):
                try:
                    with self.packed.open(hash) as stream:
                        home.put(stream, expected=hash)
                except OSError as error:
                    if isinstance(error, DatapkgError) or home is self._restored or error.errno not in UNWRITABLE:
                        raise
                    continue
            return PackLocation(home.path(hash), 0, home.size(hash))
        raise AssertionError

    def is_unnamed(self, place: PackLocation) -> bool:
        """Return whether an object is in a batch that is still open in this process: its file will get another name."""
        return place.path.parent == self.packed.tmp

    def _is_verified(self, place: PackLocation) -> bool:
        return self.is_unnamed(place) or self.index.is_verified(place.path)

    def _file_is_right(self, place: PackLocation, hash: str) -> bool:
        """Return whether the file matches its name, by its stat or by hashing it; packs are verified as a whole."""
        if self._is_verified(place):
            return True
        before = seen(place.path)  # what is changed while it is hashed is not verified
        if hash_file(place.path) != (place.pack or hash):
            return False
        self.index.mark_seen({place.path: before})
        return True

    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes that are not here, and those of corrupt objects, which are quarantined on the way.

        While the store is being written, the files of all other objects get a new access time, so that others do not
        delete them for an hour (`gc`).
        """
        asked = set(hashes)
        wanted = asked.copy()
        packs = self._in_whole_packs(wanted)
        absent = self.packed.missing(wanted)
        recipes = self.packed.missing_whole(wanted - absent) if self.packed.recipes else set()
        lost, whole = self._check_recipes(recipes)
        absent |= lost
        suspect: set[Path] = set()
        for hash in wanted - absent - recipes:
            try:
                place = self.packed.locate(hash)
                if place.path not in whole and place.path not in suspect:
                    (whole if self._file_is_right(place, hash) else suspect).add(place.path)
                if place.path in suspect and hash_place(place) != hash:
                    self.quarantine(hash)
                    absent.add(hash)
            except (FileNotFoundError, ObjectNotFound):
                absent.add(hash)
        # A file that is gone was moved by `gc` since it was found, so its objects are looked for again.
        if self.is_renewing and not self._renew(packs | whole | suspect):
            absent |= self.packed.missing(asked - absent)
        return absent

    def _check_recipes(self, hashes: set[str]) -> tuple[set[str], set[Path]]:
        """Return those of the recipes that are wrong or rely on what is missing, and the files of the others."""
        found = self.packed.recipes
        sources = {hash: {str(each.source) for each in found.find(hash)} for hash in hashes}
        absent = self.missing({source for some in sources.values() for source in some}) if hashes else set()
        lost = {hash for hash, some in sources.items() if some & absent}
        for hash in hashes - lost:
            if not self.index.is_verified(found.path(hash)):
                try:
                    check_recipe(self.packed, hash, found.find(hash))
                    self.index.mark_verified([found.path(hash)])
                except (CorruptObject, ObjectNotFound):
                    self.quarantine(hash)
                    lost.add(hash)
        return lost, {found.path(hash) for hash in hashes - lost}

    def _renew(self, paths: set[Path]) -> bool:
        """Give files a new access time, unless theirs is recent; return False if a file no longer exists."""
        now, renewed, is_here = time.time_ns(), [], True
        for path in paths:
            with contextlib.suppress(OSError):  # a file of another owner is left unchanged
                try:
                    status = os.stat(path)
                    if now - status.st_atime_ns < RENEWED_NS or path.parent == self.packed.tmp:
                        continue
                    is_verified = self.index.is_verified(path)
                    os.utime(path, ns=(now, status.st_mtime_ns))
                except FileNotFoundError:
                    is_here = False
                    continue
                # Setting the access time changes the change time, so the file is marked as verified again.
                if is_verified:
                    renewed.append(path)
        self.index.mark_verified(renewed)
        return is_here

    def _in_whole_packs(self, wanted: set[str]) -> set[Path]:
        """Remove from `wanted` the hashes in packs that are known to be verified, and return these packs.

        One check of a pack covers all its objects, which is fast for many of them.
        """
        packs: set[Path] = set()
        if len(wanted) <= FEW_LOOKUPS:
            return packs
        digests = {bytes.fromhex(hash) for hash in wanted}
        for pack in self.packed.packs():
            here = pack.among(digests)
            if here and self.index.is_verified(pack.path):
                wanted.difference_update(digest.hex() for digest in here)
                packs.add(pack.path)
        return packs

    def files(self, hashes: Iterable[str]) -> set[Path]:
        """Return the files that contain these objects."""
        wanted = {bytes.fromhex(hash) for hash in hashes}
        files = set()
        for pack in self.packed.packs():
            if here := wanted.intersection(pack.hashes()):
                wanted -= here
                files.add(pack.path)
        return files | {place.path for digest in wanted for place in self.packed.places(digest.hex())}

    def quarantine(self, hash: str) -> None:
        """Move a corrupt object into the quarantine, keeping its bytes, or its recipe, for inspection."""
        recipe = self.packed.recipes.path(hash)
        if recipe.exists():
            self.keep_aside(hash, recipe.read_bytes())
            self.packed.recipes.delete(hash)
        if self.packed.missing_whole([hash]):
            return
        place = self.packed.locate(hash)
        if place.pack is not None:
            self.keep_aside(hash, readable_bytes(place))
            self.packed.delete(hash)
        else:
            os.replace(place.path, self._aside(hash))

    def keep_aside(self, name: str, data: bytes) -> None:
        """Write corrupt bytes into the quarantine, under a unique name; durably, since the original is deleted next."""
        with new_file(self._aside(name)) as file:
            file.write(data)
            sync_file(file)

    def move_aside(self, path: Path) -> None:
        """Move a corrupt file into the quarantine, under a unique name that begins with its own."""
        os.replace(path, self._aside(path.name))

    def _aside(self, name: str) -> Path:
        make_folder(self.quarantine_folder)
        return self.quarantine_folder / f"{name}-{secrets.token_hex(4)}"

    def quarantined(self) -> set[str]:
        """Return the hashes of quarantined objects that were not replaced since."""
        return self.packed.missing({name[:64] for name in names(self.quarantine_folder) if is_hash(name[:64])})

    def locate(self, hash: str) -> PackLocation:
        """Return where an object is that is not a recipe, unverified; raise `ObjectNotFound`."""
        return self.packed.locate(hash)

    def absent(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes that are not here, judging by names only."""
        return self.packed.missing(hashes)

    @property
    def downloads(self) -> Writable:
        """Return the home for what is fetched."""
        return self

    def note_use(self, manifest: Manifest) -> None:
        """Note in the shared stores behind these objects, if there are any, that a state is used here."""

    def forget_uses(self, needed: Collection[str]) -> None:
        """Take back what was noted of states that are not among these."""

    def size(self, hash: str) -> int:
        """Return the size of an object in bytes."""
        return self.packed.size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """Open a verified object, or a range of it."""
        try:
            return open_place(self.trusted(hash), start, stop)
        except ObjectNotFound:  # its pack was rewritten in between
            return open_place(self.trusted(hash), start, stop)

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        """Return the chunks of an object that is here, in order; reads all of it the first time.

        Raise `ObjectNotFound`, `HashMismatch`.
        """
        from datapkg.format.chunks import decode_chunks, encode_chunks
        from datapkg.objects.chunking import chunks_of_object

        key = f"{CHUNKS_KEY}{hash}"
        with contextlib.suppress(DatapkgError):
            kept = decode_chunks(self.index.get_many([key]).get(key, b""))
            # The map is of the bytes as they were verified; a file that has changed since must be cut again.
            if kept and kept[-1].stop == size and all(map(self._is_verified, self.packed.places(hash))):
                return kept
        chunks = chunks_of_object(self.packed, hash)
        self.index.put_many({key: encode_chunks(chunks)})
        return chunks

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield hash and verified bytes of each object."""
        whole: set[Path] = set()
        with contextlib.closing(OpenFiles()) as files:
            for hash in hashes:
                near = files.find_near(hash)
                # A copy in a verified pack is right, so it does not matter whether a file of its own is here too.
                if near is None or near.path not in whole:
                    near = self.packed.near(files, hash)
                place = near or self._whole(hash)
                if place.path not in whole:
                    place = self.trusted(hash)
                    if self._is_verified(place):
                        whole.add(place.path)
                try:
                    data = files.read(place)
                # Its pack was rewritten after it was located.
                except ObjectNotFound:
                    place = self.trusted(hash)
                    data = files.read(place)
                if not near:
                    self.packed.stay_near(files, place)
                yield hash, data

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        """Store the bytes of a stream, and return their hash."""
        return self.packed.put(stream, expected)

    def put_verified(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store small objects whose hashes were just computed from these bytes."""
        self.packed.put_verified(items)

    def check_room(self, size: int, what: str) -> None:
        """Raise `DiskFull` if the store has no room for so many bytes more."""
        self.packed.check_room(size, what)

    def take(self, path: Path, expected: str, size: int) -> None:
        """Make the first `size` bytes of a file of the store an object; raise `HashMismatch`, and leave it, if not."""
        self.packed.take(path, expected, size)

    def batch(self) -> AbstractContextManager[None]:
        """Return a context in which small objects share a pack."""
        return self.packed.batch()

    def discard(self, hashes: Iterable[str]) -> None:
        """Discard objects of the open batch."""
        self.packed.discard(hashes)

    def delete(self, hash: str) -> None:
        """Delete an object."""
        self.packed.delete(hash)

    def __iter__(self) -> Iterator[str]:
        return iter(self.packed)

    def copy_to(self, hash: str, target: Path, tmp: Path) -> None:
        """Copy an object to an ordinary read-only file, atomically but not durably; `tmp` is on its file system."""
        with self.open(hash) as source, replacing(target, temp_path(tmp, "link")) as file:
            copied, _ = copy_hashed(source, file)
            if copied != hash:
                raise CorruptObject(f"object {hash} changed while it was copied", hash=hash)
            seal(file)
