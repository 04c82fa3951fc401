"""Hooks of Python's JSON decoder that refuse what it would change: keys that occur twice, numbers beyond floats."""

from __future__ import annotations

import math
from typing import Any

from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object; raise `InvalidInput` for a key that occurs twice, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise InvalidInput(f"an object has the key {quoted(twice)} twice")
    return found


def finite(text: str) -> float:
    """Return a float; raise `InvalidInput` for a number beyond its range."""
    value = float(text)
    if math.isinf(value):
        raise InvalidInput(f"the number {text[:40]} is beyond the range of a float")
    return value
