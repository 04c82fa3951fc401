"""Objects in a bucket, in the layout of a folder: `objects/ab/cdef…`, `packs/….pack`, `recipes/ab/cdef…`.

What is put is written to a file of this machine first, where it is hashed; only verified bytes are sent. Small objects
of a batch become one pack, whose index stays in memory, so they are found without a request. Nothing is listed but
packs: once, and again when an object is not where it was.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, cast

from datapkg.errors import NotFound, ObjectNotFound
from datapkg.format.chunks import Step
from datapkg.format.hashing import check_hash, is_hash
from datapkg.objects.base import not_found
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.bucket_packs import JoinedRanges, PackIndexes, is_local, object_errors
from datapkg.objects.directory import READ_BUFFER_BYTES, DirectoryObjects
from datapkg.objects.files import temp_folder
from datapkg.objects.pack_file import JoinedPlaces, Pack, PackLocation, open_places
from datapkg.objects.packs import SMALL_BYTES, PackedObjects
from datapkg.objects.recipes import MAX_RECIPE_BYTES, Recipes, decode_recipe, encode_recipe
from datapkg.objects.threads import ThreadPool

AHEAD_BYTES, AHEAD_OBJECTS = 8 << 20, 1_000
"""How much of the objects that will be read next is fetched and kept in memory."""


class CloudObjects(PackedObjects):
    """Objects of a bucket; `folder` is of this machine, for files that are being written.

    Many threads and processes read and write at once. A pack is searched before objects of their own are asked for, the
    newest pack first; so bytes that replace damaged ones of a pack are written to a new pack.
    """

    def __init__(self, blobs: Blobs, folder: Path, indexes: PackIndexes | None = None) -> None:
        super().__init__(folder)
        self.blobs = blobs
        self.jobs = blobs.jobs
        self.loose: SingleObjects = SingleObjects(blobs, self.tmp)
        self.recipes: CloudRecipes = CloudRecipes(blobs, self.tmp)
        self._indexes = indexes or PackIndexes(blobs)

    def key(self, path: PurePath) -> str:
        return path.as_posix()

    def writer(self) -> CloudObjects:
        return CloudObjects(self.blobs, self.folder, self._indexes)

    def packs(self) -> list[Pack]:
        return self._indexes.packs()

    def look_again(self) -> None:
        self._indexes.look_again()

    def locate(self, hash: str) -> PackLocation:
        with contextlib.suppress(NotFound):
            return self._in_pack(hash)
        if found := self.loose.find(hash):
            return PackLocation(found[0], 0, found[1])
        self.look_again()
        return self._in_pack(hash)

    def places(self, hash: str, start: int = 0, stop: int | None = None) -> list[PackLocation]:
        check_hash(hash)
        # The second time with the packs listed and the recipe read anew: another process may have replaced both.
        for is_last in (False, True):
            with contextlib.suppress(ObjectNotFound):
                return [self._in_pack(hash).part(start, stop)]
            with contextlib.suppress(*([] if is_last else [ObjectNotFound])):
                return super().places(hash, start, stop)
            self.look_again()
            self.recipes.forget(hash)
        raise AssertionError("unreachable")

    def missing_whole(self, hashes: Iterable[str]) -> set[str]:
        self.look_again()
        unnamed = self._unnamed()
        hashes = {hash for hash in hashes if not any(bytes.fromhex(hash) in entries for _, _, entries in unnamed)}
        packed = {hash for pack in self.packs() for hash in _in_index(pack, hashes)}
        return self.loose.missing(hashes - packed)

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        # A damaged copy in a pack would hide a single object, since packs come first; a new pack comes before the old
        # one.
        if not self._depth and expected and self._is_packed(expected):
            with self.batch():
                return super().put(stream, expected)
        return super().put(stream, expected)

    def put_several(self, items: Mapping[str, bytes]) -> None:
        self.put_verified(items.items())  # a request each would cost more than the search of one more pack

    def _is_packed(self, hash: str) -> bool:
        with contextlib.suppress(NotFound):
            return self._in_pack(hash).size < SMALL_BYTES
        return False

    def _take_packs(self, packs: Sequence[tuple[str, Path]]) -> None:
        for hash, temp in packs:
            # Before `take`, which removes the file.
            written = Pack(temp)
            self.blobs.take(f"packs/{hash}.pack", temp)
            self._indexes.add(written.renamed(PurePosixPath(f"packs/{hash}.pack")))

    def delete_pack(self, pack: Pack) -> None:
        self.blobs.delete(self.key(pack.path))
        self.look_again()

    def open_places(self, places: Sequence[PackLocation]) -> BinaryIO:
        if all(is_local(place) for place in places):
            return open_places(places)
        return io.BufferedReader(self.unbuffered(places), READ_BUFFER_BYTES // 4)

    def unbuffered(self, places: Sequence[PackLocation]) -> JoinedPlaces:
        return JoinedRanges(self.blobs, places)

    def readable_bytes(self, place: PackLocation) -> bytes:
        with self.open_places([place]) as stream:
            return stream.read()

    def signed_url(self, hash: str, seconds: int) -> str | None:
        places = self.places(hash)
        # A signed address is that of a whole key, so an object in a pack or of a recipe has none.
        is_single = [self.key(place.path) for place in places] == [single_key(hash)]
        return self.blobs.signed_url(single_key(hash), seconds) if is_single else None

    @contextmanager
    def local_places(self) -> Iterator[Callable[[str], list[PackLocation]]]:
        with temp_folder(self.tmp, "local") as folder:

            def fetched(hash: str) -> list[PackLocation]:
                path = folder / check_hash(hash)
                with self.open(hash) as stream, path.open("wb") as file:
                    while piece := stream.read(READ_BUFFER_BYTES):
                        file.write(piece)
                    return [PackLocation(path, 0, file.tell())]

            yield fetched

    @contextmanager
    def reading(self, hashes: Sequence[str]) -> Iterator[Callable[[str], bytes]]:
        hashes = list(hashes)
        order = {hash: number for number, hash in enumerate(hashes)}
        ahead: dict[str, bytes] = {}

        def read(hash: str) -> bytes:
            if hash not in ahead:
                ahead.clear()
                ahead.update(self._read_ahead(hashes[order[hash] :] if hash in order else [hash]))
            return ahead.pop(hash)

        yield read

    def _read_ahead(self, hashes: Sequence[str]) -> dict[str, bytes]:
        """Return the first of these objects, and those behind it in packs that are read with few requests."""
        packs: dict[PurePath, list[tuple[str, PackLocation]]] = {}
        left = AHEAD_BYTES
        for hash in hashes[:AHEAD_OBJECTS]:
            try:
                place = self._in_pack(hash)
            except NotFound:
                break
            if (left := left - place.size) < 0 or is_local(place):
                break
            packs.setdefault(place.path, []).append((hash, place))
        found: dict[str, bytes] = {}
        for path, items in packs.items():
            ranges = [(place.offset, place.offset + place.size) for _, place in items]
            with contextlib.suppress(NotFound):  # the pack was replaced: each object is looked for again
                pieces = self.blobs.read_ranges(self.key(path), ranges)
                found.update(zip((hash for hash, _ in items), pieces, strict=True))
        if hashes[0] not in found:
            with self.open(hashes[0]) as stream:
                found[hashes[0]] = stream.read()
        return found

    def __iter__(self) -> Iterator[str]:
        self.look_again()
        return super().__iter__()


class SingleObjects(DirectoryObjects):
    """Objects of their own in a bucket, written to files of this machine before they are sent."""

    def __init__(self, blobs: Blobs, tmp: Path) -> None:
        super().__init__(tmp, tmp)
        self._blobs = blobs

    def missing(self, hashes: Iterable[str]) -> set[str]:
        wanted = [hash for hash in hashes if hash not in self._pending]
        # A bucket has no query for many keys: one request for each.
        with ThreadPool(self._blobs.jobs) as pool:
            sizes = pool.map(self._blobs.size, map(single_key, wanted))
            return {hash for hash, size in zip(wanted, sizes, strict=True) if size is None}

    def has(self, hash: str) -> bool:
        return self.find(hash) is not None

    def find(self, hash: str) -> tuple[Path, int] | None:
        if temp := self._pending.get(hash):
            with contextlib.suppress(FileNotFoundError):  # it was sent meanwhile
                return temp, temp.stat().st_size
        size = self._blobs.size(single_key(hash))
        return None if size is None else (cast(Path, PurePosixPath(single_key(hash))), size)

    def size(self, hash: str) -> int:
        if found := self.find(hash):
            return found[1]
        raise not_found(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        if hash in self._pending:
            with contextlib.suppress(ObjectNotFound):  # it was sent meanwhile
                return super().open(hash, start, stop)
        with object_errors(hash):
            return self._blobs.open(single_key(hash), start, stop)

    def _take(self, path: Path, hash: str) -> None:
        self._blobs.take(single_key(hash), path)

    def _name(self, pending: Mapping[str, Path]) -> None:
        with ThreadPool(self._blobs.jobs) as pool:
            list(pool.map(self._take, pending.values(), pending))

    def delete(self, hash: str) -> None:
        with self._lock:
            if temp := self._pending.pop(hash, None):
                temp.unlink(missing_ok=True)
        self._blobs.delete(single_key(hash))

    def __iter__(self) -> Iterator[str]:
        seen = list(self._pending)
        yield from seen
        yield from (hash for hash in _hashes(self._blobs, "objects/") if hash not in seen)


class CloudRecipes(Recipes):
    """Recipes in a bucket; one that was read stays in memory, since what replaces it gives the same bytes."""

    def __init__(self, blobs: Blobs, tmp: Path) -> None:
        super().__init__(tmp, tmp)
        self._blobs = blobs

    def find(self, hash: str) -> list[Step]:
        known = self._read.get(hash)
        if known is None:
            try:
                known = 0, decode_recipe(self._blobs.read(recipe_key(hash), MAX_RECIPE_BYTES), hash)
            except NotFound:
                return []
        self._remember(hash, known)
        return known[1]

    def keep(self, hash: str, ranges: Sequence[Step]) -> None:
        self._read.pop(hash, None)
        self._blobs.put(recipe_key(hash), io.BytesIO(encode_recipe(ranges)))

    def delete(self, hash: str) -> None:
        self._read.pop(hash, None)
        self._blobs.delete(recipe_key(hash))

    def forget(self, hash: str) -> None:
        """Ask for the recipe anew at the next question."""
        self._read.pop(hash, None)

    # Finding out takes a listing of the bucket; asking for one recipe costs less.
    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return _hashes(self._blobs, "recipes/")


def single_key(hash: str) -> str:
    """Return the key of an object of its own."""
    check_hash(hash)
    return f"objects/{hash[:2]}/{hash[2:]}"


def recipe_key(hash: str) -> str:
    """Return the key of the recipe of an object."""
    check_hash(hash)
    return f"recipes/{hash[:2]}/{hash[2:]}"


def _hashes(blobs: Blobs, prefix: str) -> Iterator[str]:
    for each in blobs.list(prefix):
        hash = each.key.removeprefix(prefix).replace("/", "", 1)
        if is_hash(hash):
            yield hash


def _in_index(pack: Pack, hashes: set[str]) -> Iterator[str]:
    if len(hashes) < pack.count:
        yield from (hash for hash in hashes if pack.find(bytes.fromhex(hash)))
    else:
        yield from (digest.hex() for digest in pack.hashes() if digest.hex() in hashes)
