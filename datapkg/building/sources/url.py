"""Addresses and members of archives: `fetcher` makes them local files before any node is built."""

from __future__ import annotations

from datapkg.building.sources.base import KnownHashes, SourceHandler
from datapkg.building.spec.model import UrlSource


class UrlHandler(SourceHandler[UrlSource]):
    """A file to download, whose hash the build file states; members of archives are only known once extracted."""

    def hash_now(self, source: UrlSource, cache: KnownHashes) -> str | None:
        """Return the stated hash, or None where the source is a member of an archive."""
        return None if source.extract or source.inside else source.sha256 or None
