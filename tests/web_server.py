"""A web server on this machine that serves bytes from memory, with ranges and validators, as badly as a test asks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests import http_server


@dataclass
class Page:
    """What stands at a path, and what is wrong with it.

    `cuts` are after how many bytes the connection breaks, one for each answer to come; `drip_s` is a pause after each
    byte; `statuses` are answered first, one each.
    """

    body: bytes = b""
    etag: str = ""
    modified: str = ""
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    drip_s: float = 0


@dataclass
class Web:
    """The server: its address, its pages by path, and the requests that it saw: path with query, and headers."""

    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def put(self, path: str, body: bytes = b"", **options: object) -> str:
        """Serves bytes at a path; gives the address."""
        self.pages[path] = Page(body, **options)  # type: ignore[arg-type]
        return self.url + path

    def asked(self, path: str) -> list[str]:
        """The `Range` of each request for a path, "" for the whole."""
        return [headers.get("range", "") for seen, headers in self.seen if urlsplit(seen).path == path]


@contextmanager
def web_server() -> Iterator[Web]:
    """Runs the server on a free port."""
    web = Web("")

    class Handler(http_server.Handler):
        def do_GET(self) -> None:  # noqa: N802 - the names of http.server
            web.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            page = web.pages.get(urlsplit(self.path).path)
            if page is None or page.statuses:
                self.answer(404 if page is None else page.statuses.pop(0))
            elif page.etag and self.headers.get("If-None-Match") == page.etag:
                self.answer(304, headers={"ETag": page.etag})
            elif page.location:
                self.answer(302, headers={"Location": page.location})
            else:
                self._serve(page)

        def _serve(self, page: Page) -> None:
            body, start = page.body, 0
            found = re.fullmatch(rf"bytes=(\d+)-({len(body) - 1})?", self.headers.get("Range", ""))
            if found and page.ranges and self.headers.get("If-Range") in (page.etag or page.modified, None):
                start = int(found[1])
            if start and start >= len(body):
                self.answer(416, headers={"Content-Range": f"bytes */{len(body)}"})
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            for name, value in {"ETag": page.etag, "Last-Modified": page.modified, **page.headers}.items():
                if value:
                    self.send_header(name, value)
            if page.length:
                self.send_header("Content-Length", str(len(body) - start))
            self.close_connection = not page.length
            self.end_headers()
            self._send(body[start:], page)

        def _send(self, body: bytes, page: Page) -> None:
            if page.cuts:
                body = body[: page.cuts.pop(0)]
                self.close_connection = True
            try:
                if page.drip_s:
                    for number in range(len(body)):
                        self.wfile.write(body[number : number + 1])
                        time.sleep(page.drip_s)
                else:
                    self.wfile.write(body)
            except OSError:
                self.close_connection = True

    with http_server.serving(Handler) as web.url:
        yield web
