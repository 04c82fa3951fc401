"""Whether the text of a `sql` check is an expression or a query, without loading the library that runs it."""

from __future__ import annotations

import re

_QUERY = re.compile(r"\s*(select|with|from)\b", re.IGNORECASE)


def is_query(text: str) -> bool:
    """Return whether the text is a query, which must find no row; else it is an expression that each row fulfils."""
    return _QUERY.match(text) is not None
