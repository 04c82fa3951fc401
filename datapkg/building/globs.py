"""Globs in build files: which files below a folder a pattern such as `data/**/*.jpg` means."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datapkg.building.tree import Found, Tree, walk

_WILD = re.compile(r"[*?\[]")


def is_glob(text: str) -> bool:
    """Whether a key is a pattern: it has `*`, `?` or `[`."""
    return _WILD.search(text) is not None


def fixed_prefix(pattern: str) -> tuple[str, str]:
    """(the folders before the first one with a wildcard, the rest): `a/b/**/*.jpg` → `a/b`, `**/*.jpg`."""
    parts = pattern.split("/")
    count = next((index for index, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    return "/".join(parts[:count]), "/".join(parts[count:])


def find(folder: Path, pattern: str, *, allow_outside: bool, without: Path | None = None) -> tuple[list[Found], Tree]:
    """The data files below a folder that match, their names relative to it, and all that was seen.

    `*` and `?` stay within a name, `**` stands for any number of folders, `[!ab]` for another letter than these. Hidden
    files are no data; `without` is the build file.
    """
    tree = walk(folder, allow_outside=allow_outside)
    matches = _matcher(pattern)
    return [file for file in tree.files if matches(file.parts) and (without is None or file.path != without)], tree


def _matcher(pattern: str) -> Callable[[Sequence[str]], bool]:
    parts: list[Any] = [
        None if part == "**" else re.compile(fnmatch.translate(unicodedata.normalize("NFC", part))).match
        for part in pattern.split("/")
        if part
    ]
    if parts and parts[-1] is None:
        parts.append(lambda name: True)

    def matches(names: Sequence[str]) -> bool:
        reached = {0}
        for name in names:
            name = unicodedata.normalize("NFC", name)
            reached = {after for at in _opened(reached, parts) if at < len(parts) for after in _step(parts, at, name)}
        return len(parts) in reached

    return matches


def _opened(reached: set[int], parts: list[Any]) -> set[int]:
    """The places in the pattern that can be read next: `**` may stand for no folder at all."""
    opened = set(reached)
    for at in sorted(reached):
        while at < len(parts) and parts[at] is None:
            at += 1
            opened.add(at)
    return opened


def _step(parts: list[Any], at: int, name: str) -> list[int]:
    if parts[at] is None:
        return [at]
    return [at + 1] if parts[at](name) else []
