"""What a check found in a table, and how values of it are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datapkg.format.texts import quoted

SAMPLE_ROWS = 5
_LONGEST_SHOWN = 50


@dataclass
class Finding:
    """What breaks a rule: so many `rows`, the first of them in `samples` with number (from 1) and value.

    `text` is the rest of the sentence after them; after the column, where it is not about rows and these are 0.
    """

    kind: str
    column: str
    text: str
    rows: int = 0
    samples: list[tuple[int, str]] = field(default_factory=list)


def short(value: Any) -> str:
    """Return a value of Python as messages show it; "" for one that is missing."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    text = quoted(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
