"""Detect whether anything in a folder changed since a package was built from it, by names and stats only.

No file is read and few modules are imported, because most builds of a project under development change nothing and
should return at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from datapkg.building.spec.library_folders import installed_by
from datapkg.format.frozen import dataclass
from datapkg.store.index import TICK_NS, Index, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_OBJECT_FILES = 2_000  # `recall` looks at each of them


@dataclass(frozen=True)
class Snapshot:
    """The state of a folder: a hash of all names and stats, and a number for each file in it, in order."""

    mark: str
    files: array[int]

    def holds(self, paths: Iterable[str | os.PathLike[str]]) -> bool:
        """Return whether all these files are part of the snapshot."""
        return all(self._has(hash(os.path.abspath(path))) for path in paths)

    def _has(self, number: int) -> bool:
        at = bisect_left(self.files, number)
        return at < len(self.files) and self.files[at] == number


def take_snapshot(folder: Path, settings: Iterable[object]) -> Snapshot | None:
    """Return the snapshot of a folder that is built with these settings.

    Return None if names and stats are not sufficient: for links to folders, or a file that changed just now.
    """
    at = time.time_ns()
    sha256 = hashlib.sha256(json.dumps([str(each) for each in settings]).encode())
    # Hashes of 64 bits, of which Python makes others in each process: the paths would take ten times as much.
    files = array("q")
    newest = 0
    waiting = [str(folder)]
    try:
        while waiting:
            here = waiting.pop()
            with os.scandir(here) as entries:
                for entry in sorted(entries, key=_name):
                    if not _matters(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if installed_by(entry.name, entry.path) is None:
                            waiting.append(entry.path)
                        continue
                    if entry.is_symlink() and entry.is_dir():
                        return None
                    now = stamp(entry.stat())
                    newest = max(newest, now[2])
                    files.append(hash(entry.path))
                    sha256.update(f"{entry.path}\0{now}\0".encode("utf-8", "surrogateescape"))
    except OSError:
        return None
    # A file that changed within a clock tick of this scan may change again with the same stat.
    files = array("q", sorted(files))
    return Snapshot(sha256.hexdigest(), files) if newest + TICK_NS < at else None


def versions() -> list[str]:
    """Return the versions of the libraries that influence a build's result, from the names of `.dist-info` folders."""
    found = []
    for name in ("pandas", "pyarrow", "numpy", "python_calamine", "pyreadstat"):
        folders = (Path(each) for each in sys.path)
        found += sorted(path.name for folder in folders for path in folder.glob(f"{name}-*.dist-info"))
    return found


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _matters(name: str) -> bool:
    """Return whether a build would read files of this name (`building/spec/folder_files`) or rules from them."""
    return (not name.startswith(".") and name != "__pycache__") or name in (".datapkgignore", ".gitignore")


def keep(index: Index, package: str, snapshot: Snapshot, objects: Iterable[Path], result: dict[str, Any]) -> None:
    """Store the result of a build for this snapshot; `objects` are the files that hold the package's objects."""
    paths = sorted({str(path) for path in objects})
    if len(paths) <= MAX_OBJECT_FILES:
        value = {"mark": snapshot.mark, "objects": paths, "result": result}
        index.put_many({f"snapshot:{package}": json.dumps(value).encode("utf-8", "surrogateescape")})


def recall(index: Index, package: str, snapshot: Snapshot) -> dict[str, Any] | None:
    """Return the stored result if the folder's snapshot is equal and all objects are still verified; None otherwise."""
    data = index.get_many([f"snapshot:{package}"]).get(f"snapshot:{package}")
    try:
        value = json.loads(data) if data else {}
        if value.get("mark") != snapshot.mark or not all(index.is_verified(Path(path)) for path in value["objects"]):
            return None
        result = value["result"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if isinstance(result, dict) else None
