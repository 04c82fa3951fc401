"""HTTP with untrusted servers: the one place where what they send becomes values or our errors.

requests follows redirects by itself, reads their bodies whole and unpacks any number of compressions; none of that is
used here. A redirect is followed without reading its body, and never from https to http, which others may change. A
compressed body is unpacked a piece at a time, so that a small one cannot become a big one.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from datapkg import __version__
from datapkg.errors import DatapkgError, InvalidInput, Unreachable, exhausted
from datapkg.format.texts import quoted, visible
from datapkg.format.urls import check_url, without_credentials
from datapkg.objects.threads import start
from datapkg.remote.credentials import is_loopback

READ_TIMEOUT_S = 60
HEAD_FACTOR = 1.1
"""The timeout of the socket ends first where nothing comes at all, and its error is the better one."""
PIECE_BYTES = 1 << 16
MAX_PIECE_BYTES = 1 << 20
# What fits into 63 bits; longer ones are not sizes, and `int` takes quadratic time for them.
MAX_NUMBER_DIGITS = 18
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTED = "redirected to "
# What the parsers of requests, urllib3 and the standard library raise for a hostile answer, besides their own errors.
_NO_HTTP = (ValueError, LookupError, AttributeError, RecursionError, http.client.HTTPException)


class _TimedHead:
    """A connection that gives up a server whose answer's head does not end, however steadily it drips."""

    timeout: Any
    sock: Any

    def getresponse(self) -> Any:
        seconds = self.timeout if isinstance(self.timeout, (int, float)) else READ_TIMEOUT_S
        waiting = threading.Lock()
        waiting.acquire()
        # Not a `threading.Timer`: its start waits for its thread, which may end for want of memory before it begins.
        start(self._shut_after, HEAD_FACTOR * seconds, waiting, self.sock)
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            waiting.release()

    @staticmethod
    def _shut_after(seconds: float, waiting: threading.Lock, sock: socket.socket | None) -> None:
        if waiting.acquire(timeout=seconds):
            return
        with contextlib.suppress(OSError, AttributeError):
            # Closing the socket would not wake the thread that reads from it.
            sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]


class _Connection(_TimedHead, HTTPConnection):
    pass


class _SecureConnection(_TimedHead, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


# A machine that vanishes is noticed within half a minute, however long its answer may take.
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}.items()
        if hasattr(socket, name)
    ),
]


class _TimedAdapter(HTTPAdapter):
    """Connections that give up an answer whose head never ends."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, socket_options=[*HTTPConnection.default_socket_options, *_KEEPALIVE], **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class _Requests(requests.Session):
    """A session that leaves redirects to us, and sends nothing for this machine to a proxy."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        # Not by `trust_env`, which is one for all threads: a request of another one may go elsewhere at this moment.
        if not is_loopback(url):
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        return {"proxies": {}, "stream": stream, "verify": self.verify if verify is None else verify, "cert": cert}


class Transport:
    """Requests to any server; `auth` decides at every address which credentials go along, and no cookies are kept."""

    def __init__(self, auth: AuthBase, *, headers: Mapping[str, str], max_redirects: int, pool_size: int = 1) -> None:
        self._max_redirects = max_redirects
        self._session = _Requests()
        self._session.auth = auth  # also keeps ~/.netrc out
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update({"User-Agent": f"datapkg/{__version__}", **headers})
        for prefix in ("http://", "https://"):
            # No retries of urllib3's: `RegistrySession.retried` has one time limit for all tries.
            self._session.mount(prefix, _TimedAdapter(max_retries=0, pool_maxsize=pool_size))

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def answer(self, method: str, url: str, *, follow: bool, **options: Any) -> requests.Response:
        """Return the answer behind all redirects, its body still to be read.

        Raise `Unreachable` for a redirect that leads nowhere or in a circle, and what requests raises.
        """
        at = url
        for _ in range(self._max_redirects + 1):
            with _named_redirect(url, at):
                response = self._session.request(method, at, stream=True, allow_redirects=False, **options)
            location = response.headers.get("Location")
            if not follow or response.status_code not in REDIRECTS or location is None:
                return response
            response.close()
            at = redirect_target(at, location)
            options.pop("params", None)  # the new address has its whole query, which may be signed
        raise Unreachable(f"{without_credentials(url)} redirects more than {self._max_redirects} times")


@contextlib.contextmanager
def _named_redirect(url: str, at: str) -> Iterator[None]:
    """Inside, an error of the HTTP libraries gets a note of the address that a redirect led to."""
    try:
        yield
    except Exception as error:
        if at != url:
            error.add_note(f"{_REDIRECTED}{without_credentials(at)}")
        raise


def _redirected(error: BaseException) -> str:
    """Return the clause that names the redirect before an error, or nothing."""
    notes = getattr(error, "__notes__", [])
    return next((f" ({each})" for each in notes if each.startswith(_REDIRECTED)), "")


def redirect_target(url: str, location: str) -> str:
    """Return where a redirect leads: anywhere by http(s), but never from https to http, which others may change."""
    # http.client decodes headers as Latin-1, while most servers send UTF-8.
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = check_url(urljoin(url, location.replace(" ", "%20")))
    except (InvalidInput, ValueError) as error:
        raise Unreachable(f"{without_credentials(url)} redirects to where nothing is asked: {error}") from None
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise Unreachable(
            f"{without_credentials(url)} redirects from https to plain http ({without_credentials(target)}), "
            "which is not followed"
        )
    return target


@contextlib.contextmanager
def translated(
    what: str,
    asked: str = "",
    *,
    hint: str,
    again_hint: str,
    reason: Callable[[BaseException], str] | None = None,
    limit: str = "in time",
    http_hint: str = "",
) -> Iterator[None]:
    """Translate exceptions of the HTTP libraries inside of the block to `Unreachable` about the server `what`.

    `asked` describes the request, `reason` returns the text of an error (by default `reason_of`), `limit` names the
    time limit, `http_hint` helps if the server has no TLS. Causes are left out, since they contain whole URLs. Errors
    of files on this machine are raised unchanged, and so are ours.
    """
    said, asked = reason or reason_of, f" {asked}" if asked else ""
    try:
        yield
    except DatapkgError:
        raise
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        what += _redirected(error)
        raise Unreachable(f"{what} did not answer{asked} {limit}", hint=again_hint, again=True) from None
    except requests.exceptions.SSLError as error:
        what += _redirected(error)
        if "WRONG_VERSION_NUMBER" in str(error):  # what came was not TLS
            raise Unreachable(
                f"{what} does not answer in https; it may be plain http", hint=http_hint or hint
            ) from None
        raise Unreachable(f"{what} has no certificate that is trusted: {said(error)}", hint=hint) from None
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError) as error:
        what += _redirected(error)
        unreachable = Unreachable(f"{what} cannot be reached: {said(error)}", hint=again_hint, again=True)
        raise exhausted(error, f"connecting to {what}") or unreachable from None
    except requests.RequestException as error:
        what += _redirected(error)
        raise Unreachable(f"{what} cannot be asked: {said(error)}", hint=hint) from None
    except _NO_HTTP as error:
        what += _redirected(error)
        raise Unreachable(f"{what} answered{asked} with something that is not HTTP: {said(error)}", hint=hint) from None


def number_in(headers: Any, name: str) -> int | None:
    """Return the whole number that a header holds; None where it is absent or anything else (digits are 0 to 9)."""
    text = str(headers.get(name, "")).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_NUMBER_DIGITS else None


def raw_pieces(response: requests.Response, size: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield the body as it travels, in pieces of at most `size` bytes."""
    while piece := response.raw.read1(size, decode_content=False):
        yield piece


def unpacked_pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body without its compression, in pieces of at most `MAX_PIECE_BYTES`, whatever it unfolds to.

    Raise `Unreachable` for a compression that was not asked for, and for a body that breaks off or has more behind it.
    """
    coding = str(response.headers.get("Content-Encoding", "")).strip().lower()
    if coding in ("", "identity"):
        yield from raw_pieces(response)
        return
    if coding not in ("gzip", "x-gzip"):
        raise Unreachable(f"an answer came in the compression {quoted(coding, 40)}, which was not asked for")
    unpacking, is_empty = zlib.decompressobj(wbits=31), True
    try:
        for piece in raw_pieces(response):
            is_empty = False
            while piece and not unpacking.eof:
                yield unpacking.decompress(piece, MAX_PIECE_BYTES)
                piece = unpacking.unconsumed_tail
            if unpacking.unused_data or piece:
                raise Unreachable("an answer has more bytes than its compression says")
    except zlib.error as error:
        raise Unreachable(f"an answer cannot be decompressed: {error}") from None
    # The answer to a HEAD has the header of a compression, and no body.
    if not unpacking.eof and not is_empty:
        raise Unreachable("an answer broke off in its compression", again=True)


def reason_of(error: BaseException) -> str:
    """Return the innermost cause, in a few words that are safe to show."""
    while True:
        causes = (getattr(error, "reason", None), *error.args)  # `ProtocolError` has a text before its cause
        inner = next((each for each in causes if isinstance(each, BaseException)), None)
        if inner is None:
            break
        error = inner
    text = re.sub(r"^\w+\(host=.*?\): ", "", str(error).rpartition(">: ")[2]) or type(error).__name__
    text = re.sub(
        r"^Failed to establish a new connection: \[Errno -?\d+\] ", "", text
    )  # the system's own text is enough
    return visible(" ".join(text.split())[:200])
