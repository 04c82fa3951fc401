"""The objects of a registry, as seen through one package and one push."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from datapkg.errors import Conflict, DatapkgError, InvalidInput, NotFound, ObjectNotFound, QuotaExceeded, Unreachable
from datapkg.format import push_wire, wire
from datapkg.format.chunks import Chunk, Step, decode_chunks, max_map_bytes
from datapkg.format.frames import encode_frames, read_frames
from datapkg.format.hashing import HashingReader, check_hash, hash_stream, mismatch
from datapkg.format.manifest.delta import HEAD_BYTES, encode_delta
from datapkg.objects.deltas import NewBytes, new_bytes
from datapkg.objects.recipes import with_remainder
from datapkg.objects.transfer import twice
from datapkg.remote.client import PushTarget
from datapkg.remote.direct_upload import is_sent_directly
from datapkg.remote.session import TRIES, RegistrySession, SizedBody
from datapkg.remote.time_limits import SlowTransferGuard
from datapkg.remote.transport import number_in, redirect_target

IDENTITY = {"Accept-Encoding": "identity"}
READ_MANY_COUNT = 20_000
RESUMED_BYTES = 64 << 20
"""Before as many bytes of an object are sent, the registry is asked how many came in an upload that broke off."""

WITHOUT_CHUNKS_S = 60.0
"""After a failed request for a chunk map, none is made for this long: each takes all tries."""


class RegistryObjects(PushTarget):
    """Reads through a package (`user`, `name`); writes into a push that was begun for it.

    Objects of at least `direct_bytes` are sent to where the registry keeps them, for 0 none.
    """

    def __init__(
        self, session: RegistrySession, user: str, name: str, push: str | None = None, *, direct_bytes: int = 0
    ) -> None:
        self._session = session
        self._names = {"user": user, "name": name}
        self._push = push
        self._direct_bytes = direct_bytes
        self.jobs = session.jobs
        self._asks_for_chunks_at = 0.0

    def address(self, hash: str) -> str:
        return self._session.url + self._path(wire.OBJECT, hash=hash)

    def signed_urls(self, hashes: Sequence[str], seconds: int) -> list[str]:
        """Return addresses that are valid as long as the registry decides."""
        path, found = self._path(wire.OBJECTS_URLS), []
        for group in _groups(hashes, wire.MAX_HASHES):
            given = self._session.reply(wire.ObjectUrls, "POST", path, {"hashes": group}).urls
            if len(given) != len(group):
                raise Unreachable(f"{self._session.url} gave {len(given):,} addresses for {len(group):,} objects")
            found += [redirect_target(self._session.url + path, each) for each in given]
        return found

    def _path(self, template: str, **names: str) -> str:
        return template.format(**self._names, **names)

    def _pushed(self) -> str:
        if self._push is None:
            raise InvalidInput("objects are put into a registry only within a push")
        return self._push

    def missing(self, hashes: Iterable[str]) -> set[str]:
        if self._push is None:
            return {hash for hash in hashes if not self._readable(hash)}
        missing: set[str] = set()
        for group in _groups(hashes, wire.MAX_HASHES):
            path = self._path(push_wire.PUSH_MISSING, push=self._push)
            missing.update(self._session.reply(push_wire.Missing, "POST", path, {"hashes": group}).missing)
        return missing

    def _readable(self, hash: str) -> bool:
        try:
            self.size(hash)
        except ObjectNotFound:
            return False
        return True

    def size(self, hash: str) -> int:
        path = self._path(wire.OBJECT, hash=check_hash(hash))
        try:
            with self._session.request("HEAD", path, headers=IDENTITY) as response:
                size = number_in(response.headers, "Content-Length")
        except (NotFound, Unreachable) as error:  # the answer to a HEAD has no body that could explain
            if isinstance(error, NotFound) or error.detail.get("status") == 404:
                raise ObjectNotFound(f"object {hash} is not at {self._session.url}", hash=hash) from error
            raise
        if size is None:
            raise Unreachable(f"{self._session.url} did not tell the size of {hash}")
        return size

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        path = self._path(wire.OBJECT, hash=check_hash(hash))
        # HTTP has no empty range; the size shows whether the object exists.
        if stop is not None and stop <= start:
            self.size(hash)
            return io.BytesIO()
        body = ResumingBody(self._session, path, start, stop)
        self._session.retried(body.connect)
        return cast(BinaryIO, body)

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        path = self._path(wire.OBJECT_CHUNKS, hash=check_hash(hash))

        def attempt() -> bytes:
            with self._session.request("GET", path, work=size, headers=IDENTITY) as response:
                return self._session.body(response, max_map_bytes(size))

        if time.monotonic() < self._asks_for_chunks_at:
            return None
        try:
            data = self._session.retried(attempt)
        except ObjectNotFound:
            raise
        except DatapkgError:  # of whatever kind: it only makes the transfer of the object shorter
            self._asks_for_chunks_at = time.monotonic() + WITHOUT_CHUNKS_S
            return None
        return decode_chunks(data)

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for group in _groups(hashes, READ_MANY_COUNT):
            left = dict.fromkeys(group)
            failures, since = 0, time.monotonic()
            while left:
                before = len(left)
                try:
                    for hash, data in self._read_group(list(left)):
                        if hash not in left:
                            raise Unreachable(f"{self._session.url} sent object {hash} twice, or without being asked")
                        del left[hash]
                        yield hash, data
                    if left:
                        self.open(next(iter(left))).close()  # requested alone, the registry answers why it did not come
                        raise ObjectNotFound(f"object {next(iter(left))} did not come with the others asked for")
                except Unreachable as error:
                    if len(left) < before:
                        failures, since = 0, time.monotonic()
                    failures += 1
                    is_late = time.monotonic() - since >= self._session.patience.limit_s
                    if failures >= TRIES or is_late or not error.detail.get("again"):
                        raise

    def _read_group(self, hashes: list[str]) -> Iterator[tuple[str, bytes]]:
        session, path = self._session, self._path(wire.OBJECTS_READ)
        with ExitStack() as stack:
            response = session.retried(
                lambda: stack.enter_context(session.request("POST", path, json={"hashes": hashes}, headers=IDENTITY))
            )
            with session.reading():
                try:
                    yield from read_frames(cast(BinaryIO, _UploadBody(session, response.raw, session.pace())))
                except InvalidInput as error:
                    raise Unreachable(f"{session.url} broke off: {error}", again=True) from error
                except QuotaExceeded as error:
                    raise Unreachable(f"{session.url} sent what was not asked for: {error}") from error

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        if expected is None:
            return self._put_unknown(stream)
        path = self._path(push_wire.PUSH_OBJECT, push=self._pushed(), hash=check_hash(expected))
        start = stream.tell() if stream.seekable() else None
        size = _size_of(stream)
        if start is not None and self._is_sent_directly(stream, expected, size):
            return expected
        is_begun, is_again, is_alone = size >= RESUMED_BYTES, False, True

        def attempt() -> None:
            nonlocal is_begun, is_again
            if is_again and not self.missing([expected]):  # only the answer was lost
                return
            is_resumable = is_begun and is_alone and start is not None
            offset = min(self._received(expected), size) if is_resumable else 0
            is_begun = is_again = True
            if start is not None:
                stream.seek(start + offset)
            body = HashingReader(stream)
            query = f"?offset={offset}" if is_resumable else ""
            headers = {"Content-Type": "application/octet-stream"}
            sent = SizedBody(self._session, _pieces(body), size - offset)
            with self._session.request("PUT", path + query, work=size, data=sent, headers=headers) as response:
                self._session.body(response, 1 << 20)
            # After an offset, the bytes before it were not read here; the registry verifies the whole.
            if not offset and body.hexdigest() != expected:
                raise mismatch(expected, body.hexdigest())

        if start is None:
            attempt()
            return expected
        try:
            self._session.retried(attempt)
        except Conflict:  # the same user sends it from elsewhere at the same time: it is sent whole, beside that
            is_alone = False
            self._session.retried(attempt)
        return expected

    def _is_sent_directly(self, stream: BinaryIO, hash: str, size: int) -> bool:
        """Send an object past the registry, if it offers that; what did not work once is not tried for the next one."""
        if not self._direct_bytes or size < self._direct_bytes:
            return False
        start = stream.tell()
        path = self._path(push_wire.PUSH_DIRECT, push=self._pushed(), hash=check_hash(hash))
        if is_sent_directly(self._session, path, stream, size) or not self.missing([hash]):
            return True
        self._direct_bytes = 0
        stream.seek(start)
        return False

    def arrived(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return of objects (hash to size in bytes) how many bytes arrived in an interrupted upload, if any."""
        found = {hash: self._received(hash) for hash, size in sizes.items() if size >= RESUMED_BYTES}
        return {hash: received for hash, received in found.items() if 0 < received < sizes[hash]}

    def _received(self, hash: str) -> int:
        path = self._path(push_wire.PUSH_OBJECT, push=self._pushed(), hash=check_hash(hash))
        try:
            return self._session.reply(push_wire.Received, "GET", path).size_bytes
        except (NotFound, InvalidInput, Unreachable):
            return 0

    def _put_unknown(self, stream: BinaryIO) -> str:
        """Hash a stream on its way to a temporary file first: the address of an object is its hash."""
        with SpooledTemporaryFile(max_size=wire.SMALL_BYTES) as spool:
            reader = HashingReader(stream)
            for piece in _pieces(reader):
                spool.write(piece)
            spool.seek(0)
            return self.put(cast(BinaryIO, spool), reader.hexdigest())

    def put_delta(self, hash: str, new: memoryview, steps: Sequence[Step]) -> None:
        if new_bytes(steps) >= RESUMED_BYTES:
            steps = self._with_new_bytes_sent(new, steps)
        path = self._path(push_wire.PUSH_DELTA, push=self._pushed(), hash=check_hash(hash))
        headers = {"Content-Type": push_wire.DELTA_TYPE}

        def attempt() -> None:
            sent = SizedBody(self._session, encode_delta(steps, new), HEAD_BYTES * len(steps) + new_bytes(steps))
            with self._session.request("PUT", path, work=len(new), data=sent, headers=headers) as response:
                self._session.body(response, 1 << 20)

        self._session.retried(attempt)

    def _with_new_bytes_sent(self, new: memoryview, steps: Sequence[Step]) -> list[Step]:
        """Send the new bytes of a delta as an object, of which an upload can go on; return steps that refer to it."""
        stream = cast(BinaryIO, NewBytes(new, steps))
        remainder, _ = hash_stream(stream)
        if self.missing([remainder]):
            stream.seek(0)
            self.put(stream, remainder)
        return with_remainder(steps, remainder)

    def put_verified(self, items: Iterable[tuple[str, bytes]]) -> None:
        path = self._path(push_wire.PUSH_OBJECTS, push=self._pushed())
        for group in _groups_by_size(items):
            body = b"".join(encode_frames(group))
            group.clear()  # it is in memory once
            twice(partial(self._session.retried, partial(self._send_frames, path, body)), self._session.url + path)

    def _send_frames(self, path: str, body: bytes) -> None:
        headers = {"Content-Type": wire.FRAMES, "Prefer": push_wire.MINIMAL}
        with self._session.request("POST", path, data=body, headers=headers) as response:
            self._session.body(response, 64 << 20)


def _pieces(reader: HashingReader) -> Iterator[bytes]:
    while piece := reader.read(1 << 20):
        yield piece


def _size_of(stream: BinaryIO) -> int:
    """Return how many bytes are left in a stream that states its size or is seekable; 0 for another."""
    size = getattr(stream, "size", None)  # a method of pyarrow's streams
    if isinstance(size, int) or not stream.seekable():
        return size if isinstance(size, int) else 0
    at = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    stream.seek(at)
    return end - at


def _groups(hashes: Iterable[str], count: int) -> Iterator[list[str]]:
    items = iter(hashes)
    while group := list(islice(items, count)):
        yield group


def _groups_by_size(items: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for hash, data in items:
        if group and size + len(data) > wire.BATCH_BYTES:
            yield group
            group, size = [], 0
        group.append((hash, data))
        size += len(data)
    if group:
        yield group


class _UploadBody:
    """The raw body of an answer as a stream that counts."""

    def __init__(self, session: RegistrySession, raw: Any, pace: SlowTransferGuard) -> None:
        self._session = session
        self._raw = raw
        self._pace = pace

    def read(self, size: int) -> bytes:
        # Not `read`, which waits for all `size` bytes: a slow body would look like a stalled one.
        piece: bytes = self._raw.read1(size, decode_content=False)
        self._pace.add(len(piece))
        self._session.received(len(piece))
        return piece


class ResumingBody(io.RawIOBase):
    """An object's bytes from a registry; a connection that breaks is made again where it broke.

    With `skips`, a server that then sends the whole again is read up to there; else that is an error, with
    `detail["whole"]`.
    """

    def __init__(
        self, session: RegistrySession, path: str, start: int, stop: int | None, *, skips: bool = False
    ) -> None:
        self._skips = skips
        self._session = session
        self._path = path
        self._at = start
        self._stop = stop
        self._stack = ExitStack()
        self._pace = session.pace()
        self._body: _UploadBody | None = None

    def connect(self) -> None:
        """Ask for what is left."""
        headers = dict(IDENTITY)
        if self._at or self._stop is not None:
            headers["Range"] = f"bytes={self._at}-{'' if self._stop is None else self._stop - 1}"
        self._stack.close()
        response = self._stack.enter_context(self._session.request("GET", self._path, headers=headers))
        if "Range" in headers and response.status_code != 206:
            if not self._skips:
                raise Unreachable(f"{self._session.url} answered a request for a part with the whole", whole=True)
            self._body = _UploadBody(self._session, response.raw, self._pace)
            self._skip(self._at)
            return
        given = response.headers.get("Content-Range", "")
        if "Range" in headers and not given.startswith(f"bytes {self._at}-"):
            raise Unreachable(f"{self._session.url} answered a request for a part with another one: {given[:80]!r}")
        self._body = _UploadBody(self._session, response.raw, self._pace)

    def _skip(self, size: int) -> None:
        assert self._body is not None
        with self._session.reading():
            while size and (piece := self._body.read(min(size, 1 << 20))):
                size -= len(piece)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._stop is not None:  # whatever else comes behind what was asked for
            view = view[: max(0, self._stop - self._at)]
        piece = self._session.retried(lambda: self._read(len(view)))
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _read(self, size: int) -> bytes:
        if self._body is None:
            self.connect()
        assert self._body is not None
        try:
            with self._session.reading():
                return self._body.read(size)
        except Unreachable:
            self._body = None
            raise

    def close(self) -> None:
        self._stack.close()
        super().close()
