"""Stretches of bytes, those that touch joined to one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

Stretch = tuple[int, int]
"""From this byte up to, and without, that one."""

_BEYOND = 1 << 63


class ByteRanges:
    """A set of bytes by their places."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []

    def add(self, stretches: Iterable[Stretch]) -> None:
        """Takes in these stretches."""
        joined: list[Stretch] = []
        for start, stop in sorted([*self._stretches, *stretches]):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
            else:
                joined.append((start, stop))
        self._stretches = joined

    def lacking(self, start: int, stop: int) -> list[Stretch]:
        """What of a stretch is not in it."""
        lacking, at = [], start
        first = bisect_right(self._stretches, (start, _BEYOND)) - 1
        for begin, end in self._stretches[max(first, 0) :]:
            if begin >= stop:
                break
            if begin > at:
                lacking.append((at, begin))
            at = max(at, end)
        return [*lacking, (at, stop)] if at < stop else lacking

    @property
    def size_bytes(self) -> int:
        """How many bytes are in it."""
        return sum(stop - start for start, stop in self._stretches)
