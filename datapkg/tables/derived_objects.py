"""Store bytes that were made from a source, and tell an error of the store from one of the source."""

from __future__ import annotations

from typing import BinaryIO

from datapkg.objects.base import Objects


class StoreFailed(Exception):
    """Raised from the error of a store, so that it is not taken for one of the source that is read meanwhile."""


def put_made(objects: Objects, stream: BinaryIO) -> str:
    """Stores bytes that were made of a source; gives their hash. Raises `StoreFailed` from what the store raises."""
    try:
        return objects.put(stream)
    except Exception as error:
        raise StoreFailed from error
