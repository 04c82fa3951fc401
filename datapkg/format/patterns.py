"""Shell patterns for paths: `*` and `?` match within a name, `**` any number of names."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

# A predicate for one name; None is `**`.
Part = Callable[[str], object] | None


@lru_cache(64)
def matcher(pattern: str) -> Callable[[Sequence[str]], bool]:
    """Return a function that tells whether the names of a path, in Unicode's normal form, match a pattern."""
    parts: list[Part] = [
        None if part == "**" else re.compile(fnmatch.translate(unicodedata.normalize("NFC", part))).match
        for part in pattern.split("/")
        if part
    ]
    return path_matcher(parts)


def path_matcher(parts: Iterable[Part]) -> Callable[[Sequence[str]], bool]:
    """Return a function that matches a path's names with parts; None is any number of folders (at the end, names)."""
    parts = list(parts)
    if parts and parts[-1] is None:
        parts.append(lambda name: True)

    def matches(names: Sequence[str]) -> bool:
        # All positions in the pattern at once, without going back: many `**` cannot take exponential time.
        reached = {0}
        for name in names:
            reached = {after for at in _opened(reached, parts) if at < len(parts) for after in _step(parts, at, name)}
            if not reached:
                return False
        return len(parts) in reached

    return matches


def _opened(reached: set[int], parts: list[Part]) -> set[int]:
    """Return the positions in the pattern that can be matched next: `**` may match no folder at all."""
    opened = set(reached)
    for at in reached:
        while at < len(parts) and parts[at] is None:
            at += 1
            opened.add(at)
    return opened


def _step(parts: list[Part], at: int, name: str) -> list[int]:
    part = parts[at]
    if part is None:
        return [at]
    return [at + 1] if part(name) else []
