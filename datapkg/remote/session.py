"""One HTTP session with one registry: its token, retries, time limits and errors, in one place."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
from requests.auth import AuthBase

from datapkg.errors import DatapkgError, InvalidInput, Unreachable, from_wire
from datapkg.format.visible import visible
from datapkg.remote.credentials import may_carry_token
from datapkg.remote.transport import READ_TIMEOUT_S, Transport, number_in, translated, unpacked_pieces

CONNECT_TIMEOUT_S = 10
TRIES = 4
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
MAX_REDIRECTS = 5
MAX_JSON_BYTES = 64 << 20
MAX_ERROR_BYTES = 1 << 20
PATIENCE_S = 60
MIN_BYTES_PER_S = 1024

T = TypeVar("T")
M = TypeVar("M", bound=msgspec.Struct)


class _Token(AuthBase):
    """Sends the token to the registry's own origin, and keeps ~/.netrc out."""

    def __init__(self, token: str | None, origin: str) -> None:
        self._token = token
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        if self._token and origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme)}"


class Session:
    """Requests to one registry at `url`; raises our errors only.

    `sent_bytes` and `received_bytes` count bodies.
    """

    def __init__(
        self, url: str, token: str | None = None, *, tries: int = TRIES, read_timeout_s: float = READ_TIMEOUT_S
    ):
        if token and not may_carry_token(url):
            raise InvalidInput(
                f"a token is not sent over plain http to {url}: anybody on the way could read it",
                hint="use an https:// address",
            )
        self.url = url
        self.sent_bytes = 0
        self.received_bytes = 0
        self._tries = tries
        self._timeout = (CONNECT_TIMEOUT_S, read_timeout_s)
        headers = {"Accept-Encoding": "gzip"}
        auth = _Token(token, origin_of(url))
        self._transport = Transport(auth, headers=headers, max_redirects=MAX_REDIRECTS, pool_size=8)

    def reply(
        self, model: type[M], method: str, path: str, body: Any = None, params: dict[str, Any] | None = None
    ) -> M:
        """Send a small request; return the answer as what it should be, else raise `Unreachable`.

        What the model does not name is passed over, and becomes no value in memory.
        """
        text = self._text(method, path, body, params)
        try:
            return msgspec.json.decode(text, type=model)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at ")
            where = where.strip("`").removeprefix("$.") or "the answer"
            message = f"{self.url} answered {method} {path} in words that are not ours: {where}: {what}"
            raise self._unreachable(visible(message)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreachable(f"{self.url} answered {method} {path} with something that is not JSON") from error

    def _text(self, method: str, path: str, body: Any, params: dict[str, Any] | None) -> bytes:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}

        def attempt() -> bytes:
            with self.request(method, path, data=data, headers=headers, params=params) as response:
                text = self.body(response, MAX_JSON_BYTES)
            self.sent_bytes += len(data or b"")
            return text

        return self.retried(attempt)

    def retried(self, attempt: Callable[[], T]) -> T:
        """Tries again what failed on the way or at the server, after a pause that grows; `attempt` may run often."""
        for number in range(1, self._tries + 1):
            try:
                return attempt()
            except DatapkgError as error:
                if number == self._tries or not error.detail.get("again"):
                    raise
                time.sleep(pause_s(number, error.detail.get("retry_after_s")))
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def request(self, method: str, path: str, **options: Any) -> Iterator[requests.Response]:
        """One try; inside, the body is still to be read. A refusal raises the error that the registry told."""
        with self._translated(f"{method} {path}"):
            response = self._transport.answer(
                method,
                self.url + path,
                follow=method in ("GET", "HEAD"),
                timeout=self._timeout,
                **options,
            )
        try:
            if response.status_code >= 300 and response.status_code != 304:
                raise self._refusal(response)
            yield response
        finally:
            response.close()

    def _refusal(self, response: requests.Response) -> DatapkgError:
        status = response.status_code
        try:
            value = _visible(json.loads(self.body(response, MAX_ERROR_BYTES)))
        except (ValueError, RecursionError, DatapkgError):
            value = None
        error = from_wire(value.get("error") if isinstance(value, dict) else None, status)
        for ours in ("registry", "again", "retry_after_s"):  # only this machine says what it did not ask, or asks again
            error.detail.pop(ours, None)
        if isinstance(error, Unreachable) and "status" in error.detail:
            error.message = f"{self.url} answered with HTTP status {status} and no explanation of ours"
            error.hint = "is this the address of a datapkg registry?"
        if status in RETRIED:
            error.detail["again"] = True
            error.detail["retry_after_s"] = number_in(response.headers, "Retry-After")
        return error

    def body(self, response: requests.Response, limit: int) -> bytes:
        """Return the whole body of an answer; raises `Unreachable` if that is more than `limit` bytes, unpacked too."""
        pieces, size, pace = [], 0, Pace(self.url)
        said = number_in(response.headers, "Content-Length") or 0
        with self.reading():
            for piece in unpacked_pieces(response) if said <= limit else ():
                pieces.append(piece)
                pace.add(len(piece))
                size += len(piece)
                if size > limit:
                    break
        self.received_bytes += size
        if max(size, said) > limit:
            raise Unreachable(f"{self.url} answered with more than {limit:,} bytes where few were expected")
        return b"".join(pieces)

    @contextlib.contextmanager
    def _translated(self, asked: str) -> Iterator[None]:
        hint = "check the address (datapkg config) and the network"
        with translated(self.url, asked, hint=hint, again_hint=hint):
            yield

    def _unreachable(self, message: str, **detail: Any) -> Unreachable:
        return Unreachable(message, hint="check the address (datapkg config) and the network", **detail)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, failures to read a body are our errors."""
        with self._translated("with a body"):
            yield


def _visible(value: Any) -> Any:
    """A value of JSON without hidden or control characters in any text: tracebacks show what a registry says."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [_visible(each) for each in value]
    if isinstance(value, dict):
        return {visible(key): _visible(each) for key, each in value.items()}
    return value


class Pace:
    """Notices a server that sends so slowly that it would never end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._start = time.monotonic()
        self._size = 0

    def add(self, size: int) -> None:
        """Counts bytes that came; raises `Unreachable` when they are too few for the time."""
        self._size += size
        waited = time.monotonic() - self._start
        if waited > PATIENCE_S and self._size < waited * MIN_BYTES_PER_S:
            raise Unreachable(f"{self._url} sends too slowly: {self._size:,} bytes in {waited:.0f} s", again=True)


def pause_s(number: int, retry_after: object) -> float:
    """How long to wait before try `number` + 1; a server's Retry-After (in seconds) is believed up to a minute."""
    pause = 0.2 * 2 ** (number - 1) * (1 + random.random() / 2)
    return max(pause, min(retry_after, 60)) if isinstance(retry_after, int) else pause
