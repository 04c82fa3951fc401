"""Whether what would be shown is on this machine: showing a node never fetches more than the manifest."""

from __future__ import annotations

from collections.abc import Iterable

from datapkg.reading.source import Source


def is_here(source: Source, hashes: Iterable[str]) -> bool:
    """Whether these objects are here as far as their names tell; a quick question, of which nothing is fetched."""
    return all(source.store.holds(hash) for hash in hashes)


def how_to_get(source: Source) -> str:
    """What to say of a node whose objects are not here."""
    if source.is_lazy:
        return "its data is not on this machine yet: it comes when it is read"
    return f"its data is not on this machine; type: {source.fetch_line('')}"
