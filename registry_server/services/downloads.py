"""The bytes of manifests and objects, served only through a package that holds them."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import Any

from datapkg.errors import CorruptObject, HashMismatch, InvalidInput, ObjectNotFound, QuotaExceeded
from datapkg.format import wire
from datapkg.format.chunks import LONG_BYTES, Chunk, chunks_of_lines, encode_chunks, line_offsets
from datapkg.format.frames import frame_head
from datapkg.format.hashing import hash_bytes
from datapkg.format.record_lists import CHECK_LISTS, read_lists
from datapkg.objects.base import not_found
from datapkg.objects.bucket_packs import is_local
from datapkg.objects.chunking import chunks_of_object
from datapkg.objects.directory import READ_BUFFER_BYTES, read_up_to
from datapkg.objects.files import unnamed_file
from datapkg.objects.paced_read import pieces
from registry_server.db import objects, states
from registry_server.services import policy
from registry_server.services.policy import PackageRequest
from registry_server.services.registry import Registry
from registry_server.services.reply_sizes import SLOW_BYTES, OpenReplies
from registry_server.settings import setting_name

MAX_LISTED = 100
ReadObject = Callable[[str], bytes]
# The second is raised for a recipe that cannot be read.
_DAMAGED = (ObjectNotFound, CorruptObject)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """An object that the actor may read; `public` if everybody may."""

    hash: str
    size: int
    public: bool
    registry: Registry

    @property
    def small(self) -> bool:
        """Whether it is read and verified as a whole."""
        return self.size <= wire.SMALL_BYTES

    def signed_url(self) -> str | None:
        """Return an address in the storage, if it has one and the operator allows it; it is good for a short time.

        A reader that follows it sends no token there.
        """
        return storage_url(self.registry, self.hash, self.size, self.registry.settings.signed_urls_s)

    def read(self, read: ReadObject | None = None) -> bytes:
        """Return all of it, verified, by a function that reads several objects; raise `CorruptObject`."""
        return read_checked(self.registry, self.hash, read)

    def pieces(self, start: int, stop: int, read: ReadObject | None = None) -> Generator[bytes, None, None]:
        """Yield a range in pieces; a small object is verified as a whole first."""
        if self.small:
            data = self.read(read)
            if len(data) <= SLOW_BYTES:
                yield data[start:stop]
                return
            del data  # read again below: a stalled reader would keep it in memory
        with self.registry.replies.one() as replies:
            yield from self._opened(start, stop, replies)

    def _opened(self, start: int, stop: int, replies: OpenReplies) -> Iterator[bytes]:
        at = start
        for piece in pieces(self.registry.objects, self.hash, start, stop, lambda: replies.piece_bytes):
            at += len(piece)
            yield piece
        if at < stop:
            raise CorruptObject(f"object {self.hash} ends {stop - at:,} bytes too early")


def storage_url(registry: Registry, hash: str, size: int, seconds: int) -> str | None:
    """Return an address of a large object in the storage, good for so long; None if the operator wants none there."""
    if not registry.settings.signed_urls_s or size <= wire.SMALL_BYTES:
        return None
    return registry.objects.signed_url(hash, seconds)


def read_checked(registry: Registry, hash: str, read: ReadObject | None = None) -> bytes:
    """Return a manifest or a small object; raise `CorruptObject` and mark it as damaged if its hash is wrong."""
    try:
        data = (read or registry.objects.read)(hash)
    except _DAMAGED:
        data = None
    if data is None or hash_bytes(data) != hash:
        raise _corrupt(registry, hash)
    return data


def map_checked(registry: Registry, hash: str) -> bytes | mmap:
    """Return a manifest as `read_checked` does; a long one is mapped into memory, so that it takes little of that."""
    try:
        data = _mapped(registry, hash)
    except _DAMAGED:
        raise _corrupt(registry, hash) from None
    if hash_bytes(data) != hash:
        raise _corrupt(registry, hash)
    return data


def _mapped(registry: Registry, hash: str) -> bytes | mmap:
    places = registry.objects.places(hash)
    if len(places) == 1 and places[0].pack is None and is_local(places[0]) and places[0].size >= LONG_BYTES:
        with contextlib.suppress(FileNotFoundError), open(places[0].path, "rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ)
    with registry.objects.open(hash) as stream:
        head = read_up_to(stream, LONG_BYTES)
        if len(head) < LONG_BYTES:
            return head
        with unnamed_file(registry.settings.temporary) as copy:
            copy.write(head)
            shutil.copyfileobj(stream, copy, READ_BUFFER_BYTES)
            copy.flush()
            return mmap(copy.fileno(), 0, access=ACCESS_READ)


def check_lists(registry: Registry, hash: str) -> dict[str, list[Any]]:
    """Return the checks from the object of a record; none if it is not such an object.

    Raise `QuotaExceeded` for more than `max_record_bytes`, `CorruptObject`.
    """
    limit = registry.settings.max_record_bytes
    try:
        with registry.objects.open(hash) as stream:
            return read_lists(stream, CHECK_LISTS, limit)
    except QuotaExceeded as error:
        setting = setting_name("max_record_bytes")
        raise QuotaExceeded(f"{error.message} ({setting})", limit=limit, setting=setting) from error
    except (ObjectNotFound, ValueError):
        try:
            chunks_of_object(registry.objects, hash)  # hashes it
        except (HashMismatch, *_DAMAGED) as error:
            raise _corrupt(registry, hash) from error
        return {}


def package_list(registry: Registry, hash: str) -> dict[str, list[Any]]:
    """Return the packages from the object of a record; none if it is too long, damaged or not such an object."""
    try:
        with registry.objects.open(hash) as stream:
            lists = read_lists(stream, None, registry.settings.max_record_bytes)
    except (QuotaExceeded, ObjectNotFound, ValueError):
        return {}
    return {"packages": lists.get("packages", [])}


def manifest(request: PackageRequest, hash: str) -> Served:
    """Return a manifest that is a state of the package; raise `ObjectNotFound` or `CorruptObject`."""
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        state = states.find(connection, package.id, hash)
    if state is None:
        raise not_found(hash, f"a state of {package.full_name}")
    return _served(request.registry, hash, state.manifest_size, package.public)


def manifest_chunks(served: Served) -> bytes:
    """Return the chunk map of a manifest that the actor may read, empty for a short one; raise `CorruptObject`."""

    def make() -> list[Chunk]:
        data = map_checked(served.registry, served.hash)
        return chunks_of_lines(data, line_offsets(data))

    return b"" if served.size < LONG_BYTES else _chunk_map(served, "manifest", make)


def object_chunks(served: Served) -> bytes:
    """Return the chunk map of an object that the actor may read; raise `CorruptObject`."""

    def make() -> list[Chunk]:
        try:
            return chunks_of_object(served.registry.objects, served.hash)
        except (HashMismatch, *_DAMAGED) as error:
            raise _corrupt(served.registry, served.hash) from error

    return _chunk_map(served, "object", make)


def kept_chunks(served: Served, kind: str) -> bytes | None:
    """Return the cached chunk map of a "manifest" or an "object" that the actor may read, or None."""
    return served.registry.chunk_maps.get(kind, served.hash)


def _chunk_map(served: Served, kind: str, make: Callable[[], list[Chunk]]) -> bytes:
    """Return a cached map, or make it; the caller limits how many are made at a time."""
    found = kept_chunks(served, kind)
    if found is None:
        found = encode_chunks(make())
        served.registry.chunk_maps.keep(kind, served.hash, found)
    return found


def object(request: PackageRequest, hash: str) -> Served:
    """Return an object that the package or its run cache holds; raise `ObjectNotFound` or `CorruptObject`."""
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        size = objects.readable_in(connection, package.id, [hash]).get(hash)
    if size is None:
        raise not_found(hash, f"in {package.full_name}")
    return _served(request.registry, hash, size, package.public)


def _served(registry: Registry, hash: str, size: int, public: bool) -> Served:
    try:
        actual = registry.objects.size(hash)
    except _DAMAGED:
        actual = -1
    if actual != size:
        raise _corrupt(registry, hash)
    return Served(hash, size, public, registry)


def _corrupt(registry: Registry, hash: str) -> CorruptObject:
    logger.error("object %s is damaged or lost; push it again or restore it from a backup", hash)
    with registry.db.write() as connection:
        objects.set_damaged(connection, hash, registry.now())
    return CorruptObject(
        f"the registry's copy of object {hash} is damaged; it was not sent",
        hint="tell the administrator of the registry; anyone who has the package can push it again",
        hash=hash,
    )


def objects_of(request: PackageRequest, hashes: Collection[str]) -> Iterator[bytes]:
    """Return frames of small objects of the package, each verified; a damaged one is omitted.

    Raise before the first frame: `ObjectNotFound` naming those that the package does not hold, `InvalidInput` for one
    that is too large for a batch.
    """
    hashes = list(dict.fromkeys(hashes))
    with request.registry.db.read() as connection:
        package = policy.readable(connection, request)
        sizes = objects.readable_in(connection, package.id, hashes)
    if absent := [hash for hash in hashes if hash not in sizes]:
        raise ObjectNotFound(
            f"{len(absent):,} objects are not in {package.full_name}, {absent[0]} among them",
            hash=absent[0],
            missing=absent[:MAX_LISTED],
        )
    for hash, size in sizes.items():
        if size > wire.SMALL_BYTES:
            raise InvalidInput(
                f"object {hash} has {size:,} bytes; objects over {wire.SMALL_BYTES:,} bytes are read one by one",
                hash=hash,
            )
    return _frames([Served(hash, sizes[hash], package.public, request.registry) for hash in hashes])


def _frames(wanted: Sequence[Served]) -> Iterator[bytes]:
    if not wanted:
        return
    with wanted[0].registry.objects.reading([served.hash for served in wanted]) as read:
        for served in wanted:
            pieces = served.pieces(0, served.size, read)
            try:
                # Before the head is sent: a small object is verified by then, and can still be left out.
                first = next(pieces, b"")
            except (CorruptObject, ObjectNotFound, OSError):
                # The client requests what is lacking by itself, and gets the reason then.
                continue
            yield frame_head(served.hash, served.size)
            yield first
            yield from pieces
