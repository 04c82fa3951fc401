"""Uploads of a push: which objects are missing, and storing the ones that arrive."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from sqlalchemy import Connection

from datapkg.errors import Conflict, DiskFull, InvalidInput, NotFound, QuotaExceeded
from datapkg.format import push_wire, wire
from datapkg.format.frames import FRAME_HEAD_BYTES, read_frames
from datapkg.format.hashing import check_bytes
from datapkg.format.manifest.delta import DeltaStream
from datapkg.format.names import check_package
from datapkg.format.texts import count_text, quoted
from datapkg.objects.base import not_found
from datapkg.objects.free_space import free_bytes
from registry_server.db import objects, pushes, states
from registry_server.db.pushes import Push
from registry_server.services import policy, recipes
from registry_server.services.policy import PackageRequest, PushRequest
from registry_server.services.registry import Registry
from registry_server.settings import setting_name

BATCH_OBJECTS = 20_000
ROOM_STEP_BYTES = 1 << 20
"""While an object is written, the room that the registry needs is looked at so often."""


def start(request: PackageRequest, wanted: push_wire.PushStart, direct_bytes: int = 0) -> push_wire.PushStarted:
    """Start a push and return which of its objects are missing here, and from which size on they are sent directly."""
    with request.registry.db.read() as connection:
        user_id = policy.check_writer(connection, request, "package:publish")
    check_package(request.name)
    with request.registry.db.write() as connection:
        push = Push(
            id=secrets.token_urlsafe(18),
            user_id=user_id,
            package=request.full_name,
            manifest=wanted.manifest,
            expires_at=request.registry.now() + timedelta(seconds=request.registry.settings.push_age_s),
        )
        pushes.remove_older(connection, request.registry.now())
        if pushes.count_of(connection, user_id) >= request.registry.settings.max_pushes:
            raise QuotaExceeded(
                f"you have {request.registry.settings.max_pushes:,} unfinished pushes, which is the limit "
                f"({setting_name('max_pushes')})",
                hint="publish one, or wait until one expires",
            )
        pushes.add(connection, push)
        package = request.find(connection)
    missing = _missing(request, push, {wanted.manifest: None, **dict.fromkeys(wanted.hashes)})
    with request.registry.db.read() as connection:
        return push_wire.PushStarted(
            push=push.id,
            missing=missing,
            damaged=objects.damaged_in(connection, package.id) if package else [],
            latest=states.latest_of(connection, package.id) if package else None,
            public=bool(package and package.public),
            exists=package is not None,
            record_objects=True,
            direct_bytes=direct_bytes,
        )


def missing(request: PushRequest, hashes: Collection[str]) -> push_wire.Missing:
    """Return the objects that the push has to send: no package that the actor may read holds them."""
    return push_wire.Missing(missing=_missing(request, check_under_way(request), dict.fromkeys(hashes)))


def _missing(request: PackageRequest, push: Push, hashes: Collection[str]) -> list[str]:
    """Return the missing objects; what the user sent in an interrupted push to the package counts as sent."""
    with request.registry.db.read() as connection:
        package = request.find(connection)
        package_id = package.id if package else None
        here = objects.usable(connection, hashes, user_id=push.user_id, push=push.id, package_id=package_id)
        absent = [hash for hash in hashes if hash not in here]
        before = objects.sent_before(connection, absent, push.user_id, push.package)
    if before:
        with request.registry.db.write() as connection:
            # Again in the transaction that writes: the push that sent them may have expired since.
            before = objects.sent_before(connection, absent, push.user_id, push.package)
            objects.list_sent(connection, push.id, before)
    return [hash for hash in absent if hash not in before]


def find_push(connection: Connection, request: PushRequest) -> Push:
    """Return the actor's push to this package; raise `NotFound` for any other push and for an expired one."""
    user_id = policy.check_writer(connection, request, "package:publish")
    push = pushes.find(connection, request.push_id)
    mine = user_id, request.full_name
    if push is None or (push.user_id, push.package) != mine or push.expires_at <= request.registry.now():
        raise NotFound(
            f"there is no push {quoted(request.push_id)} under way to {request.full_name}", hint="push again"
        )
    return push


def check_room(registry: Registry, size: int) -> None:
    """Raise `DiskFull` if so many bytes more would leave the disk less room than the registry itself needs."""
    if size + registry.settings.min_free_bytes > free_bytes(registry.settings.data):
        raise DiskFull(
            f"the registry has no room for {f'{size:,} more' if size else 'more'} bytes; nothing was stored",
            hint="tell the administrator of the registry",
        )


def begun_bytes(registry: Registry, user_id: int) -> int:
    """Return how many bytes of a user arrived in interrupted uploads."""
    return sum(map(_size_bytes, registry.settings.temporary.glob(f"upload-{user_id}-*")))


def check_push(request: PushRequest, size: int = 0, elsewhere: int = 0) -> None:
    """Raise unless the actor may send so many bytes in this push; called before the first is read.

    `elsewhere` are bytes that the actor has sent past the registry and that are not objects yet.
    """
    # Before the first byte of the body is read, so that a client does not send gigabytes for nothing.
    check_room(request.registry, size)
    with request.registry.db.read() as connection:
        push = find_push(connection, request)
        limit = request.registry.settings.max_unpublished_bytes
        begun = begun_bytes(request.registry, push.user_id) + elsewhere
        count = partial(pushes.unpublished_bytes, connection, push.user_id)
        if request.registry.unpublished.are_more(push.user_id, limit - begun, count):
            raise QuotaExceeded(
                f"you have sent more than {limit:,} bytes that are not published, which is the limit "
                f"({setting_name('max_unpublished_bytes')})",
                hint="publish them, or wait until the pushes that sent them expire",
                limit=limit,
            )


def check_under_way(request: PushRequest) -> Push:
    """Return the actor's push, which is open; raise `NotFound`."""
    with request.registry.db.read() as connection:
        return find_push(connection, request)


def put_object(request: PushRequest, hash: str, offset: int | None, stream: BinaryIO) -> push_wire.Stored:
    """Store one object; with `offset`, its first bytes arrived in an interrupted upload, and what arrives now is kept.

    Raise `HashMismatch`, and keep nothing, if its hash is not `hash`; `Conflict` if fewer than `offset` bytes are here;
    `QuotaExceeded` for a larger object than is allowed.
    """
    # The count is read before the upload, so that `note` sees whether a sweep deleted files during it.
    push, deletions = check_under_way(request), request.registry.deletions
    counted = _Counted(stream, request.registry, request.registry.settings.max_object_bytes - (offset or 0))
    if offset is None:
        request.registry.new_writer().put(counted, expected=hash)  # type: ignore[arg-type]
    else:
        writer = request.registry.new_writer()
        writer.loose.put_rest(counted, hash, _begun(request, push, hash), offset)  # type: ignore[arg-type]
    note(request, {hash: (offset or 0) + counted.size_bytes}, deletions)
    return push_wire.Stored(hashes=[hash])


def received(request: PushRequest, hash: str) -> push_wire.Received:
    """Return how many bytes of an object came in an interrupted upload of the same user."""
    return push_wire.Received(size_bytes=_size_bytes(_begun(request, check_under_way(request), hash)))


def _begun(request: PushRequest, push: Push, hash: str) -> Path:
    """Return the file of an unfinished upload; one per user, so that no user learns what others upload."""
    return request.registry.settings.temporary / f"upload-{push.user_id}-{hash}"


def _size_bytes(path: Path) -> int:
    """Return the size of a file, 0 if it is not there: an upload that completes takes it away."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def put_delta(request: PushRequest, hash: str, stream: BinaryIO) -> push_wire.Stored:
    """Store one object sent as a delta against objects that the package holds or that this push sent.

    Raise `ObjectNotFound` if the delta uses any other object, even one that the registry has, `InvalidInput` if it uses
    bytes beyond the end of an object, and `HashMismatch`, keeping nothing, if the result does not have the hash `hash`.
    """
    check_under_way(request)
    deletions = request.registry.deletions
    sizes: dict[str, int] = {}

    def part(source: str, start: int, stop: int) -> BinaryIO:
        if source not in sizes:
            sizes[source] = _size_in(request, source)
        if stop > sizes[source]:
            raise InvalidInput(f"object {source} has {sizes[source]:,} bytes; the delta uses bytes up to {stop:,}")
        return request.registry.objects.open(source, start, stop)

    with closing(DeltaStream(stream, part, request.registry.settings.max_object_bytes)) as built:
        counted = _Counted(cast(BinaryIO, built), request.registry, request.registry.settings.max_object_bytes)
        request.registry.new_writer().put(counted, expected=hash)  # type: ignore[arg-type]
        note(request, {hash: built.size_bytes}, deletions)
        # The object is stored and noted already, so a failure here costs only disk space.
        recipes.prepare(request.registry, hash, built.steps)
    return push_wire.Stored(hashes=[hash])


def _size_in(request: PushRequest, hash: str) -> int:
    """Return the size of an object that the delta may use; raise `ObjectNotFound`."""
    with request.registry.db.read() as connection:
        push = find_push(connection, request)
        package = request.find(connection)
        package_id = package.id if package else None
        size = objects.held_or_sent(connection, [hash], push=push.id, package_id=package_id).get(hash)
    if size is None:
        raise not_found(hash, f"in {request.full_name}")
    return size


def put_batch(request: PushRequest, stream: BinaryIO) -> push_wire.Stored:
    """Store a body of frames; complete objects before a mistake are kept and need not be sent again."""
    check_under_way(request)
    deletions = request.registry.deletions
    stored: list[str] = []
    for batch in _batches(read_frames(stream)):
        for hash, data in batch.items():
            check_bytes(data, hash)
        _keep(request.registry, batch)
        note(request, {hash: len(data) for hash, data in batch.items()}, deletions)
        stored += batch
    return push_wire.Stored(hashes=stored)


def _keep(registry: Registry, batch: dict[str, bytes]) -> None:
    with registry.db.read() as connection:
        damaged = objects.damaged(connection).intersection(batch)
    for hash in damaged:  # found before the pack that may have the damaged copy
        registry.new_writer().put_bytes(batch[hash], hash)
    if rest := {hash: data for hash, data in batch.items() if hash not in damaged}:
        registry.new_writer().put_several(rest)


def note(request: PushRequest, sizes: dict[str, int], deletions: int) -> None:
    """List objects whose files have their names as sent; `deletions` is what it was before they got them.

    Raise `Conflict` if a sweep deleted one of them meanwhile.
    """
    with request.registry.db.write() as connection:
        push = find_push(connection, request)
        # The sweep moves files in write transactions too: restore what it took after these files got their names.
        if deleted := request.registry.restore(sizes, deletions):
            raise Conflict(
                f"{count_text(len(deleted), 'object')} of this upload took too long and was deleted as unused",
                hint="push again",
            )
        objects.add_sent(connection, push.id, sizes, request.registry.now())
    request.registry.unpublished.add(push.user_id, sum(sizes.values()))


def _batches(frames: Iterator[tuple[str, bytes]]) -> Iterator[dict[str, bytes]]:
    """Yield the frames in groups of up to `wire.BATCH_BYTES`, so that a long body needs little memory."""
    batch: dict[str, bytes] = {}
    size = 0
    for number, (hash, data) in enumerate(frames, start=1):
        if number > wire.MAX_HASHES:
            raise QuotaExceeded(f"a request may have at most {wire.MAX_HASHES:,} objects")
        batch[hash] = data
        size += len(data) + FRAME_HEAD_BYTES
        if size >= wire.BATCH_BYTES or len(batch) >= BATCH_OBJECTS:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch


class _Counted:
    """A stream that counts the bytes read from it; raises `QuotaExceeded` beyond `limit`, `DiskFull` without room.

    A body need not state its length, other uploads write at the same time, and a short delta may mean a large object.
    """

    def __init__(self, stream: BinaryIO, registry: Registry, limit: int) -> None:
        self._stream, self._registry = stream, registry
        self._limit = limit
        self._looked_at = 0
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size_bytes += len(data)
        if self.size_bytes > self._limit:  # the limit of bodies knows nothing of the parts that came before
            raise QuotaExceeded(f"an object larger than is allowed ({setting_name('max_object_bytes')})")
        if self.size_bytes - self._looked_at >= ROOM_STEP_BYTES:
            self._looked_at = self.size_bytes
            check_room(self._registry, 0)
        return data
