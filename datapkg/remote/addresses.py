"""The addresses of registries: a server, or the place in which the files of one are.

`https://data.example.org` is a server or a web site with the files; `https://data.example.org/folder` the latter, for a
server has no path. A folder is `file:///mnt/data`, and may be typed as `/mnt/data`; a bucket is `s3://bucket/prefix`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.format.urls import BUCKETS
from datapkg.remote.credentials import check_origin

WEB = ("http", "https")
_ADDRESS = re.compile("([a-z][a-z0-9+.-]+:)?//|[a-z][a-z0-9+.-]+:/")
SCHEMES = (*WEB, "file", *BUCKETS, "ssh")


def is_folder(text: str) -> bool:
    """Return whether this is the path of a folder, as typed, and no address or name of the settings."""
    # What begins with two slashes, or as `s3:/` does, is rather an address with a mistake.
    return "://" not in text and not _ADDRESS.match(text) and (os.sep in text or text in (".", "..") or text[:1] == "~")


def check_address(text: str) -> str:
    """Return the address of a registry in its normal form; raise `InvalidInput` for anything else.

    A path of this machine becomes a `file:` address. No address ends with a slash.
    """
    text = text.strip()
    if is_folder(text):
        return Path(os.path.abspath(Path(text).expanduser())).as_uri()
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES or (scheme in WEB and not rest.partition("/")[2].strip("/")):
        return check_origin(text)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"{quoted(text)} is not the address of a registry: {error}") from None
    if parts.query or parts.fragment or parts.password or any(each.isspace() or each < " " for each in text):
        raise InvalidInput(
            "the address of a registry has no password, query, fragment or space", hint=f"write it as {scheme}://…"
        )
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InvalidInput(f"{quoted(text)} names a host; a folder is written file:///path/of/folder")
        return Path(os.path.abspath(unquote(parts.path))).as_uri()
    if not host or (parts.username and scheme != "ssh"):
        raise InvalidInput(f"{quoted(text)} is not the address of a registry", hint=f"write it as {scheme}://HOST/PATH")
    path = "/".join(each for each in parts.path.split("/") if each)
    if scheme in WEB:
        origin = check_origin(f"{scheme}://{parts.netloc}")
        return f"{origin}/{path}"
    return f"{scheme}://{parts.netloc}/{path}".rstrip("/")


def is_web(url: str) -> bool:
    """Return whether an address in its normal form is read over HTTP."""
    return urlsplit(url).scheme in WEB


def is_server(url: str) -> bool:
    """Return whether an address in its normal form may be that of a server: it has no path."""
    return is_web(url) and not urlsplit(url).path
