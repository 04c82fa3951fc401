"""Tokens on this machine: each kept for the one origin that it was made for, in a file that only its owner reads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from datapkg.errors import DamagedFile, InvalidInput
from datapkg.format.suggestions import did_you_mean
from datapkg.objects.files import private_folder, read_json, write_atomic
from datapkg.objects.folder_lock import changing


def check_origin(url: str) -> str:
    """Return a registry's address in its normal form, `https://host[:port]`; raise `InvalidInput` for any other."""
    hint = "write it as https://data.example.org"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{url[:200]!r} is not the address of a registry: {error}", hint=hint) from None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or c < " " for c in url.strip()):
        meant = with_scheme(url)
        raise InvalidInput(
            f"{url[:200]!r} is not the address of a registry: it needs https:// (or http://) and a host"
            + (did_you_mean([meant] if meant else [])),
            hint="" if meant else hint,
            **({"meant": [url, meant]} if meant else {}),
        )
    default = {"http": 80, "https": 443}[parts.scheme]
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port not in (None, default) else ""
    origin = f"{parts.scheme}://{shown_host}{shown_port}"
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise InvalidInput(
            "the address of a registry has no user, password, path, query or fragment", hint=f"write it as {origin}"
        )
    return origin


def with_scheme(host: str) -> str:
    """Return the address that was meant by one without a scheme or with a single slash; "" for anything else.

    A host gets https, this machine http; `s3:/bucket` gets its second slash.
    """
    if found := re.fullmatch(r"(https?|file|s3|gs|az|ssh):/*([^/].*)", host):
        return f"{found[1]}://{found[2]}"
    if not re.fullmatch(r"(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)(:\d+)?/?", host):
        return ""
    return f"http://{host}" if is_loopback(f"http://{host}") else f"https://{host}"


def may_carry_token(url: str) -> bool:
    """Return whether a token may travel to this address: https, or this very machine."""
    return urlsplit(url).scheme == "https" or is_loopback(url)


def is_loopback(url: str) -> bool:
    """Return whether this address is one of this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Credential:
    """The token for one registry and where it comes from; without a token, `source` says why there is none, if known.

    `hint` is the line that replaces a token which the registry rejects.
    """

    token: str | None = None
    source: str = ""
    hint: str = "datapkg login"

    @property
    def note(self) -> str:
        """Whether a token is sent, and from where."""
        if self.token:
            return f"the token from {self.source} was sent" if self.source else "a token was sent"
        return f"no token was sent: {self.source}" if self.source else "no token was sent"


@dataclass(frozen=True)
class Credentials:
    """The credentials file."""

    path: Path

    def token(self, origin: str) -> str | None:
        """Return the token for this origin, or None.

        A damaged file has none and gives a warning, so that what is public can still be read.
        """
        try:
            entry = self._read().get(origin)
        except InvalidInput as error:
            warnings.warn(f"{error.message}; no token is sent; {error.hint}", DamagedFile, stacklevel=2)
            return None
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
            return None
        return check_token(entry["token"])

    def keep(self, origin: str, token: str, user: str) -> None:
        """Remember a token for an origin."""
        with self._changing():
            self._write({**self._read(), origin: {"token": token, "user": user}})

    def forget(self, origin: str) -> bool:
        """Forget the token for an origin; false if there was none."""
        if not self.path.exists():
            return False
        with self._changing():
            entries = self._read()
            if entries.pop(origin, None) is None:
                return False
            self._write(entries)
        return True

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        private_folder(self.path.parent)
        with changing(self.path.parent):
            yield

    def _write(self, entries: dict[str, Any]) -> None:
        write_atomic(self.path, json.dumps(entries, indent=2).encode() + b"\n", self.path.parent / "tmp", mode=0o600)

    def _read(self) -> dict[str, Any]:
        value = read_json(self.path, "credentials", f"rm {os.fspath(self.path)}, then log in again")
        return value if isinstance(value, dict) else {}


def check_token(token: str) -> str:
    """Return the token itself; raise `InvalidInput`, without showing it, for what cannot be one."""
    token = token.strip()
    if not token or len(token) > 1000 or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput(
            "this is not a token: a token begins with dpk_ and has no spaces",
            hint="ask your registry for a new one",
        )
    return token
