"""Objects that move through the run cache of a package at its registry, where workers see no store.

What is put in one batch becomes one result of the cache, which lists it as files. So readers of the package read it,
and the registry deletes what is not used for a time. Each machine sends its own token; none travels with a task.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, cast

from datapkg.errors import DatapkgError, Forbidden
from datapkg.format import run_cache_wire, wire
from datapkg.format.hashing import copy_hashed, hash_bytes, mismatch
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.objects.base import Writable
from datapkg.tables.ordered_map import ordered_map

if TYPE_CHECKING:
    from datapkg.home import Home
    from datapkg.remote.client import Client, PushTarget

_IN_MEMORY_BYTES = 8 << 20
_EMPTY = Manifest.make([], {}).hash


@dataclass(frozen=True)
class PackagePlace:
    """A package whose run cache is used, and the address of its registry."""

    registry: str
    package: str

    def opened(self, home: Home) -> PackageObjects:
        """Return its objects; raise what keeps this user from writing there: `NotLoggedIn`, `Forbidden` and others."""
        client, ref = home.client(self.registry), Ref.parse(self.package)
        client.check_may_change(ref)
        client.find_stages(ref, [])  # for its error: the registry may have no run caches
        if client.package(ref).role not in ("owner", "writer"):
            raise Forbidden(
                f"you may read {ref.package}, and not write to its run cache",
                hint=f"ask {ref.user} for: datapkg access add {ref.package} YOUR_NAME --write",
            )
        return PackageObjects(client, ref)

    def problem(self, home: Home) -> str:
        """Return why this machine cannot use it; "" if it can."""
        try:
            self.opened(home)
        except DatapkgError as error:
            return str(error)
        return ""


class PackageObjects(Writable):
    """The objects of a package with those of its run cache."""

    def __init__(self, client: Client, ref: Ref) -> None:
        self._client, self._ref = client, ref
        self._readable = client.objects(ref)
        self.jobs = self._readable.jobs
        self._lock, self._depth = threading.RLock(), 0
        self._push, self._sent = "", dict[str, int]()
        self._target: PushTarget | None = None

    def writer(self) -> PackageObjects:
        """Return the same objects with batches of their own."""
        return PackageObjects(self._client, self._ref)

    def missing(self, hashes: Iterable[str]) -> set[str]:
        asked = [hash for hash in hashes if hash not in self._sent]
        return set().union(*ordered_map(lambda hash: self._readable.missing([hash]), asked, self.jobs, 2 * self.jobs))

    def size(self, hash: str) -> int:
        return self._readable.size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        # Readers of Parquet seek, which a body of HTTP cannot.
        spool = cast(BinaryIO, SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115 - the caller closes it
        try:
            with self._readable.open(hash, start, stop) as body:
                found, _ = copy_hashed(body, spool)
            if start == 0 and stop is None and found != hash:
                raise mismatch(hash, found)
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return spool

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return self._readable.read_many(hashes)

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        with self.batch(), SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
            if stream.seekable():  # it is read twice rather than copied
                start = stream.tell()
                hash, size = copy_hashed(stream, _Nowhere())
                stream.seek(start)
            else:
                hash, size = copy_hashed(stream, spool)
                spool.seek(0)
                stream = cast(BinaryIO, spool)
            if expected not in (None, hash):
                raise mismatch(str(expected), hash)
            self._pushed().put(stream, hash)
            self._sent[hash] = size
        return hash

    def put_verified(self, items: Iterable[tuple[str, bytes]]) -> None:
        with self.batch():
            small: dict[str, bytes] = {}
            for hash, data in items:
                if len(data) < wire.SMALL_BYTES:
                    small[hash] = data
                else:
                    self.put_bytes(data, hash)
            if small:
                self._pushed().put_verified(small.items())
                self._sent.update((hash, len(data)) for hash, data in small.items())

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._lock:
            self._depth += 1
        is_whole = False
        try:
            yield
            is_whole = True
        finally:
            with self._lock:
                self._depth -= 1
                if not self._depth:
                    self._end(is_whole)

    def _pushed(self) -> PushTarget:
        with self._lock:
            if self._target is None:
                self._push = self._client.start_push(self._ref, _EMPTY, []).push
                self._target = self._client.objects(self._ref, self._push)
            return self._target

    def _end(self, is_whole: bool) -> None:
        """Make what was sent a result of the run cache, from which on it can be read."""
        target, sent = self._target, self._sent
        self._target, self._sent = None, {}
        if target is not None and is_whole:
            manifest = Manifest.make([FileNode(path=hash, hash=hash, size=size) for hash, size in sent.items()], {})
            target.put_bytes(manifest.data, manifest.hash)
            key = hash_bytes(f"objects:{manifest.hash}".encode())
            self._client.keep_stages(
                self._ref, self._push, [run_cache_wire.StageEntry(key=key, manifest=manifest.hash)]
            )


class _Nowhere:
    """Takes bytes that are only hashed."""

    def write(self, data: bytes) -> int:
        return len(data)
