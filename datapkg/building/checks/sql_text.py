"""Distinguish expressions from queries in `sql` checks, without importing DuckDB."""

from __future__ import annotations

import re

_QUERY = re.compile(r"\s*(select|with|from)\b", re.IGNORECASE)
# What an expression needs to look at other rows than its own: a query inside of it, of the table or of text.
_OTHER_ROWS = re.compile(r"\b(select|this|query|query_table)\b", re.IGNORECASE)


def is_query(text: str) -> bool:
    """Return whether the text is a query, which must return no row, rather than an expression about each row."""
    return _QUERY.match(text) is not None


def is_of_one_row(text: str) -> bool:
    """Return whether the result for a row certainly depends on this row alone; a false negative is harmless."""
    return not is_query(text) and _OTHER_ROWS.search(text) is None
