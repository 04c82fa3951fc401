"""The file that a download writes: the piece of an earlier try is continued, limits and free space are checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from datapkg.errors import BuildFailed, Unreachable
from datapkg.format.texts import quoted
from datapkg.format.urls import without_credentials
from datapkg.objects.files import naming, sync_file, write_all
from datapkg.objects.free_space import check_space
from datapkg.objects.progress import DOWNLOADING, Progress
from datapkg.remote.time_limits import SlowTransferGuard

SPARE_BYTES = 64 << 20
"""A download leaves this much of the disk free, which is checked again each time as much has arrived."""


@dataclass(frozen=True)
class Downloaded:
    """The sum and size of a file that came, and how many of its bytes were here from a try before."""

    hash: str
    size_bytes: int
    resumed_bytes: int = 0


def noted_validator(path: Path) -> str:
    """Return the validator in the note beside a file that was downloaded, or of which a piece is here; "" for none."""
    try:
        value = json.loads(path.with_name(f"{path.name}.json").read_bytes())["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return value if isinstance(value, str) and value.isprintable() else ""


class DownloadFile:
    """A file that becomes what is at an address, with a note beside it on which version of it this is a piece of."""

    def __init__(self, url: str, path: Path, limit_bytes: int, progress: Progress) -> None:
        self.shown, self.path, self._limit_bytes, self._progress = without_credentials(url), path, limit_bytes, progress
        self._notes = path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        """How many bytes are here."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @property
    def validator(self) -> str:
        """The validator of the version of which a piece is here, to compare with the address; "" without one."""
        return noted_validator(self.path)

    def forget(self) -> None:
        """Delete the piece and its note."""
        self._notes.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def complete(self) -> Downloaded:
        """Return what is here as the whole file."""
        size = self.size
        return Downloaded(_hash_of(self.path, size).hexdigest(), size, size)

    def receive(self, pieces: Iterable[bytes], start: int, total: int, validator: str) -> Downloaded:
        """Write the pieces from `start` on; `total` is the size of the whole, 0 if it is not known."""
        self._check_size(total)
        check_space(self.path.parent, max(total - start, 0) + SPARE_BYTES, "a download")
        # The validator of the old piece would vouch for the bytes of the new one.
        if not start:
            self.forget()
            # Before the bytes: after a kill, a piece without a note could not be continued.
            if validator and len(validator) <= 1_000:
                self._notes.write_text(json.dumps({"validator": validator}), encoding="utf-8")
        with naming(self.path), open(self.path, "ab", buffering=0) as file:
            sha256 = _hash_of(self.path, start) if start else hashlib.sha256()
            size = checked = start
            pace = SlowTransferGuard(self.shown)
            for piece in pieces:
                # Hashed on the way: a second read of a large file takes as long as the download from a near server.
                sha256.update(piece)
                write_all(file, piece)
                size += len(piece)
                pace.add(len(piece))
                self._check_size(size)
                if size >= checked + SPARE_BYTES:  # a server need not state the length of a file
                    check_space(self.path.parent, SPARE_BYTES, "a download")
                    checked = size
                self._progress(DOWNLOADING, size, total)
            sync_file(file)
        return Downloaded(sha256.hexdigest(), size, start)

    def _check_size(self, size: int) -> None:
        if size > self._limit_bytes:
            self.forget()
            raise BuildFailed(
                f"{self.shown} has more than {self._limit_bytes:,} bytes, the limit set by max_source_bytes",
                hint=f"datapkg config max_source_bytes {max(size, 2 * self._limit_bytes)}",
            )


def _hash_of(path: Path, size: int) -> Any:
    """Return the running sha256 of a file, which must be `size` bytes long."""
    with path.open("rb", buffering=0) as file:
        sha256 = hashlib.sha256()
        count = _update(sha256, file)
    if count != size:
        raise Unreachable(f"{quoted(path.name)} changed while it was downloaded; somebody else writes to it")
    return sha256


def _update(sha256: Any, file: BinaryIO) -> int:
    count = 0
    while piece := file.read(1 << 20):
        sha256.update(piece)
        count += len(piece)
    return count
