"""Stamps (size and times) of the files in a folder, to find changed files and files that are still being written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from datapkg.building.spec.folder_files import BUILD_FILE, IGNORE_FILE, walk
from datapkg.building.spec.ignore_rules import left_out_by, read_ignore_file
from datapkg.store.index import stamp

Look = Mapping[Path, tuple[int, ...]]
_CHANGED_NS = 2  # position of the change time in a stamp


def read_stamps(folder: Path) -> Look:
    """Return the stamp of each file that a build of the folder may read, without opening any of them.

    Raise `InvalidInput` for a folder that cannot be read.
    """
    has_build_file = (folder / BUILD_FILE).is_file()
    left_out = left_out_by("") if has_build_file else read_ignore_file(folder, gitignore=True)
    paths = [found.path for found in walk(folder, left_out=left_out).files]
    found = {}
    for path in (*paths, folder / BUILD_FILE, folder / IGNORE_FILE):
        try:
            found[path] = stamp(os.stat(path))
        except OSError:
            continue
    return found


def changed_paths(before: Look, now: Look) -> set[Path]:
    """Return the files that were added, removed or changed."""
    return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}


def is_recently_changed(found: Look, path: Path, since_ns: int) -> bool:
    """Return whether the change time of a file is `since_ns` or later."""
    return path in found and found[path][_CHANGED_NS] >= since_ns
