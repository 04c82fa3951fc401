"""Things by their paths, found by a path that is theirs, above theirs or below theirs, without looking at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class PathIndex(Generic[T]):
    """Things by paths such as `a/b`; each question returns them in the order in which they were added."""

    def __init__(self) -> None:
        self._at: defaultdict[str, list[T]] = defaultdict(list)
        self._within: defaultdict[str, list[T]] = defaultdict(list)

    def add(self, path: str, thing: T) -> None:
        """Add a thing."""
        self._at[path].append(thing)
        self._within[path].append(thing)
        for parent in _parents(path):
            self._within[parent].append(thing)

    def within(self, path: str) -> list[T]:
        """Return what is at a path and below it."""
        return self._within.get(path, [])

    def touching(self, path: str) -> list[T]:
        """Return what is at a path, below it and above it."""
        above = [thing for parent in _parents(path) for thing in self._at.get(parent, ())]
        return [*above, *self.within(path)]


def _parents(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path
