"""One HTTP session with one registry: its token, retries, time limits and errors, in one place."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from datapkg import __version__
from datapkg.errors import DatapkgError, InvalidInput, Unreachable, from_wire
from datapkg.remote.credentials import is_loopback, may_carry_token

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
TRIES = 4
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
MAX_REDIRECTS = 5
MAX_JSON_BYTES = 64 << 20
MAX_ERROR_BYTES = 1 << 20
PATIENCE_S = 60
MIN_BYTES_PER_S = 1024

HEAD_FACTOR = 2

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


class _Requests(requests.Session):
    """A session that decides anew at each redirect whether the token may go along; ~/.netrc has no say."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        assert isinstance(self.auth, _Token)
        self.auth(prepared_request)


class _TimedHead:
    """A connection that gives up a server whose answer's head does not end, however steadily it drips."""

    timeout: Any
    sock: Any

    def getresponse(self) -> Any:
        seconds = self.timeout if isinstance(self.timeout, (int, float)) else READ_TIMEOUT_S
        watch = threading.Timer(HEAD_FACTOR * seconds, self._shut, [self.sock])
        watch.daemon = True
        watch.start()
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            watch.cancel()

    @staticmethod
    def _shut(sock: socket.socket | None) -> None:
        with contextlib.suppress(OSError, AttributeError):
            sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


class _Connection(_TimedHead, HTTPConnection):
    pass


class _SecureConnection(_TimedHead, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class TimedAdapter(HTTPAdapter):
    """Connections that give up an answer whose head never ends."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


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
        self._session = _Requests()
        self._session.trust_env = not is_loopback(url)  # no proxy between this machine and itself
        self._session.auth = _Token(token, origin_of(url))
        self._session.headers["User-Agent"] = f"datapkg/{__version__}"
        self._session.max_redirects = MAX_REDIRECTS
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, TimedAdapter(max_retries=0, pool_maxsize=8))

    def reply(
        self, model: type[M], method: str, path: str, body: Any = None, params: dict[str, Any] | None = None
    ) -> M:
        """Sends a small request; gives the answer as what it should be, else raises `Unreachable`."""
        value = self.json(method, path, body, params)
        try:
            return msgspec.convert(value, model)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at ")
            where = where.strip("`").removeprefix("$.") or "the answer"
            message = f"{self.url} answered {method} {path} in words that are not ours: {where}: {what}"
            raise self._unreachable(message) from error

    def json(self, method: str, path: str, body: Any = None, params: dict[str, Any] | None = None) -> Any:
        """Sends a small request, again where that may help; gives the JSON of the answer."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data is not None else {}
        return self.retried(lambda: self._json_once(method, path, data, headers, params))

    def _json_once(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], params: dict[str, Any] | None
    ) -> Any:
        with self.request(method, path, data=data, headers=headers, params=params) as response:
            text = self.body(response, MAX_JSON_BYTES)
        self.sent_bytes += len(data or b"")
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreachable(f"{self.url} answered {method} {path} with something that is not JSON") from error

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
        with self._translated(method, path):
            response = self._session.request(
                method,
                self.url + path,
                stream=True,
                timeout=self._timeout,
                **{"allow_redirects": method in ("GET", "HEAD"), **options},
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
            value = json.loads(self.body(response, MAX_ERROR_BYTES))
        except (ValueError, RecursionError, DatapkgError):
            value = None
        error = from_wire(value.get("error") if isinstance(value, dict) else None, status)
        error.detail.pop("registry", None)  # only this machine says which registry it did not ask
        if isinstance(error, Unreachable) and "status" in error.detail:
            error.message = f"{self.url} answered with HTTP status {status} and no explanation of ours"
            error.hint = "is this the address of a datapkg registry?"
        if status in RETRIED:
            error.detail["again"] = True
            error.detail["retry_after_s"] = response.headers.get("Retry-After")
        return error

    def body(self, response: requests.Response, limit: int) -> bytes:
        """The whole body of an answer; an `Unreachable` if it is longer than `limit` bytes."""
        pieces, size, pace = [], 0, Pace(self.url)
        while piece := self._piece(response):
            pieces.append(piece)
            pace.add(len(piece))
            size += len(piece)
            if size > limit:
                raise Unreachable(f"{self.url} answered with more than {limit:,} bytes where few were expected")
        self.received_bytes += size
        return b"".join(pieces)

    @contextlib.contextmanager
    def _translated(self, method: str, path: str) -> Iterator[None]:
        try:
            yield
        except DatapkgError:
            raise
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise self._unreachable(f"{self.url} did not answer {method} {path} in time", again=True) from error
        except requests.TooManyRedirects as error:
            raise self._unreachable(f"{self.url} redirects in a circle") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise self._unreachable(f"{self.url} is no address that can be asked: {error}") from error
        except requests.exceptions.SSLError as error:
            raise self._unreachable(f"{self.url} has no certificate that is trusted: {reason_of(error)}") from error
        except (
            requests.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
            urllib3.exceptions.HTTPError,
        ) as error:
            raise self._unreachable(f"{self.url} cannot be reached: {reason_of(error)}", again=True) from error
        except requests.RequestException as error:
            raise self._unreachable(f"{self.url} cannot be asked: {reason_of(error)}") from error

    def _unreachable(self, message: str, **detail: Any) -> Unreachable:
        return Unreachable(message, hint="check the address (datapkg config) and the network", **detail)

    def _piece(self, response: requests.Response) -> bytes:
        with self.reading():
            piece: bytes = response.raw.read1(1 << 16, decode_content=True)
            return piece

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, failures to read a body are our errors."""
        with self._translated("GET", "a body"):
            yield


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
    if isinstance(retry_after, str) and retry_after.isdigit():
        return max(pause, min(float(retry_after), 60))
    return pause


def reason_of(error: BaseException) -> str:
    """The innermost cause, in a few words."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = re.sub(r"^\w+\(host=.*?\): ", "", str(error).rpartition(">: ")[2]) or type(error).__name__
    return " ".join(text.split())[:200]
