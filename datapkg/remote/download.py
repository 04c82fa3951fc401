"""Download one file from any address: without credentials, never redirected to plain http, resumed after a failure.

The bytes are kept as they are sent: no compression is asked for, and none that a server adds on its own is removed,
since a checksum is of the file as it is published. A partial file is continued only if a strong ETag or a Last-Modified
(If-Range, RFC 9110) shows that the file at the address is still the same.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from datapkg.errors import DatapkgError, Forbidden, NotFound, Unreachable
from datapkg.format.urls import check_url, is_in_bucket
from datapkg.objects.progress import Progress, silent
from datapkg.remote.download_file import Downloaded, DownloadFile
from datapkg.remote.session import RETRIED, pause_s
from datapkg.remote.time_limits import CONNECT_TIMEOUT_S
from datapkg.remote.transport import Transport, number_in, raw_pieces, reason_of, translated

TRIES = 5
MAX_REDIRECTS = 10
PIECE_BYTES = 1 << 18
# A try that brought this much resets the count of tries: on a bad line it does, a server that trickles bytes does not.
HEADWAY_BYTES = 1 << 20
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\Z")
_WHOLE = re.compile(r"bytes \*/([0-9]{1,18})\Z")


class _Source(Protocol):
    """Where a file comes from."""

    def once(self, file: DownloadFile) -> Downloaded:
        """Make one try, which continues what is here or begins anew."""

    def close(self) -> None:
        """Close the connections."""


def download(
    url: str,
    path: Path,
    *,
    limit_bytes: int,
    timeout_s: float,
    progress: Progress = silent,
    tries: int = TRIES,
    environ: Mapping[str, str] = MappingProxyType({}),
) -> Downloaded:
    """Bring what is at an address into a file; a piece of it that an earlier call left there is continued.

    After a failure the file stays as the piece that came, with a note beside it on what it is a piece of. The caller
    sees to it that nobody else writes there. Raise `Unreachable`, `NotFound`, `Forbidden`, and `BuildFailed` for more
    than `limit_bytes`. Requests to buckets are signed with the credentials of `environ`. No message has the query of
    the address in it.
    """
    file = DownloadFile(check_url(url), path, limit_bytes, progress)
    with contextlib.closing(_source(url, timeout_s, environ)) as source:
        number = 1
        while True:
            before = file.size
            try:
                return source.once(file)
            except DatapkgError as error:
                number = 1 if file.size - before >= HEADWAY_BYTES else number
                if number >= tries or not error.detail.pop("again", False):
                    raise
                time.sleep(pause_s(number, error.detail.pop("retry_after_s", None)))
                number += 1


def _source(url: str, timeout_s: float, environ: Mapping[str, str]) -> _Source:
    if is_in_bucket(url):
        from datapkg.remote.bucket_source import BucketSource

        return BucketSource(url, environ)
    return WebSource(url, timeout_s)


class _NoCredentials(AuthBase):
    """Keeps ~/.netrc and the user-info of a redirect out."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return request


class WebSource:
    """A file at an address of http or https."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout = (CONNECT_TIMEOUT_S, timeout_s)
        headers = {"Accept-Encoding": "identity"}
        self._transport = Transport(_NoCredentials(), headers=headers, max_redirects=MAX_REDIRECTS)

    def close(self) -> None:
        self._transport.close()

    def once(self, file: DownloadFile) -> Downloaded:
        validator = file.validator
        start = file.size if validator else 0
        headers = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
        with self._translated(file.shown), contextlib.closing(self._answer(headers, file.shown)) as response:
            # Every byte is here: the connection broke after the last one, before it was hashed.
            if response.status_code == 416 and start and _whole(response) == start:
                return file.complete()
            if response.status_code == 416:
                file.forget()
                raise Unreachable(f"{file.shown} has other bytes than before", again=True)
            if response.status_code == 206 and not _continues(response, start, validator):
                file.forget()
                raise Unreachable(f"{file.shown} answered with other bytes than were asked for", again=True)
            start = start if response.status_code == 206 else 0
            length = number_in(response.headers, "Content-Length")
            total = 0 if length is None else start + length
            return file.receive(raw_pieces(response, PIECE_BYTES), start, total, _validator(response))

    @contextlib.contextmanager
    def contents(self, shown: str, validator: str) -> Iterator[tuple[Iterator[bytes] | None, str]]:
        """Yield the pieces of the whole file and its validator; None for the pieces if it has the given one still."""
        name = "If-None-Match" if validator.startswith('"') else "If-Modified-Since"
        headers = {name: validator} if validator else {}
        with self._translated(shown), contextlib.closing(self._answer(headers, shown)) as response:
            now = _validator(response) or (validator if response.status_code == 304 else "")
            is_same = bool(validator) and (response.status_code == 304 or now == validator)
            yield None if is_same else raw_pieces(response, PIECE_BYTES), now

    def _answer(self, headers: dict[str, str], shown: str) -> requests.Response:
        """Return the answer behind all redirects, its body still to be read; raise for one that is not a file."""
        response = self._transport.answer("GET", self._url, follow=True, headers=headers, timeout=self._timeout)
        is_asked = "If-None-Match" in headers or "If-Modified-Since" in headers
        if response.status_code not in (200, 206, 416) and not (is_asked and response.status_code == 304):
            with response:
                raise _refusal(shown, response)
        return response

    @contextlib.contextmanager
    def _translated(self, shown: str) -> Iterator[None]:
        """Inside, errors of the HTTP libraries become ours."""
        with translated(shown, hint="", again_hint=_AGAIN, reason=self._without_secrets):
            yield

    def _without_secrets(self, error: BaseException) -> str:
        # The query of a signed address is a secret, and the libraries quote the address.
        reason, query = reason_of(error), urlsplit(self._url).query
        return "the address is refused" if "?" in reason or (query and query in reason) else reason


_AGAIN = "try again: what came is kept, and taken up where it broke off"


def _continues(response: requests.Response, start: int, validator: str) -> bool:
    """Return whether an answer is the rest of the file from `start` on."""
    found = _RANGE.match(response.headers.get("Content-Range", ""))
    says = {response.headers.get("ETag"), response.headers.get("Last-Modified")} - {None}
    return start > 0 and found is not None and int(found[1]) == start and (not says or validator in says)


def _validator(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


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
