"""The token of a registry in requests: sent to its own origin alone."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from datapkg.format import wire

_READ_BY_POST = tuple(each.rpartition("}")[2] for each in (wire.OBJECTS_READ, wire.OBJECTS_URLS))


class TokenAuth(AuthBase):
    """Sends the token to the registry's own origin, and keeps ~/.netrc out."""

    def __init__(self, token: str | None, origin: str) -> None:
        self._token = token
        self._origin = origin
        self.was_rejected = False

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        path = urlsplit(request.url or "").path
        is_left_out = self.was_rejected and is_public_read(request.method or "", path)
        if self._token and not is_left_out and origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme)}"


def is_public_read(method: str, path: str) -> bool:
    """Return whether a request may be answered without a token: all that read, but for the question who one is."""
    return path != wire.ME and (method in ("GET", "HEAD") or path.endswith(_READ_BY_POST))
