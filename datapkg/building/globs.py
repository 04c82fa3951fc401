"""Globs in build files: which files below a folder a pattern such as `data/**/*.jpg` means."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from datapkg.building.tree import Found

# What a name must match; None is `**`.
Part = Callable[[str], object] | None

_WILD = re.compile(r"[*?\[]")


def is_glob(text: str) -> bool:
    """Whether a key is a pattern: it has `*`, `?` or `[`."""
    return _WILD.search(text) is not None


def fixed_prefix(pattern: str) -> tuple[str, str]:
    """(the folders before the first one with a wildcard, the rest): `a/b/**/*.jpg` → `a/b`, `**/*.jpg`."""
    parts = pattern.split("/")
    count = next((index for index, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    return "/".join(parts[:count]), "/".join(parts[count:])


def match(pattern: str, files: Iterable[Found]) -> list[Found]:
    """The files whose path matches.

    `*` and `?` stay within a name, `**` stands for any number of folders, `[!ab]` for another letter than these.
    """
    matches = matcher(pattern)
    return [file for file in files if matches(file.names)]


def matcher(pattern: str) -> Callable[[Sequence[str]], bool]:
    """Whether the names of a path, in Unicode's normal form, match a pattern."""
    parts: list[Part] = [
        None if part == "**" else re.compile(fnmatch.translate(unicodedata.normalize("NFC", part))).match
        for part in pattern.split("/")
        if part
    ]
    return path_matcher(parts)


def path_matcher(parts: Iterable[Part]) -> Callable[[Sequence[str]], bool]:
    """Whether the names of a path match, each by its part; None is any number of folders, at the end all in them."""
    parts = list(parts)
    if parts and parts[-1] is None:
        parts.append(lambda name: True)

    def matches(names: Sequence[str]) -> bool:
        reached = {0}
        for name in names:
            reached = {after for at in _opened(reached, parts) if at < len(parts) for after in _step(parts, at, name)}
            if not reached:
                return False
        return len(parts) in reached

    return matches


def _opened(reached: set[int], parts: list[Part]) -> set[int]:
    """The places in the pattern that can be read next: `**` may stand for no folder at all."""
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
