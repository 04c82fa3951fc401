"""Find and count bytes in a text by numpy: without the lock of Python, and a part at a time that stays in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_PART_BYTES = 128 << 10


def places_of(data: Any, wanted: Sequence[int]) -> Iterator[Any]:
    """Yield the places of these bytes in an array of bytes, some at a time, in no order."""
    hits = np.empty(_PART_BYTES, bool)
    for start in range(0, len(data), _PART_BYTES):
        part = data[start : start + _PART_BYTES]
        for byte in wanted:
            found = np.equal(part, byte, out=hits[: len(part)])
            if found.any():
                yield start + np.flatnonzero(found)


def counts_of(data: Any, wanted: Sequence[int]) -> list[int]:
    """Return how often each of these bytes is in an array of bytes."""
    hits, counts = np.empty(_PART_BYTES, bool), [0] * len(wanted)
    for start in range(0, len(data), _PART_BYTES):
        part = data[start : start + _PART_BYTES]
        for at, byte in enumerate(wanted):
            counts[at] += int(np.count_nonzero(np.equal(part, byte, out=hits[: len(part)])))
    return counts


def is_any_up_to(data: Any, most: int) -> bool:
    """Return whether an array of bytes has one that is at most this."""
    return any(data[start : start + _PART_BYTES].min() <= most for start in range(0, len(data), _PART_BYTES))


def is_ascii(data: Any, has_nul: bool = True) -> bool:
    """Return whether an array of bytes has none above 127, and no 0 unless it may have one."""
    signed, least = data.view(np.int8), 0 if has_nul else 1
    return all(signed[start : start + _PART_BYTES].min() >= least for start in range(0, len(data), _PART_BYTES))
