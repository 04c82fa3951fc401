"""Whether what would be shown is on this machine: displaying a node never fetches more than the manifest."""

from __future__ import annotations

from collections.abc import Iterable

from datapkg.reading.source import Source


def is_here(source: Source, hashes: Iterable[str]) -> bool:
    """Return whether these objects are on this machine, without reading or fetching them."""
    return all(source.store.holds(hash) for hash in hashes)


def how_to_get(source: Source) -> str:
    """Return the note for a node whose objects are missing."""
    if source.is_lazy:
        return "its data is not on this machine yet; it is fetched when it is read"
    return f"its data is not on this machine; type: {source.fetch_line('')}"
