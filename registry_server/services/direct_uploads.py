"""Uploads of large objects past the registry: into keys of its bucket that nobody reads, by signed addresses.

What arrives there is a part of an object, unverified, and its address can be written to again until it expires. So the
bytes that are hashed are copies that have no address: a key of their own in the bucket, or a file of this machine where
an object has several parts. The keys are named by user and hash, so that an interrupted upload goes on in a later push,
and nobody learns what others send.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import BinaryIO, cast

from datapkg.errors import Conflict, HashMismatch, QuotaExceeded
from datapkg.format import push_wire
from datapkg.format.hashing import hash_stream, mismatch
from datapkg.format.texts import count_text
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.cloud import single_key
from registry_server.services import uploads
from registry_server.services.policy import PushRequest
from registry_server.services.registry import Registry
from registry_server.settings import setting_name

PREFIX = "tmp/direct/"
LEAST_BYTES = 8 << 20
PART_BYTES = 256 << 20
SIGNED_AT_ONCE = 4
"""Addresses of so many parts are given at a time, so that the last one has not expired when it is used."""


def least_bytes(registry: Registry) -> int:
    """Return the size of the objects that clients send directly, and of larger ones; 0 where they send none."""
    seconds = registry.settings.direct_uploads_s
    can_sign = seconds and registry.objects.blobs.signed_url(f"{PREFIX}0", seconds, "PUT")
    return LEAST_BYTES if can_sign else 0


def wanted(request: PushRequest, hash: str, size: int) -> push_wire.DirectUpload:
    """Return where to send the first parts that have not arrived; none where all have.

    Raise `QuotaExceeded` for a larger object than is allowed, `DiskFull`, and `Conflict` where nothing is sent so.
    """
    registry = request.registry
    if not least_bytes(registry):
        raise Conflict("this registry takes no direct uploads", hint="push again")
    _check_size(registry, size)
    blobs, user = registry.objects.blobs, uploads.check_under_way(request).user_id
    here = {each.key: each.size for each in blobs.list(f"{PREFIX}{user}/")}
    # An object of one part is never on the disk of this machine.
    uploads.check_push(request, size if size > PART_BYTES else 0, sum(here.values()))
    left = (part for part in _parts(user, hash, size) if here.get(part[0]) != part[2] - part[1])
    seconds = registry.settings.direct_uploads_s
    signed = ((blobs.signed_url(key, seconds, "PUT"), start, stop) for key, start, stop in islice(left, SIGNED_AT_ONCE))
    return push_wire.DirectUpload(
        parts=[push_wire.DirectPart(url=url, start=start, stop=stop) for url, start, stop in signed if url]
    )


def complete(request: PushRequest, hash: str, size: int) -> push_wire.Stored:
    """Store an object whose parts have arrived, and delete them.

    Raise `Conflict` if a part is missing; `HashMismatch`, keeping nothing, if the parts do not have the hash `hash`;
    `QuotaExceeded` for a larger object than is allowed.
    """
    _check_size(request.registry, size)  # first: the list of the parts is as long as `size` says
    user, deletions = uploads.check_under_way(request).user_id, request.registry.deletions
    blobs, parts = request.registry.objects.blobs, list(_parts(user, hash, size))
    here = {each.key: each.size for each in blobs.list(f"{PREFIX}{user}/{hash}/")}
    if missing := [key for key, start, stop in parts if here.get(key) != stop - start]:
        raise Conflict(f"{count_text(len(missing), 'part')} of object {hash} did not arrive", hint="push again")
    try:
        if len(parts) == 1:
            _take(blobs, parts[0][0], hash, size)
        else:
            with ExitStack() as stack:
                stream = _Joined(blobs, ((key, stop - start) for key, start, stop in parts), stack)
                request.registry.new_writer().put(cast(BinaryIO, stream), expected=hash)
    except HashMismatch:
        _delete(blobs, here)
        raise
    uploads.note(request, {hash: size}, deletions)
    _delete(blobs, here)
    return push_wire.Stored(hashes=[hash])


def _parts(user: int, hash: str, size: int) -> Iterator[tuple[str, int, int]]:
    """Yield the key of each part, and its first byte and the one behind its last."""
    for number, start in enumerate(range(0, size, PART_BYTES)):
        yield f"{PREFIX}{user}/{hash}/{number:06}", start, min(size, start + PART_BYTES)


def _check_size(registry: Registry, size: int) -> None:
    if size > registry.settings.max_object_bytes:
        raise QuotaExceeded(f"an object larger than is allowed ({setting_name('max_object_bytes')})")


def _take(blobs: Blobs, key: str, hash: str, size: int) -> None:
    """Give the bytes of a key the name of an object, by copies in the store; raise `HashMismatch`."""
    copy = f"{PREFIX}copy-{secrets.token_hex(16)}"
    try:
        blobs.copy(key, copy)
        with blobs.open(copy) as stream:
            found, length = hash_stream(stream)
        if found != hash:
            raise mismatch(hash, found)
        if length != size:
            raise _changed(key)
        blobs.copy(copy, single_key(hash))
    finally:
        blobs.delete(copy)


def _changed(key: str) -> Conflict:
    """Return the error for a key that was written to after its size was asked for.

    The size that is noted for a hash has to be that of its bytes, also where these are right.
    """
    return Conflict(f"part {key.rpartition('/')[2]} of the object was changed while it was read", hint="push again")


def _delete(blobs: Blobs, keys: Iterable[str]) -> None:
    for key in keys:
        blobs.delete(key)


class _Joined:
    """The bytes of several keys (each with its size), one after the other; raise `Conflict` where one has fewer."""

    def __init__(self, blobs: Blobs, parts: Iterator[tuple[str, int]], stack: ExitStack) -> None:
        self._blobs, self._parts, self._stack = blobs, parts, stack
        self._stream: BinaryIO | None = None
        self._key, self._left = "", 0

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._stream and (data := self._stream.read(size)):
                self._left -= len(data)
                return data
            self._stack.close()
            if self._left:
                raise _changed(self._key)
            if (part := next(self._parts, None)) is None:
                return b""
            self._key, self._left = part
            self._stream = self._stack.enter_context(self._blobs.open(self._key, 0, self._left))
