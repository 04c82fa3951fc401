"""One file from any address: no credentials go along, never on to plain http, and taken up again where it broke off.

The bytes are those that travel: no compression is asked for, and none that a server adds on its own is taken off, since
a sum is of a file and not of what became of it. What is here already is continued only where the server says by a
strong ETag or a Last-Modified (If-Range, RFC 9110) that the file is still the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from datapkg.errors import BuildFailed, DatapkgError, Forbidden, NotFound, Unreachable
from datapkg.format.texts import quoted
from datapkg.format.urls import check_url, without_credentials
from datapkg.objects.files import naming, sync_file, write_all
from datapkg.objects.free_space import check_space
from datapkg.objects.progress import DOWNLOADING, Progress, silent
from datapkg.remote.session import RETRIED, pause_s
from datapkg.remote.time_limits import CONNECT_TIMEOUT_S, SlowTransferGuard
from datapkg.remote.transport import Transport, number_in, raw_pieces, reason_of, translated

TRIES = 5
MAX_REDIRECTS = 10
PIECE_BYTES = 1 << 18
# What a try must have brought for the tries to be counted anew: a bad line gets there, a server that teases does not.
HEADWAY_BYTES = 1 << 20
SPARE_BYTES = 64 << 20
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z")
_WHOLE = re.compile(r"bytes \*/([0-9]{1,18})\Z")


@dataclass(frozen=True)
class Downloaded:
    """The sum and size of a file that came, and how many of its bytes were here from a try before."""

    hash: str
    size_bytes: int
    resumed_bytes: int = 0


def download(
    url: str, path: Path, *, limit_bytes: int, timeout_s: float, progress: Progress = silent, tries: int = TRIES
) -> Downloaded:
    """Bring what is at an address into a file; a piece of it that an earlier call left there is continued.

    After a failure the file stays as the piece that came, with a note beside it on what it is a piece of. The caller
    sees to it that nobody else writes there. Raise `Unreachable`, `NotFound`, `Forbidden`, and `BuildFailed` for more
    than `limit_bytes`; no message has the query of the address in it.
    """
    work = _Download(check_url(url), path, limit_bytes, timeout_s, progress)
    with contextlib.closing(work.transport):
        number = 1
        while True:
            before = _size(path)
            try:
                return work.once()
            except DatapkgError as error:
                number = 1 if _size(path) - before >= HEADWAY_BYTES else number
                if number >= tries or not error.detail.pop("again", False):
                    raise
                time.sleep(pause_s(number, error.detail.pop("retry_after_s", None)))
                number += 1


class _NoCredentials(AuthBase):
    """Keeps ~/.netrc and the user-info of a redirect out."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return request


class _Download:
    def __init__(self, url: str, path: Path, limit_bytes: int, timeout_s: float, progress: Progress) -> None:
        self.url, self.path, self.limit_bytes, self.progress = url, path, limit_bytes, progress
        self.notes = path.with_name(f"{path.name}.json")
        self.timeout = (CONNECT_TIMEOUT_S, timeout_s)
        headers = {"Accept-Encoding": "identity"}
        self.transport = Transport(_NoCredentials(), headers=headers, max_redirects=MAX_REDIRECTS)

    def once(self) -> Downloaded:
        """One try: continues what is here, or begins anew."""
        validator = self._validator()
        start = _size(self.path) if validator else 0
        headers = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
        with self._translated(), contextlib.closing(self._answer(headers)) as response:
            if response.status_code == 416 and start and _whole(response) == start:
                return Downloaded(_hash_of(self.path).hexdigest(), start, start)
            if response.status_code == 416:
                self._forget()
                raise Unreachable(f"{without_credentials(self.url)} has other bytes than before", again=True)
            if response.status_code == 206 and not self._continues(response, start, validator):
                self._forget()
                raise Unreachable(
                    f"{without_credentials(self.url)} answered with other bytes than were asked for", again=True
                )
            return self._receive(response, start if response.status_code == 206 else 0)

    def _receive(self, response: requests.Response, start: int) -> Downloaded:
        length = number_in(response.headers, "Content-Length")
        total = 0 if length is None else start + length
        self._check_size(total)
        _check_space(self.path.parent, total - start)
        # The validator of the old piece would vouch for the bytes of the new one.
        if not start:
            self._forget()
            self._note(response)
        with naming(self.path), open(self.path, "ab", buffering=0) as file:
            sha256 = _hash_of(self.path, start) if start else hashlib.sha256()
            size = checked = start
            pace = SlowTransferGuard(without_credentials(self.url))
            for piece in raw_pieces(response, PIECE_BYTES):
                # Hashed on the way, since a second read of a large file takes as long as the download
                # from a near server.
                sha256.update(piece)
                write_all(file, piece)
                size += len(piece)
                pace.add(len(piece))
                self._check_size(size)
                if size >= checked + SPARE_BYTES:  # a server need not say how long a file is
                    _check_space(self.path.parent, 0)
                    checked = size
                self.progress(DOWNLOADING, size, total)
            sync_file(file)
        return Downloaded(sha256.hexdigest(), size, start)

    def _answer(self, headers: dict[str, str]) -> requests.Response:
        """Return the answer behind all redirects, its body still to be read; raise for one that is not a file."""
        response = self.transport.answer("GET", self.url, follow=True, headers=headers, timeout=self.timeout)
        if response.status_code not in (200, 206, 416):
            with response:
                raise _refusal(without_credentials(self.url), response)
        return response

    def _continues(self, response: requests.Response, start: int, validator: str) -> bool:
        """Return whether an answer is the rest of the file from `start` on."""
        found = _RANGE.match(response.headers.get("Content-Range", ""))
        says = {response.headers.get("ETag"), response.headers.get("Last-Modified")} - {None}
        return start > 0 and found is not None and int(found[1]) == start and (not says or validator in says)

    def _validator(self) -> str:
        """What says that the file at the address is still the one of which a piece is here; "" if nothing does."""
        try:
            value = json.loads(self.notes.read_bytes())["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return value if isinstance(value, str) and value.isprintable() else ""

    def _note(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
        if validator and len(validator) <= 1_000:
            self.notes.write_text(json.dumps({"validator": validator}), encoding="utf-8")

    def _forget(self) -> None:
        self.notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _check_size(self, size: int) -> None:
        if size > self.limit_bytes:
            self._forget()
            raise BuildFailed(
                f"{without_credentials(self.url)} has more than {self.limit_bytes:,} bytes, the limit set by "
                "max_source_bytes",
                hint=f"datapkg config max_source_bytes {max(size, 2 * self.limit_bytes)}",
            )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Inside, what a server makes of the libraries are our errors."""
        with translated(without_credentials(self.url), hint="", again_hint=_AGAIN, reason=self._without_secrets):
            yield

    def _without_secrets(self, error: BaseException) -> str:
        reason, query = reason_of(error), urlsplit(self.url).query
        return "the address is refused" if "?" in reason or (query and query in reason) else reason


_AGAIN = "try again: what came is kept, and taken up where it broke off"


def _refusal(where: str, response: requests.Response) -> DatapkgError:
    status = response.status_code
    if status in (404, 410):
        return NotFound(f"{where} is not there: HTTP status {status}", hint="look whether the address is right")
    if status in (401, 403, 407):
        hint = "credentials are not sent: download it by hand, and name it by `file:`"
        return Forbidden(f"{where} may not be read by everybody: HTTP status {status}", hint=hint)
    error = Unreachable(f"{where} answered with HTTP status {status}")
    if status in RETRIED:
        error.detail.update(again=True, retry_after_s=number_in(response.headers, "Retry-After"))
    return error


def _whole(response: requests.Response) -> int | None:
    found = _WHOLE.match(response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _hash_of(path: Path, size: int | None = None) -> Any:
    """Return the running sha256 of a file, which must be `size` bytes long."""
    with path.open("rb", buffering=0) as file:
        sha256 = hashlib.sha256()
        count = _update(sha256, file)
    if size is not None and count != size:
        raise Unreachable(f"{quoted(path.name)} changed while it was downloaded; somebody else writes to it")
    return sha256


def _update(sha256: Any, file: BinaryIO) -> int:
    count = 0
    while piece := file.read(1 << 20):
        sha256.update(piece)
        count += len(piece)
    return count


def _check_space(folder: Path, needed: int) -> None:
    """Raise `DiskFull` where a file of this size would fill the disk."""
    check_space(folder, needed + SPARE_BYTES, "a download")
