"""What was fetched, kept by its hash under its own name: the next build, of whatever package, needs no network for it.

A cache: all of it may be removed at any time. A file counts as verified while its stat does
not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from datapkg.format.hashing import copy_hashed
from datapkg.objects.files import naming, new_file, rename, seal, sweep_temp, temp_path
from datapkg.store.index import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STALE_PIECES_S = 14 * 24 * 3600


@dataclass(frozen=True)
class FetchedFile:
    """A file on this machine, its hash, and what messages (`shown`) and the build record call it."""

    path: Path
    hash: str
    shown: str
    record: dict[str, Any] = field(default_factory=dict)


class DownloadCache:
    """`FOLDER/ab/abcd…/name` for each file; pieces of downloads lie in `FOLDER/pieces`."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index
        self.pieces = folder / "pieces"
        self._tmp = folder / "tmp"

    def find(self, hash: str, name: str) -> Path | None:
        """Return the file with these bytes, under this name (it may have been kept under another).

        None if it is not here.
        """
        folder = self._of(hash)
        path = folder / name
        if not path.exists() and not self._named_like_another(folder, path):
            return None
        return path if self._is_right(path, hash) else None

    def keep(self, temp: Path, hash: str, name: str) -> Path:
        """Move a complete file of these bytes, which is on the same disk, to its path."""
        path = self._of(hash) / name
        with temp.open("rb+") as file:
            seal(file)
        rename(temp, path)
        self.index.mark_verified([path])
        return path

    def put(self, stream: Any, name: str, limit_bytes: int) -> tuple[str, Path]:
        """Keep what a stream gives, whose `read` is asked; raise `OverflowError` for more than `limit_bytes`."""
        temp = self.temp()
        try:
            with naming(temp), new_file(temp) as file:
                hash, _ = copy_hashed(stream, file, limit_bytes)
            return hash, self.find(hash, name) or self.keep(temp, hash, name)
        finally:
            temp.unlink(missing_ok=True)

    def temp(self) -> Path:
        """Return a name for a file to be kept later; make the folder, and remove what killed builds left there."""
        sweep_temp(self._tmp)
        sweep_temp(self.pieces, _STALE_PIECES_S)
        return temp_path(self._tmp, "fetch")

    def _of(self, hash: str) -> Path:
        return self.folder / hash[:2] / hash

    def _named_like_another(self, folder: Path, path: Path) -> bool:
        """Link the file to this name if the same bytes are here under another; return whether it did."""
        with contextlib.suppress(OSError):
            for other in sorted(os.listdir(folder)):
                os.link(folder / other, path, follow_symlinks=False)
                return True
        return False

    def _is_right(self, path: Path, hash: str) -> bool:
        """Return whether a file holds the bytes of its hash; one that does not is removed."""
        if path.is_symlink():
            path.unlink(missing_ok=True)
            return False
        if self.index.is_verified(path):
            return True
        try:
            with path.open("rb", buffering=0) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return False
        if found != hash:
            path.unlink(missing_ok=True)
            return False
        self.index.mark_verified([path])
        return True
