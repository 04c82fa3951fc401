"""Search: packages of a registry by words."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

from datapkg.home import Home

MAX_RESULTS = 1000


def search(home: Home, query: str, registry: str | None = None, limit: int = MAX_RESULTS) -> list[dict[str, Any]]:
    """The packages that one may see and that hold every word of the query, at most `limit`."""
    return [msgspec.structs.asdict(each) for each in islice(home.client(registry).packages(query), limit)]
