"""Open the place of a registry without a server by its address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from datapkg.errors import InvalidInput
from datapkg.format.urls import BUCKETS
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.remote.addresses import is_web
from datapkg.remote.session import RegistrySession
from datapkg.remote.static.web import WebBlobs


def open_blobs(url: str, session: RegistrySession | None = None) -> Blobs:
    """Return what is at an address in its normal form; a web site is read through the session."""
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return FolderBlobs(Path(unquote(urlsplit(url).path)))
    if scheme in BUCKETS:
        from datapkg.objects.blobs.bucket import BucketBlobs

        return BucketBlobs(url)
    if is_web(url) and session is not None:
        return WebBlobs(session)
    if scheme == "ssh":
        from datapkg.objects.blobs.ssh import SshBlobs

        return SshBlobs(url)
    raise InvalidInput(f"{url} is not the address of a registry")
