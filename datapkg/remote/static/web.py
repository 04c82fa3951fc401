"""Bytes under keys behind any static web server: read with GET and HEAD, and with Range where it is offered."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
import warnings
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from datapkg.errors import DatapkgError, NewerFormat, NotFound, Notice, QuotaExceeded, Unreachable
from datapkg.format import static_registry as layout
from datapkg.format.hashing import hash_bytes
from datapkg.objects.blobs.base import BlobInfo, Blobs, absent, check_key, read_only
from datapkg.remote.objects import IDENTITY, ResumingBody
from datapkg.remote.session import RegistrySession
from datapkg.remote.transport import number_in

READ_BYTES = 1 << 20
# A bucket that nobody may list answers 403 for a key that it does not have.
ABSENT = (403, 404, 410)
BEYOND_THE_END = 416
PAGE, PAGE_BYTES = ".html", 64


def _is_page(head: bytes) -> bool:
    """Return whether this is how a web page begins: some servers send one, with status 200, for what they lack."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower().startswith((b"<!doctype", b"<html", b"<head"))


def is_static(session: RegistrySession) -> bool:
    """Return whether an address has the files of a registry; False where it does not answer either."""
    try:
        layout.decode(
            WebBlobs(session).read(layout.MARKER, layout.MAX_MARKER_BYTES), layout.Marker, layout.MARKER, session.url
        )
    except DatapkgError as error:
        return isinstance(error, NewerFormat)
    return True


class WebBlobs(Blobs):
    """The files below an address; `session` has the address.

    A server that answers a request for a part with the whole sends each file once: it is kept while this object
    lives, and all parts are read from there.
    """

    can_create = False

    def check_can_create(self) -> None:
        raise read_only(self.url)

    def __init__(self, session: RegistrySession) -> None:
        self._session = session
        self.jobs = session.jobs
        self._sends_parts = True
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    @property
    def url(self) -> str:
        return self._session.url

    def open(self, key: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        is_part = bool(start) or stop is not None
        if is_part and not self._sends_parts:
            return self._part_of_whole(key, start, stop)
        body = ResumingBody(self._session, f"/{check_key(key)}", start, stop, skips=not is_part)
        try:
            self._session.retried(body.connect)
        except (NotFound, Unreachable) as error:
            body.close()
            if error.detail.get("whole"):
                self._sends_parts = False
                return self._part_of_whole(key, start, stop)
            if error.detail.get("status") == BEYOND_THE_END:
                return io.BytesIO()
            raise self._translated(error, key) from None
        return io.BufferedReader(body, READ_BYTES)

    def read(self, key: str, limit: int) -> bytes:
        # JSON files change, and a cache on the way may keep an old one for a while.
        headers = {**IDENTITY, **({"Cache-Control": "no-cache"} if key.endswith(".json") else {})}

        def attempt() -> bytes:
            with self._session.request("GET", f"/{check_key(key)}", headers=headers) as response:
                return self._session.body(response, limit)

        try:
            data = self._session.retried(attempt)
        except (NotFound, Unreachable) as error:
            if error.detail.get("more"):
                raise QuotaExceeded(f"{self.url}/{key} has more than {limit:,} bytes") from None
            raise self._translated(error, key) from None
        if not key.endswith(PAGE) and _is_page(data[:PAGE_BYTES]):
            raise absent(key, self.url)
        return data

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        found = []
        for start, stop in ranges:
            with self.open(key, start, stop) as stream:
                found.append(stream.read())
        return found

    def size(self, key: str) -> int | None:
        def attempt() -> tuple[int | None, str]:
            with self._session.request("HEAD", f"/{check_key(key)}", headers=IDENTITY) as response:
                return number_in(response.headers, "Content-Length"), str(response.headers.get("Content-Type", ""))

        try:
            size, kind = self._session.retried(attempt)
        except (NotFound, Unreachable) as error:
            if isinstance(self._translated(error, key), NotFound):
                return None
            raise
        if size is None:
            raise Unreachable(f"{self.url} did not tell the size of {key}")
        if kind.startswith("text/html") and not key.endswith(PAGE):
            with self.open(key, 0, PAGE_BYTES) as stream:
                return None if _is_page(stream.read(PAGE_BYTES)) else size
        return size

    def _translated(self, error: NotFound | Unreachable, key: str) -> NotFound | Unreachable:
        is_absent = isinstance(error, NotFound) or error.detail.get("status") in ABSENT
        return absent(key, self.url) if is_absent else error

    def _part_of_whole(self, key: str, start: int, stop: int | None) -> BinaryIO:
        """Return a part of a file that is fetched whole, once."""
        path = self._folder / hash_bytes(key.encode())
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if not path.exists():
                self._fetch(key, path)
        file = path.open("rb")
        file.seek(start)
        if stop is None:
            return file
        with file:
            return io.BytesIO(file.read(max(0, stop - start)))

    def _fetch(self, key: str, path: Path) -> None:
        if not self._locks.keys() - {key}:
            warnings.warn(
                f"{self.url} sends whole files only (it has no HTTP Range), so what is read in part is fetched whole",
                Notice,
                stacklevel=2,
            )
        temp = path.with_suffix(".part")
        with self.open(key) as stream, temp.open("wb") as file:
            shutil.copyfileobj(stream, file, READ_BYTES)
        temp.rename(path)

    @cached_property
    def _folder(self) -> Path:
        folder = tempfile.mkdtemp(prefix="datapkg-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def create(self, key: str, data: bytes) -> bool:
        raise read_only(self.url)

    def put(self, key: str, stream: BinaryIO) -> None:
        raise read_only(self.url)

    def delete(self, key: str) -> None:
        raise read_only(self.url)

    def copy(self, key: str, target: str) -> None:
        raise read_only(self.url)

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        raise read_only(self.url)
