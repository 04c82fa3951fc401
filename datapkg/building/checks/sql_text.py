"""Distinguish expressions from queries in `sql` checks, without importing DuckDB."""

from __future__ import annotations

import re

_QUERY = re.compile(r"\s*(select|with|from)\b", re.IGNORECASE)


def is_query(text: str) -> bool:
    """Return whether the text is a query, which must return no row, rather than an expression about each row."""
    return _QUERY.match(text) is not None
