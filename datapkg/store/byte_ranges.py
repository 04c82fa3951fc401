"""Sets of byte ranges, in which adjacent ranges are joined."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Stretch = tuple[int, int]
"""The first byte of a range, and the one after its last."""

_BEYOND = 1 << 63  # after the end of every range, so that bisection finds the last one that starts at or before


class ByteRanges:
    """A set of byte offsets, held as ranges."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []

    def add(self, stretches: Iterable[Stretch]) -> None:
        """Add these ranges."""
        joined: list[Stretch] = []
        for start, stop in sorted([*self._stretches, *stretches]):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
            else:
                joined.append((start, stop))
        self._stretches = joined

    def lacking(self, start: int, stop: int) -> list[Stretch]:
        """Return the parts of a range that are not in the set."""
        lacking, at = [], start
        first = bisect_right(self._stretches, (start, _BEYOND)) - 1
        for begin, end in self._stretches[max(first, 0) :]:
            if begin >= stop:
                break
            if begin > at:
                lacking.append((at, begin))
            at = max(at, end)
        return [*lacking, (at, stop)] if at < stop else lacking
