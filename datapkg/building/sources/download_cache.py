"""Cache downloaded files by hash, under their own name, so that the next build of any package needs no network.

Downloads are not objects of the store: they keep their names because readers look at suffixes. All of the cache may be
deleted at any time. A file counts as verified while its stat does not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from datapkg.format.hashing import copy_hashed
from datapkg.objects.files import naming, new_file, rename, seal, sweep_temp, sync_file, temp_path
from datapkg.store.index import Index, seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STALE_PIECES_S = 14 * 24 * 3600  # longer than for other temporary files: the next build resumes them


@dataclass(frozen=True)
class FetchedFile:
    """A local file with its hash, its name in messages (`shown`) and its entry for the build record."""

    path: Path
    hash: str
    shown: str
    record: dict[str, Any] = field(default_factory=dict)


class DownloadCache:
    """The download cache: `FOLDER/ab/abcd…/name` for each file; partial downloads are in `FOLDER/pieces`."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index
        self.pieces = folder / "pieces"
        self._tmp = folder / "tmp"

    def find(self, hash: str, name: str) -> Path | None:
        """Return the cached file with this hash under this name, linked from another name if needed; else None."""
        folder = self._of(hash)
        path = folder / name
        if not path.exists() and not self._named_like_another(folder, path):
            return None
        return path if self._is_right(path, hash) else None

    def keep(self, temp: Path, hash: str, name: str) -> Path:
        """Move a complete file with this hash, on the same file system, into the cache; return its path."""
        path = self._of(hash) / name
        # Before it has its name: a row of the index says that it is verified, and may survive a power cut.
        with temp.open("rb+") as file:
            seal(file)
            sync_file(file)
        rename(temp, path)
        self.index.mark_verified([path])
        return path

    def put(self, stream: Any, name: str, limit_bytes: int) -> tuple[str, Path]:
        """Cache the bytes of a stream; return hash and path. Raise `OverflowError` for more than `limit_bytes`."""
        temp = self.temp()
        try:
            with naming(temp), new_file(temp) as file:
                hash, _ = copy_hashed(stream, file, limit_bytes)
            return hash, self.find(hash, name) or self.keep(temp, hash, name)
        finally:
            temp.unlink(missing_ok=True)

    def keep_validator(self, url: str, hash: str, validator: str) -> None:
        """Keep the ETag or Last-Modified with which a file at a URL had this hash; the URL itself is not kept."""
        if validator:
            self.index.put_many({_validator_key(url): json.dumps([hash, validator]).encode()})

    def validator_of(self, url: str, hash: str) -> str:
        """Return the ETag or Last-Modified that the file at a URL had with this hash; "" if it is not known."""
        key = _validator_key(url)
        try:
            kept, validator = json.loads(self.index.get_many([key]).get(key, b"null"))
        except (ValueError, TypeError):
            return ""
        return validator if kept == hash and isinstance(validator, str) else ""

    def temp(self) -> Path:
        """Return a path for a temporary file, creating the folder and deleting stale files of killed builds."""
        sweep_temp(self._tmp)
        sweep_temp(self.pieces, _STALE_PIECES_S)
        return temp_path(self._tmp, "fetch")

    def _of(self, hash: str) -> Path:
        return self.folder / hash[:2] / hash

    def _named_like_another(self, folder: Path, path: Path) -> bool:
        """Link the file to this name if it is cached under another name; return whether it is."""
        with contextlib.suppress(OSError):
            for other in sorted(os.listdir(folder)):
                os.link(folder / other, path, follow_symlinks=False)
                return True
        return False

    def _is_right(self, path: Path, hash: str) -> bool:
        """Return whether a file matches its hash; delete it if not."""
        if path.is_symlink():
            path.unlink(missing_ok=True)
            return False
        if self.index.is_verified(path):
            return True
        try:
            before = seen(path)
            with path.open("rb", buffering=0) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return False
        if found != hash:
            path.unlink(missing_ok=True)
            return False
        self.index.mark_seen({path: before})
        return True


def _validator_key(url: str) -> str:
    return f"validator:{hashlib.sha256(url.encode()).hexdigest()}"
