"""Store bytes that were made from a source, and tell an error of the store from one of the source."""

from __future__ import annotations

from typing import BinaryIO

from datapkg.objects.base import Objects


class StoreFailed(Exception):
    """Raised from an error of the store, so that it is not mistaken for one of the source that is being read."""


def put_made(objects: Objects, stream: BinaryIO) -> str:
    """Store bytes that were made from a source; return their hash. Raise `StoreFailed` from what the store raises."""
    try:
        return objects.put(stream)
    except Exception as error:
        raise StoreFailed from error
