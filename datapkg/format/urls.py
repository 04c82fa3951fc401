"""URLs of files on the web: validate them, and remove secrets before showing or recording them."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote, urlsplit

from datapkg.errors import InvalidInput, InvalidName
from datapkg.format.names import check_node_name
from datapkg.format.texts import quoted

SCHEMES = ("http", "https")
BUCKETS = ("s3", "gs", "az")
MAX_ADDRESS = 8_192
_NO_ADDRESS = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029]")


def check_url(text: str) -> str:
    """Return the URL itself; raise `InvalidInput`, without showing secrets, for one that must not be requested."""
    hint = "write it as https://data.example.org/folder/file.csv"
    if len(text) > MAX_ADDRESS:
        raise InvalidInput(f"the address has {len(text):,} characters; at most {MAX_ADDRESS:,} are allowed")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("this is not an address: its host or port cannot be read", hint=hint) from None
    if _NO_ADDRESS.search(text):
        raise InvalidInput("this is not an address: it has spaces or control characters; write them as %20", hint=hint)
    if parts.scheme.lower() not in SCHEMES and not is_in_bucket(text):
        got = f"{quoted(parts.scheme, 20)}:" if parts.scheme else f"{quoted(text)} without a scheme"
        raise InvalidInput(f"an address begins with https://, http://, s3://, gs:// or az://, got {got}", hint=hint)
    if is_in_bucket(text) and (not parts.path.strip("/") or parts.query or parts.fragment):
        hint = f"write it as {parts.scheme}://bucket/folder/file.csv"
        raise InvalidInput("the address of a file in a bucket is the bucket and a path, without a query", hint=hint)
    if not host:
        raise InvalidInput("this is not an address: it names no host", hint=hint)
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("an address has no user and no password in it: credentials never stand in a build file")
    return text


def is_in_bucket(url: str) -> bool:
    """Return whether a URL names a file in an object store: S3, Google Cloud Storage, Azure Blob Storage."""
    return url.partition("://")[0] in BUCKETS


def without_credentials(url: str) -> str:
    """Return a URL for display and records, without user-info, query and fragment, which may be secret."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "an address"
    where = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{where}{f':{port}' if port else ''}{parts.path}"


def file_name(url: str) -> str:
    """Return the file name in a URL: the decoded last part of its path; "" if that is not a valid name."""
    name = unicodedata.normalize("NFC", unquote(urlsplit(url).path.rpartition("/")[2]))
    try:
        return check_node_name(name)
    except InvalidName:
        return ""
