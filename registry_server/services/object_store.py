"""Where a registry keeps its objects: its data folder, or a bucket or another folder by a URL.

The data folder notes the URL, so that every later command uses the same objects. What is at the URL notes the registry,
so that no other one deletes objects there that it does not know.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from datapkg.errors import Conflict, InvalidInput, NotFound, Unreachable
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.blobs.bucket import BucketBlobs
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.objects.cloud import CloudObjects
from datapkg.objects.files import read_json, write_atomic
from datapkg.objects.packs import PackedObjects
from registry_server.settings import Settings

NOTE = "objects.json"
BEGUN = "objects-begun.json"
"""The note before what is at the URL is marked."""
MARK = "registry-objects.json"
FORMAT = 1
TELL = "tell the administrator of the registry"
MAX_MARK_BYTES = 1 << 16
logger = logging.getLogger(__name__)


def open_objects(settings: Settings, *, create: bool) -> PackedObjects:
    """Return the objects of a registry; with `create`, the settings decide where those of a new one are.

    Raise `InvalidInput` for another URL than the registry was made with, `Conflict` for objects of another registry.
    """
    try:
        return _opened(settings, create)
    except Unreachable as error:
        error.explain(
            settings.objects or "see objects.json in the data folder", "check the credentials in the environment"
        )
        raise


def _opened(settings: Settings, create: bool) -> PackedObjects:
    noted = _noted(settings)
    if noted is None:
        if not settings.objects:
            return PackedObjects(settings.data)
        if not create or next(iter(PackedObjects(settings.data)), None) is not None:
            raise InvalidInput(
                f"the objects of this registry are in {settings.data}, not in {settings.objects}",
                hint="to move them: datapkg-registry export FOLDER, and import it with another --data and --objects",
            )
        blobs = open_blobs(settings.objects)
        noted = _begun(settings)
        _set_mark(blobs, noted["id"])
        write_atomic(settings.data / NOTE, json.dumps(noted).encode(), settings.temporary)
        (settings.data / BEGUN).unlink(missing_ok=True)
    elif settings.objects not in ("", noted["url"]):
        raise InvalidInput(
            f"the objects of the registry in {settings.data} are in {noted['url']}, not in {settings.objects}",
            hint=f"leave out --objects, or correct {settings.data / NOTE} if they were moved",
        )
    else:
        blobs = open_blobs(noted["url"])
        _check_mark(blobs, noted["id"])
    return CloudObjects(blobs, settings.data)


def _begun(settings: Settings) -> dict[str, Any]:
    """Return the note of a new registry, which stays the same until the mark and the note are both written.

    So a first start that failed between the two can be repeated: what is at the URL is marked as of this registry.
    """
    path = settings.data / BEGUN
    begun = _noted(settings, BEGUN)
    if begun is None or begun["url"] != settings.objects:
        begun = {"format": FORMAT, "url": settings.objects, "id": uuid.uuid4().hex}
        write_atomic(path, json.dumps(begun).encode(), settings.temporary)
    return begun


def _noted(settings: Settings, name: str = NOTE) -> dict[str, Any] | None:
    path = settings.data / name
    noted = read_json(path, "note of where the objects are", "restore it from a backup")
    if not noted:
        return None
    if not isinstance(noted, dict) or noted.get("format") != FORMAT or not {"url", "id"} <= noted.keys():
        raise InvalidInput(f"{path} is not a note of this version", hint="upgrade datapkg-registry")
    return noted


def open_blobs(url: str) -> Blobs:
    """Return the keys at a URL: `file://`, `s3://`, `gs://` or `az://`."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise InvalidInput(f"{url!r} is not the URL of a folder: expected file:///FOLDER")
        return FolderBlobs(_private(Path(unquote(parts.path))))
    return StorageBlobs(url)


def _private(folder: Path) -> Path:
    """Make a folder that only the registry may read, since it has private packages; one that exists is left as it is.

    One that cannot be made is noticed when the first file is written.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


class StorageBlobs(BucketBlobs):
    """A bucket behind a registry: its users do not learn where it is, and cannot change its credentials."""

    def _refusal(self, reason: str) -> Unreachable:
        logger.error("%s refuses the request: %s; check the credentials of the registry", self.url, reason)
        return Unreachable(f"the storage of the registry refuses its request: {reason}", hint=TELL)

    def unreachable(self, key: str, reason: str) -> Unreachable:
        logger.warning("%s did not serve %s: %s", self.url, key or "a list", reason)
        return Unreachable(f"the storage of the registry did not answer as it should: {reason}", hint=TELL, again=True)


def _set_mark(blobs: Blobs, registry: str) -> None:
    mark = json.dumps({"format": FORMAT, "registry": registry}).encode()
    try:
        _check_mark(blobs, registry)
    except NotFound:
        if not blobs.can_create:
            blobs.put(MARK, io.BytesIO(mark))
        elif not blobs.create(MARK, mark):
            _check_mark(blobs, registry)


def _check_mark(blobs: Blobs, registry: str) -> None:
    try:
        found = json.loads(blobs.read(MARK, MAX_MARK_BYTES))["registry"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found != registry:
        raise Conflict(
            f"{blobs.url} has the objects of another registry; each needs a place of its own",
            hint=f"give another prefix: --objects {blobs.url}/ANOTHER",
        )
