"""Count which files and folders this process opens or lists: costs that must not grow are tested by these counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_counted: list[list[str]] = []
_hooked: list[bool] = []


def _note(event: str, args: tuple[Any, ...]) -> None:
    if _counted and event in ("open", "os.listdir", "os.scandir"):
        for each in _counted:
            each.append(str(args[0]))


@contextmanager
def files_used(below: Path) -> Iterator[list[str]]:
    """Collect the paths below a folder that are opened or listed inside, one entry each time."""
    if not _hooked:
        sys.addaudithook(_note)  # for good: hooks cannot be removed
        _hooked.append(True)
    all_used: list[str] = []
    used: list[str] = []
    _counted.append(all_used)
    try:
        yield used
    finally:
        _counted.pop()
        used += [each for each in all_used if each.startswith(str(below))]
