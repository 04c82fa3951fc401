"""Check what came from an address: the sums that its publisher states, and that it is no page where data was asked for.

A publisher's sum is a claim beside our sha256, which alone names the bytes: MD5 and SHA-1 can be forged.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePath

from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.download_cache import DownloadCache, FetchedFile
from datapkg.building.spec.model import UrlSource
from datapkg.errors import BuildFailed, HashMismatch

# Pages of Google Drive name the file in their first lines, before their forms.
_LOOKED_AT_BYTES = 65_536
_PAGE = re.compile(rb"(?:<!--.*?-->\s*)*(?:<\?xml[^>]*>\s*)?(?:<!doctype html|<html[\s>]|<head[\s>])", re.I | re.S)
_PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
_DRIVE = re.compile(rb"<title>Google Drive|accounts\.google\.com/", re.I)
_QUOTA = re.compile(rb"quota exceeded|too many users", re.I)


def check_page(source: UrlSource, path: Path, shown: str) -> None:
    """Raise `BuildFailed` for a file that begins as an HTML page, unless the build file asks for one.

    It does by `transform: id`, or by a name that ends in .html; a member of an archive is not in a page.
    """
    transform = source.how.transform if source.how is not None else ""
    is_wanted = transform == "id" or bool(transform and TRANSFORMS[transform].provider)
    if not source.extract and (is_wanted or PurePath(shown.lower()).suffix in _PAGE_SUFFIXES):
        return
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT_BYTES)
    if not _PAGE.match(start.removeprefix(b"\xef\xbb\xbf").lstrip()):
        return
    if not _DRIVE.search(start):
        raise BuildFailed(
            f"{shown} answered with an HTML page where data was asked for",
            hint="give the address of the file itself; to keep a page as a file: transform: id",
        )
    if _QUOTA.search(start):
        raise BuildFailed(
            f"{shown} answered with a page of Google Drive: too many people downloaded this file today",
            hint="try again in a day, or download it by hand and name it by `file:`",
        )
    raise BuildFailed(
        f"{shown} answered with a page of Google Drive that asks for a confirmation or a login, not with the file",
        hint="url: https://drive.usercontent.google.com/download?id=ID&export=download&confirm=t",
    )


def check_claims(source: UrlSource, file: FetchedFile, downloads: DownloadCache) -> dict[str, str]:
    """Return the publisher's sums of a file, for its record; raise `HashMismatch` for one that differs."""
    for algorithm, expected in source.claims.items():
        actual = _sum(algorithm, file, downloads)
        if actual != expected:
            raise HashMismatch(
                f"{file.shown}: expected {algorithm} {expected}, as the build file says, got {actual}",
                hint=f"compare with the {algorithm} that its publisher states, and correct it in the build file",
                expected=expected,
                actual=actual,
            )
    return dict(source.claims)


def _sum(algorithm: str, file: FetchedFile, downloads: DownloadCache) -> str:
    """Return another sum of a file whose sha256 is known, which is computed once for these bytes."""
    key = f"{algorithm}:{file.hash}"
    if known := downloads.index.get_many([key]).get(key):
        return known.decode()
    with file.path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    downloads.index.put_many({key: found.encode()})
    return found
