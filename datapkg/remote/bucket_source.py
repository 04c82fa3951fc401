"""A file in somebody's bucket, read with the user's own credentials, or without any where there are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from datapkg.errors import NotFound, Unreachable
from datapkg.objects.blobs.bucket import BucketBlobs
from datapkg.remote.download_file import Downloaded, DownloadFile

# Where each provider's own programs read their credentials from; if one of these is set, there are some.
_CREDENTIALS = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_TOKEN",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
}


class BucketSource:
    """A file at an address such as `s3://bucket/folder/file.csv`."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._key = unquote(parts.path.removeprefix("/"))
        # Without credentials a request is not signed: else the library asks the cloud's machine for some, and waits.
        is_signed = any(map(environ.get, _CREDENTIALS[parts.scheme]))
        self._blobs = BucketBlobs(f"{parts.scheme}://{parts.netloc}", is_signed=is_signed)

    def close(self) -> None:
        pass

    def contents(self, shown: str) -> tuple[Iterator[Any], str]:
        """Return the pieces of the whole file, which come when they are asked for, and its ETag."""
        try:
            pieces, _, etag = self._blobs.get(self._key, 0, None)
        except NotFound as error:
            raise NotFound(f"{shown} is not there", hint="look whether the address is right") from error
        return pieces, etag

    def once(self, file: DownloadFile) -> Downloaded:
        etag = file.validator
        start = file.size if etag else 0
        try:
            pieces, end, found = self._blobs.get(self._key, start, None, etag if start else None)
        except NotFound as error:
            raise NotFound(f"{file.shown} is not there", hint="look whether the address is right") from error
        except Unreachable as error:
            # Another answer may mean that the file changed, or that parts are not sent: the next try begins anew.
            if start and not (error.detail.get("broke_off") or error.detail.get("is_busy")):
                file.forget()
            raise
        if start >= end and start:
            return file.complete()
        return file.receive(map(bytes, pieces), start, end, found)
