"""Search: find packages of a registry by words."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from datapkg.home import Home

MAX_RESULTS = 1000


def search(home: Home, query: str, registry: str | None = None, limit: int = MAX_RESULTS) -> list[dict[str, Any]]:
    """Return the packages that the user can read and that contain every word of the query, at most `limit`.

    Each has package, hash (of its latest state), public, title, description, pushed_at, bytes_logical and `matches`,
    which shows where each word was found: dicts of `word`, `where`, `text` and `path`.
    """
    found = (msgspec.to_builtins(each) for each in islice(home.client(registry).packages(query), limit))
    return [{"package": each.pop("package"), "hash": each.pop("latest"), **each} for each in found]
