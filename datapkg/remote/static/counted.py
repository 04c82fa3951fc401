"""Bytes under keys with a count of what travelled, at the rate and within the time that the settings allow."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Literal, cast

from datapkg.objects.blobs.base import BlobInfo, Blobs
from datapkg.remote.time_limits import CommandDeadline, RateLimit

READ_BYTES = 1 << 20


class CountedBlobs(Blobs):
    """The blobs of another home; `sent_bytes` and `received_bytes` count bodies."""

    def __init__(self, blobs: Blobs, rate: RateLimit, command: CommandDeadline | None, jobs: int) -> None:
        self.blobs, self._rate, self._command = blobs, rate, command
        self.jobs = min(blobs.jobs, jobs)
        self.sent_bytes = 0
        self.received_bytes = 0
        self._counting = threading.Lock()

    @property
    def url(self) -> str:
        return self.blobs.url

    @property
    def can_create(self) -> bool:
        return self.blobs.can_create

    def check_can_create(self) -> None:
        self.blobs.check_can_create()

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        raw = _CountedStream(self.blobs.open(key, start, stop), self._received)
        return cast(BinaryIO, io.BufferedReader(raw, READ_BYTES))

    def read(self, key: str, limit: int) -> bytes:
        data = self.blobs.read(key, limit)
        self._received(len(data))
        return data

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        found = self.blobs.read_ranges(key, ranges)
        self._received(sum(map(len, found)))
        return found

    def size(self, key: str) -> int | None:
        return self.blobs.size(key)

    def create(self, key: str, data: bytes) -> bool:
        self._sent(len(data))
        return self.blobs.create(key, data)

    def put(self, key: str, stream: BinaryIO) -> None:
        self.blobs.put(key, cast(BinaryIO, _CountedStream(stream, self._sent)))

    def delete(self, key: str) -> None:
        self.blobs.delete(key)

    def copy(self, key: str, target: str) -> None:
        self.blobs.copy(key, target)

    def rename(self, key: str, target: str) -> None:
        self.blobs.rename(key, target)

    def signed_url(self, key: str, seconds: int, method: Literal["GET", "PUT"] = "GET") -> str | None:
        return self.blobs.signed_url(key, seconds, method)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        return self.blobs.list(prefix)

    def _sent(self, size: int) -> None:
        with self._counting:
            self.sent_bytes += size
        self._moved(size)

    def _received(self, size: int) -> None:
        with self._counting:
            self.received_bytes += size
        self._moved(size)

    def _moved(self, size: int) -> None:
        self._rate.take(size)
        if self._command is not None:
            self._command.check(self.url)


class _CountedStream(io.RawIOBase):
    """A stream that reports what is read of it; closes it."""

    def __init__(self, stream: BinaryIO, moved: Callable[[int], None]) -> None:
        self._stream, self._moved = stream, moved

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._stream.read(len(view))
        view[: len(data)] = data
        self._moved(len(data))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
