"""Middleware for all requests and responses: limits, headers, compression, and a body for every failure."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datapkg.errors import InvalidInput, QuotaExceeded, Unreachable
from registry_server.settings import Settings, setting_name
from registry_server.web.errors import error_response, may_be_sent, unexpected_response

logger = logging.getLogger(__name__)

# At least this much of a body has to arrive in each `body_timeout_s` of waiting: 17 kB/s by default.
PROGRESS_BYTES = 1 << 20
# How much of a refused body is still read: many clients read no response before they have sent all.
DRAIN_BYTES, DRAIN_S = 4 << 20, 2.0

COMMON = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
# Objects may come from anybody: opened in a browser, none may run or load anything.
API_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
COMPRESSIBLE = ("application/json", "text/html")
COMPRESS_FROM_BYTES = 4 << 10
EXPOSED = "ETag, Content-Range, Accept-Ranges"

_BOUNDS: list[tuple[re.Pattern[str], str, Callable[[Settings], int]]] = [
    (re.compile(r".*/pushes/[^/]+/objects/[^/]+\Z"), "max_object_bytes", lambda s: s.max_object_bytes),
    (re.compile(r".*/pushes/[^/]+/objects/[^/]+/delta\Z"), "max_object_bytes", lambda s: s.max_object_bytes),
    (re.compile(r".*/pushes/[^/]+/objects\Z"), "max_batch_bytes", lambda s: s.max_batch_bytes),
    (re.compile(r".*/pushes/[^/]+/publish(/check)?\Z"), "max_record_bytes", lambda s: s.max_publish_bytes),
    (re.compile(r""), "max_json_bytes", lambda s: s.max_json_bytes),
]


class RegistryMiddleware:
    """The ASGI middleware between the server and the app."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _BoundedBody(scope, receive, self._settings)
        reply = _OutgoingReply(scope, send, body, is_public=bool(self._settings.public_url))
        if scope["method"] == "HEAD":  # which FastAPI does not answer by the routes of GET
            scope = {**scope, "method": "GET", "asked_by_head": True}
        try:
            body.check_head()
            await self._app(scope, body.receive, reply.send)
        except ClientDisconnect:
            logger.debug("the client left: %s", scope["path"])
        except asyncio.CancelledError:
            # The server is stopping, and this request was not done in the time allowed for that.
            body.patient = False
            if not reply.started:
                await self._fail(scope, reply, Unreachable("the registry is stopping", hint="try again soon"))
        except Exception as error:
            if reply.started:
                # The response is cut short, which its reader notices: it is shorter than its length, or has no end.
                logger.error("a response broke off: %s", scope["path"], exc_info=error)
                return
            await self._fail(scope, reply, error)

    async def _fail(self, scope: Scope, reply: _OutgoingReply, error: Exception) -> None:
        request = Request(scope)
        response = error_response(request, error) if may_be_sent(error) else unexpected_response(request, error)
        await response(scope, _nothing, reply.send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


class _BoundedBody:
    """A request's body, limited in size and required to make progress."""

    def __init__(self, scope: Scope, receive: Receive, settings: Settings) -> None:
        self._headers = Headers(scope=scope)
        self._address = (("path", scope["raw_path"]), ("query", scope["query_string"]))
        self._receive = receive
        self._timeout_s = settings.body_timeout_s
        _, self._setting, limit = next(each for each in _BOUNDS if each[0].match(scope["path"]))
        self._limit = limit(settings)
        self._size = 0
        self._mark = 0
        self._waited_s = 0.0
        self.patient = True
        empty = self._headers.get("content-length", "0") == "0"
        self.ended = empty and "transfer-encoding" not in self._headers

    def check_head(self) -> None:
        """Raise if the URL and the headers alone are reason to refuse the request."""
        for what, raw in self._address:
            try:
                unquote_to_bytes(raw).decode()
            except UnicodeDecodeError:
                raise InvalidInput(f"the {what} of the URL is not UTF-8 after decoding its %XX") from None
        encoding = self._headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise InvalidInput("compressed requests are not supported; send the body without Content-Encoding")
        length = self._headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        if self.ended:
            return await self._receive()
        if self._size - self._mark >= PROGRESS_BYTES:
            self._waited_s, self._mark = 0.0, self._size
        # Only the client's time counts, not the time in which the registry works on what arrived.
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout_s - self._waited_s):
                message = await self._receive()
        except TimeoutError:
            raise QuotaExceeded(
                f"the body arrived too slowly: less than {PROGRESS_BYTES:,} bytes in {self._timeout_s} s "
                f"({setting_name('body_timeout_s')})"
            ) from None
        self._waited_s += asyncio.get_running_loop().time() - started
        self._note(message)
        if self._size > self._limit:
            raise self._too_large()
        return message

    def _note(self, message: Message) -> None:
        if message["type"] != "http.request":
            self.ended = True
            return
        self._size += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)

    def _too_large(self) -> QuotaExceeded:
        return QuotaExceeded(
            f"the body is larger than the limit of {self._limit:,} bytes ({setting_name(self._setting)})",
            limit=self._limit,
            setting=setting_name(self._setting),
        )

    async def drain(self) -> None:
        """Read the rest of the body if it is short and arrives soon."""
        # With `Expect: 100-continue`, a client does not send the body before it is asked to.
        if self.ended or not self.patient or "expect" in self._headers:
            return
        size = 0
        try:
            async with asyncio.timeout(DRAIN_S):
                while not self.ended and size < DRAIN_BYTES:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    self._note(message)
        except TimeoutError:
            return


class _OutgoingReply:
    """A response on its way out: gets the common headers, and is compressed if it is a long text."""

    def __init__(self, scope: Scope, send: Send, body: _BoundedBody, *, is_public: bool) -> None:
        self._api = scope["path"].startswith("/api/")
        self._method = scope["method"]
        # Other sites may read public data, but only of a registry with a public URL: one that only this network or
        # machine can reach would otherwise be read through the browsers in it.
        self._open = is_public and "authorization" not in Headers(scope=scope)
        self._zips = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        self._send = send
        self._body = body
        self._start: Message = {}
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message  # held until it is known whether the body is complete and can be compressed
            return
        if not self.started:
            headers = MutableHeaders(raw=list(self._start.get("headers", [])))
            self._add_headers(headers)
            if self._zips and _is_compressible(headers, message):
                message = {**message, "body": _compressed(headers, message["body"])}
            if self._start["status"] >= 400:
                await self._body.drain()
            if not self._body.ended:
                headers["connection"] = "close"  # the rest of the body is not read
            self.started = True
            await self._send({**self._start, "headers": headers.raw})
        if self._method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in COMMON.items():
            headers.setdefault(name, value)
        headers.setdefault("content-security-policy", API_POLICY if self._api else PAGE_POLICY)
        headers.setdefault("cache-control", "private, no-cache" if self._api else "no-cache")
        if self._api:
            headers.add_vary_header("Authorization")
            if self._open:
                headers.setdefault("access-control-allow-origin", "*")
                headers.setdefault("access-control-expose-headers", EXPOSED)


def _is_compressible(headers: MutableHeaders, message: Message) -> bool:
    """Return whether this is a complete, long text of ours; bytes of packages are sent as they are."""
    content_type = headers.get("content-type", "").partition(";")[0]
    whole = not message.get("more_body", False)
    if "content-encoding" in headers:
        return False
    return whole and content_type in COMPRESSIBLE and len(message.get("body", b"")) >= COMPRESS_FROM_BYTES


def _compressed(headers: MutableHeaders, body: bytes) -> bytes:
    body = gzip.compress(body, compresslevel=1, mtime=0)
    headers["content-encoding"] = "gzip"
    headers["content-length"] = str(len(body))
    headers.add_vary_header("Accept-Encoding")
    return body
