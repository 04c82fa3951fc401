"""Whether anything in a folder changed since a package was built from it: one look at names and stats, no file read.

Light on purpose: most builds of a project that is worked on find nothing to do, and should say so at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from datapkg.building.spec.library_folders import installed_by
from datapkg.format.frozen import dataclass
from datapkg.store.index import TICK_NS, Index, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_ENTRIES = 200_000
MAX_OBJECT_FILES = 2_000


@dataclass(frozen=True)
class Snapshot:
    """What a folder looked like: a hash over all names and stats, and the paths of the files in it."""

    mark: str
    files: frozenset[str]

    def holds(self, paths: Iterable[Path]) -> bool:
        """Return whether all these files were seen."""
        return all(os.path.abspath(path) in self.files for path in paths)


def take_snapshot(folder: Path, settings: Iterable[object]) -> Snapshot | None:
    """Look at a folder, as it is built with these settings.

    None where a look cannot tell: links to folders, very many files, or one that changed only just now.
    """
    at = time.time_ns()
    sha256 = hashlib.sha256(json.dumps([str(each) for each in settings]).encode())
    files: list[str] = []
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
                    files.append(entry.path)
                    sha256.update(f"{entry.path}\0{now}\0".encode("utf-8", "surrogateescape"))
            if len(files) > MAX_ENTRIES:
                return None
    except OSError:
        return None
    return Snapshot(sha256.hexdigest(), frozenset(files)) if newest + TICK_NS < at else None


def versions() -> list[str]:
    """Return the versions of the libraries that have a say in what a build makes, as cheaply as can be told."""
    found = []
    for name in ("pandas", "pyarrow", "numpy", "python_calamine", "pyreadstat"):
        folders = (Path(each) for each in sys.path)
        found += sorted(path.name for folder in folders for path in folder.glob(f"{name}-*.dist-info"))
    return found


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _matters(name: str) -> bool:
    """Return whether a build would look at what is called so (`building/spec/folder_files`), or reads rules from it."""
    return (not name.startswith(".") and name != "__pycache__") or name in (".datapkgignore", ".gitignore")


def keep(index: Index, package: str, snapshot: Snapshot, objects: Iterable[Path], result: dict[str, Any]) -> None:
    """Remember what was built from a folder as it looked before; `objects` are the files that hold the objects."""
    paths = sorted({str(path) for path in objects})
    if len(paths) <= MAX_OBJECT_FILES:
        value = {"mark": snapshot.mark, "objects": paths, "result": result}
        index.put_many({f"snapshot:{package}": json.dumps(value).encode("utf-8", "surrogateescape")})


def recall(index: Index, package: str, snapshot: Snapshot) -> dict[str, Any] | None:
    """Return what was built from a folder that looks the same, if all its objects lie as they did; else None."""
    data = index.get_many([f"snapshot:{package}"]).get(f"snapshot:{package}")
    try:
        value = json.loads(data) if data else {}
        if value.get("mark") != snapshot.mark or not all(index.is_verified(Path(path)) for path in value["objects"]):
            return None
        result = value["result"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return result if isinstance(result, dict) else None
