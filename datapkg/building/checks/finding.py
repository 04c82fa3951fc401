"""The findings of a check in a table, and the display of values in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datapkg.format.texts import quoted

SAMPLE_ROWS = 5
_LONGEST_SHOWN = 50


@dataclass
class Finding:
    """A violation of a rule: the number of `rows`, and the first of them in `samples` with number (from 1) and value.

    `text` is the rest of the sentence after the row counts and the verb, which is given for one row and for several. If
    `rows` is 0, `text` is a sentence about the column or table.
    """

    kind: str
    column: str
    text: str
    rows: int = 0
    samples: list[tuple[int, str]] = field(default_factory=list)
    verb: tuple[str, str] = ("is", "are")


def short(value: Any) -> str:
    """Return a Python value as messages show it, shortened; "" for a missing value."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    text = quoted(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def python_value(value: Any) -> Any:
    """Return an Arrow value as Python's, or its number for times beyond the years of Python."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return f"{value.value} ({value.type})"
