"""Handle URLs and archive members, which `fetcher` replaces with local files before any node is built.

A build is the only operation that downloads from arbitrary URLs.
"""

from __future__ import annotations

from datapkg.building.sources.base import KnownHashes, SourceHandler
from datapkg.building.spec.model import UrlSource


class UrlHandler(SourceHandler[UrlSource]):
    """A file to download, whose hash the build file states; archive members are known only after extraction."""

    def hash_now(self, source: UrlSource, cache: KnownHashes) -> str | None:
        """Return the stated hash; None for an archive member."""
        return None if source.extract or source.inside else source.sha256 or None
