"""Images of packages that a page may show, recognised by their first bytes and never by a name."""

from __future__ import annotations

from datapkg.errors import DatapkgError, NotFound
from datapkg.objects.base import Readable
from registry_server.services import downloads
from registry_server.services.downloads import Served
from registry_server.services.policy import PackageRequest

MAX_IMAGE_BYTES = 20 << 20
# Pixels alone. SVG is a document, which can hold scripts and load from elsewhere.
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_HEAD_BYTES = 12


def find_image(request: PackageRequest, hash: str) -> tuple[Served, str]:
    """Return an object of the package that is an image, and its media type; raise `NotFound` if it is not one."""
    served = downloads.object(request, hash)
    media_type = _media_type(request.registry.objects, hash, served.size)
    if not media_type:
        raise NotFound(f"object {hash} of {request.full_name} is not an image that a page shows")
    return served, media_type


def is_shown_image(objects: Readable, hash: str, size: int) -> bool:
    """Return whether an object is an image that a page may show."""
    return bool(_media_type(objects, hash, size))


def _media_type(objects: Readable, hash: str, size: int) -> str:
    """Return the media type, such as `image/png`, or "" for what is not an image, too large or unreadable."""
    if not _HEAD_BYTES <= size <= MAX_IMAGE_BYTES:
        return ""
    try:
        with objects.open(hash, 0, _HEAD_BYTES) as stream:
            head = stream.read(_HEAD_BYTES)
    except (DatapkgError, OSError):
        return ""
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "image/webp"
    return next((kind for signature, kind in _SIGNATURES.items() if head.startswith(signature)), "")
