"""The contract of what keeps bytes under keys: a folder, a bucket, a web site.

Bytes under a key are whole or absent, also after a crash and while others write. The one operation that decides between
writers is `create`: a key that is absent gets its bytes from exactly one of those who create it at the same time.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from datapkg.errors import InvalidName, NotFound, QuotaExceeded, ReadOnly, Refused
from datapkg.format.texts import quoted

MAX_KEY = 500
"""S3 takes 1,024 bytes; half are left to the prefix in a URL. The longest key here is that of a wheel, with 290."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")


class BlobInfo(NamedTuple):
    """An entry of a listing: a key, its size in bytes, and when it was written or renamed (UTC)."""

    key: str
    size: int
    modified_at: datetime


class Blobs(ABC):
    """Bytes under keys such as `packages/ada/iris/heads.json`.

    `url` is what messages call the place; `jobs` is how many requests at once it may be sent. What only can be read
    raises `ReadOnly` for every change; a place that does not answer raises `Unreachable`, one that refuses `Refused`.
    """

    jobs: int = 1

    @property
    @abstractmethod
    def url(self) -> str:
        """The address of the place, without credentials."""

    @property
    @abstractmethod
    def can_create(self) -> bool:
        """Whether `create` is certain to have one winner here."""

    def check_can_create(self) -> None:
        """Raise `Refused` unless `can_create`, before anything is sent."""
        if not self.can_create:
            raise Refused(
                f"{self.url} cannot tell which of two pushers was first, so nothing is pushed there",
                hint="push to another place; docs/static-registry.md lists those that can",
            )

    @abstractmethod
    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """Return a stream of the bytes from `start` up to `stop` (to the end for None); the caller closes it.

        Raise `NotFound`. Ends beyond the last byte are the last byte.
        """

    def read(self, key: str, limit: int) -> bytes:
        """Return all bytes of a key; raise `NotFound`, and `QuotaExceeded` where there are more than `limit`."""
        # One byte more than allowed shows whether a value is longer than the limit, without a second request for its
        # size.
        with self.open(key, 0, limit + 1) as stream:
            pieces: list[bytes] = []
            left = limit + 1
            while left and (piece := stream.read(left)):
                pieces.append(piece)
                left -= len(piece)
        if not left:
            raise QuotaExceeded(f"{self.url}/{key} has more than {limit:,} bytes")
        return b"".join(pieces)

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several ranges (start, stop) of a key, from few requests; raise `NotFound`."""
        with self.open(key) as stream:
            found = []
            for start, stop in ranges:
                stream.seek(start)
                found.append(stream.read(stop - start))
        return found

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return how many bytes a key has, None where it is absent."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Give an absent key its bytes, durably; return False, and change nothing, where the key is there already.

        Of several who call this at the same time one gets True. A retry after an answer that was lost may find its own
        bytes: then it returns True as well. Raise `Refused` where the place cannot promise this.
        """

    @abstractmethod
    def put(self, key: str, stream: BinaryIO) -> None:
        """Store a whole stream under a key, durably, over what was there; keep the old bytes if the stream fails."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a key; one that is absent is not an error."""

    @abstractmethod
    def copy(self, key: str, target: str) -> None:
        """Store the bytes of a key under another one too, over what was there; raise `NotFound`."""

    def rename(self, key: str, target: str) -> None:
        """Give the bytes of a key another one, over what was there; its time is new. Raise `NotFound`.

        A crash in between may leave both keys, never none.
        """
        self.copy(key, target)
        self.delete(key)

    def take(self, key: str, path: Path) -> None:
        """Store a finished file of this machine under a key and remove the file, without a copy where that can be."""
        with open(path, "rb") as file:
            self.put(key, file)
        path.unlink()

    def remove_empty(self, prefix: str) -> None:  # noqa: B027 - buckets have no folders
        """Remove folders without files from those of a prefix, where the place has folders."""

    def signed_url(self, key: str, seconds: int, method: Literal["GET", "PUT"] = "GET") -> str | None:
        """Return an address at which anybody can read (or write) a key for some time, None where the place has none."""
        return None

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the keys that begin with a prefix, which is empty or ends with a slash, in any order."""


def check_key(key: str) -> str:
    """Return the key itself; raise `InvalidName` for one that no place would take, or that leads elsewhere."""
    if len(key) > MAX_KEY or not all(map(_PART.match, key.split("/"))):
        raise InvalidName(f"{quoted(key)} is not a key: its parts are letters, digits and ._+-, and begin with no dot")
    return key


def absent(key: str, url: str) -> NotFound:
    """Return the error for a key that is not there."""
    return NotFound(f"{key} is not at {url}", key=key)


def read_only(url: str) -> ReadOnly:
    """Return the error for a change to a place that can only be read."""
    return ReadOnly(f"{url} can only be read; push to the place whose files it shows")
