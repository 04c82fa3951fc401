"""The lock files that were used on this machine: `gc` keeps what they pin, wherever their projects are."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from datapkg.format.hashing import hash_bytes
from datapkg.objects.files import write_atomic

_HASH = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class KnownLocks:
    """A folder with one small file for each lock file, which has its path; many processes may add to it."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self.folder = folder
        self.tmp = tmp

    def note(self, lock: Path | str) -> None:
        """Remember the path of a lock file; do nothing where there is no store yet, or one that cannot be written."""
        path = os.path.realpath(lock)
        place = self.folder / hash_bytes(os.fsencode(path))[:16]
        if self.folder.parent.is_dir() and not place.exists():
            with contextlib.suppress(OSError):
                write_atomic(place, os.fsencode(path), self.tmp)

    def paths(self) -> dict[Path, Path]:
        """Return the path of each known lock file by the file here that has it."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for place in sorted(self.folder.iterdir()):
                with contextlib.suppress(OSError):
                    found[place] = Path(os.fsdecode(place.read_bytes()))
        return found

    def pinned(self) -> set[str]:
        """Return every hash in a known lock file; also in one that has conflict markers, so that both sides count."""
        found: set[str] = set()
        for path in self.paths().values():
            with contextlib.suppress(OSError):
                # What became a pipe would make every `gc` wait.
                if not path.is_file():
                    continue
                found.update(match.decode() for match in _HASH.findall(path.read_bytes()))
        return found

    def gone(self) -> list[Path]:
        """Return the files here whose lock file was deleted, that is, whose folder is still there."""
        # If the folder is missing too, its disk may just not be mounted.
        return [here for here, path in self.paths().items() if path.parent.is_dir() and not path.exists()]
