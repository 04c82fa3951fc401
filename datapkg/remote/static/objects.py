"""The objects of a package in a registry without a server: read where its states have them, put within a push."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from datapkg.errors import CorruptObject, InvalidInput, NotFound, ObjectNotFound
from datapkg.format import static_registry as layout
from datapkg.format.chunks import Chunk, Step, decode_chunks, encode_chunks, max_map_bytes
from datapkg.format.hashing import VerifyingReader, check_hash, hash_bytes, mismatch
from datapkg.format.locations import RECIPE, WHOLE, ObjectLocation
from datapkg.objects.base import Readable, not_found
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.chunking import chunks_of_stream
from datapkg.objects.directory import ChainedStream, read_up_to
from datapkg.objects.pack_writer import PackWriter
from datapkg.objects.packs import PACK_BYTES, PACK_OBJECTS, SMALL_BYTES
from datapkg.objects.recipes import clipped, encode_recipe, joined, with_remainder, worthwhile
from datapkg.objects.threads import ThreadPool
from datapkg.remote.client import PushTarget
from datapkg.remote.static.places import ObjectPlaces

NEAR_BYTES = 64 << 10
"""Objects of one pack nearer to each other than this are read in one request."""
RUN_BYTES = 16 << 20  # the longest such request, since its bytes are in memory
MAX_ASKED = 1_000
"""If more objects than this are not known, they are taken as missing, and only large ones are asked for when put."""
READ_BYTES = 1 << 20


class StaticObjects(PushTarget):
    """Reads through `places`; `push` is the state that is being pushed, None where nothing is put."""

    def __init__(self, blobs: Blobs, places: ObjectPlaces, push: str | None = None) -> None:
        self._blobs, self.places, self._push = blobs, places, push
        self.jobs = blobs.jobs
        self.manifest: bytes | None = None
        self._depth = 0
        self._writer: PackWriter | None = None
        self._stack = ExitStack()
        self._lock = threading.RLock()

    def address(self, hash: str) -> str:
        return f"{self._blobs.url}/{layout.object_key(hash)}"

    def signed_urls(self, hashes: Sequence[str], seconds: int) -> list[str]:
        return [url for hash in hashes if (url := self._signed_url(hash, seconds))]

    def _signed_url(self, hash: str, seconds: int) -> str | None:
        """Return an address in the bucket; of a folder or a web site, the usual one; None for a part of a pack."""
        if self.places.find(check_hash(hash)).pack != WHOLE:
            return None
        is_open = self._blobs.url.startswith(("file:", "http:", "https:"))
        return self.address(hash) if is_open else self._blobs.signed_url(layout.object_key(hash), seconds)

    def missing(self, hashes: Iterable[str]) -> set[str]:
        unknown = [hash for hash in hashes if self.places.known(check_hash(hash)) is None]
        if self._push is None:
            return {hash for hash in unknown if not self._is_found(hash)}
        if len(unknown) > MAX_ASKED:
            return set(unknown)
        with ThreadPool(self.jobs) as pool:
            return {
                hash for hash, place in zip(unknown, pool.map(self.places.whole, unknown), strict=True) if not place
            }

    def _is_found(self, hash: str) -> bool:
        try:
            self.places.find(hash)
        except ObjectNotFound:
            return False
        return True

    def size(self, hash: str) -> int:
        return self.places.find(check_hash(hash)).size

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        place = self.places.find(check_hash(hash))
        stop = place.size if stop is None else min(stop, place.size)
        if stop <= start:
            return io.BytesIO()
        try:
            if place.pack != RECIPE:
                return self._open_place(hash, place, start, stop)
            ranges = list(clipped(self._flat_recipe(hash), start, stop))
            return cast(BinaryIO, io.BufferedReader(_Ranges(self, ranges), READ_BYTES))
        except ObjectNotFound:
            raise
        except NotFound as error:
            raise not_found(hash, f"at {self._blobs.url}, where it was pushed to") from error

    def _flat_recipe(self, hash: str) -> list[Step]:
        """Return the ranges of an object; raise `CorruptObject` for one of a recipe, which could lead in a circle."""
        ranges = self.places.recipe(hash)
        for each in ranges:
            if self.places.find(str(each.source)).pack == RECIPE:
                raise CorruptObject(f"the recipe of {hash} at {self._blobs.url} is made of a recipe", hash=hash)
        return ranges

    def _open_place(self, hash: str, place: ObjectLocation, start: int, stop: int) -> BinaryIO:
        if place.pack == WHOLE:
            return self._blobs.open(layout.object_key(hash), start, stop)
        try:
            return self._blobs.open(layout.pack_key(place.pack), place.offset + start, place.offset + stop)
        except NotFound:
            self.places.forget(place.pack)
            return self.open(hash, start, stop)  # from where it was pushed to again

    def chunks(self, hash: str, size: int) -> list[Chunk] | None:
        try:
            return decode_chunks(self._blobs.read(layout.map_key(hash), max_map_bytes(size)))
        except NotFound:
            # Raises for an object that is not there; a map that is missing is no error.
            self.places.find(hash)
            return None

    def read_many(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        by_pack: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for hash in hashes:
            place = self.places.find(hash)
            if place.size > RUN_BYTES:  # by a file that anybody may have written who can write there
                raise CorruptObject(
                    f"object {hash} at {self._blobs.url} would be {place.size:,} bytes, where few were expected",
                    hash=hash,
                )
            if place.pack in (WHOLE, RECIPE):
                yield hash, self.read(hash)
            else:
                by_pack[place.pack].append((place.offset, place.size, hash))
        for pack, wanted in by_pack.items():
            for run in _runs(sorted(wanted)):
                yield from self._read_run(pack, run)

    def _read_run(self, pack: str, run: list[tuple[int, int, str]]) -> Iterator[tuple[str, bytes]]:
        start, stop = run[0][0], run[-1][0] + run[-1][1]
        try:
            with self._blobs.open(layout.pack_key(pack), start, stop) as stream:
                data = memoryview(read_up_to(stream, stop - start))
        except NotFound:
            self.places.forget(pack)
            yield from ((hash, self.read(hash)) for _, _, hash in run)
            return
        for offset, size, hash in run:
            yield hash, bytes(data[offset - start : offset - start + size])

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._lock:
            self._depth += 1
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                if not self._depth:
                    self._finish()

    def put(self, stream: BinaryIO, expected: str | None = None) -> str:
        if self._push is None:
            raise InvalidInput("objects are put into a registry only within a push")
        head = read_up_to(stream, SMALL_BYTES)
        if len(head) < SMALL_BYTES:
            return self._put_small(head, expected)
        with _seekable(head, stream) as file:
            return self._put_long(file, expected)

    def put_many(self, items: Iterable[bytes]) -> list[str]:
        with self.batch():
            return [self.put_bytes(item) for item in items]

    def _put_small(self, data: bytes, expected: str | None) -> str:
        hash = hash_bytes(data)
        if expected not in (None, hash):
            raise mismatch(str(expected), hash)
        # Kept for `publish`, which would read it back otherwise.
        if hash == self._push:
            self.manifest = data
        with self.batch(), self._lock:
            if self._writer is None:
                folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="datapkg-"))
                self._writer = PackWriter(Path(folder) / "pack")
            if bytes.fromhex(hash) not in self._writer.entries:
                self._writer.add({bytes.fromhex(hash): data})
                if self._writer.size >= PACK_BYTES or len(self._writer.entries) >= PACK_OBJECTS:
                    self._finish()
        return hash

    def _finish(self) -> None:
        """Give the pack that is being filled its name, and note where its objects are."""
        writer, self._writer = self._writer, None
        with self._stack.pop_all():
            if writer is None:
                return
            try:
                pack = writer.finish()
                with open(writer.temp, "rb") as file:
                    self._blobs.put(layout.pack_key(pack), file)
            except BaseException:
                writer.discard()
                raise
            for digest, (offset, size) in writer.entries.items():
                self.places.added[digest.hex()] = ObjectLocation(pack, offset, size)
            # A smaller pack is sent again as fast as its places are written.
            if self._push is not None and writer.size >= SMALL_BYTES:
                self.places.write_begun(self._push)

    def _put_long(self, file: BinaryIO, expected: str | None) -> str:
        """Put a seekable file of at least 1 MiB: its chunk map, then the file itself, whose hash is right."""
        start = file.tell()
        hash, chunks = chunks_of_stream(file)
        size = file.tell() - start
        if expected not in (None, hash):
            raise mismatch(str(expected), hash)
        file.seek(start)
        if hash == self._push:
            self.manifest = file.read()
            file.seek(start)
        # Before the object: whoever finds that may ask for its map at once.
        self._put_map(hash, chunks)
        if self.places.whole(hash) is None:
            # Hashed again on the way: the file may have changed since the first pass.
            self._blobs.put(layout.object_key(hash), cast(BinaryIO, VerifyingReader(file, hash)))
            self.places.added[hash] = ObjectLocation(WHOLE, 0, size)
        return hash

    def _put_map(self, hash: str, chunks: Sequence[Chunk]) -> None:
        self._blobs.put(layout.map_key(hash), io.BytesIO(encode_chunks(chunks)))

    def put_delta(self, hash: str, new: memoryview, steps: Sequence[Step]) -> None:
        """Store an object as a recipe over objects that are here, where that saves enough; else whole."""
        found, chunks = chunks_of_stream(io.BytesIO(new))
        if found != hash:
            raise mismatch(hash, found)
        ranges = worthwhile(joined(self._flat(steps)))
        if not ranges:
            self.put(io.BytesIO(new), hash)
            return
        if hash == self._push:
            self.manifest = bytes(new)
        rest = b"".join(new[each.offset : each.offset + each.size] for each in ranges if each.source is None)
        ranges = with_remainder(ranges, self.put_bytes(rest) if rest else "")
        self._put_map(hash, chunks)
        self._blobs.put(layout.recipe_key(hash), io.BytesIO(encode_recipe(ranges)))
        self.places.added[hash] = ObjectLocation(RECIPE, 0, len(new))

    def _flat(self, steps: Sequence[Step]) -> Iterator[Step]:
        """Yield the steps with ranges of objects that are recipes replaced by ranges of what these are made of."""
        for step in steps:
            if step.source is None or self.places.find(step.source).pack != RECIPE:
                yield step
            else:
                yield from clipped(self.places.recipe(step.source), step.offset, step.offset + step.size)


class _Ranges(io.RawIOBase):
    """The bytes of ranges of objects, one after the other, each opened when it is reached."""

    def __init__(self, objects: Readable, ranges: Iterable[Step]) -> None:
        self._objects, self._ranges = objects, iter(ranges)
        self._stream: BinaryIO | None = None
        self._left = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        while not self._left:
            if (step := next(self._ranges, None)) is None:
                return 0
            self._close()
            self._stream = self._objects.open(str(step.source), step.offset, step.offset + step.size)
            self._left = step.size
        view = memoryview(buffer)[: self._left]  # type: ignore[arg-type]
        assert self._stream is not None
        data = self._stream.read(len(view))
        if not data:
            raise CorruptObject(f"an object that a recipe uses ends {self._left:,} bytes too early")
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def close(self) -> None:
        self._close()
        super().close()


@contextmanager
def _seekable(head: bytes, stream: BinaryIO) -> Iterator[BinaryIO]:
    """Give a stream, of which `head` was read, from its beginning, as one that can be read twice."""
    if getattr(stream, "seekable", lambda: True)():  # an mmap does not say so before Python 3.13
        stream.seek(stream.tell() - len(head))
        yield stream
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(ChainedStream(head, stream), file, READ_BYTES)
        file.seek(0)
        yield cast(BinaryIO, file)


def _runs(wanted: list[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    """Yield objects of one pack, in the order of their offsets, as runs that are worth one request."""
    run: list[tuple[int, int, str]] = []
    for each in wanted:
        if run and (each[0] - sum(run[-1][:2]) > NEAR_BYTES or each[0] + each[1] - run[0][0] > RUN_BYTES):
            yield run
            run = []
        run.append(each)
    if run:
        yield run
