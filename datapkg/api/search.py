"""Search: packages of a registry by words."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from datapkg.home import Home

MAX_RESULTS = 1000


def search(home: Home, query: str, registry: str | None = None, limit: int = MAX_RESULTS) -> list[dict[str, Any]]:
    """Return the packages that one may see and that hold every word of the query, at most `limit`.

    `matches` of each says where: for each word a dict of `word`, `where`, `text` and `path`.
    """
    return [msgspec.to_builtins(each) for each in islice(home.client(registry).packages(query), limit)]
