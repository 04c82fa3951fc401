"""Cache copies of tables in a format that is faster to read; a copy is used only while its file is unchanged."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from datapkg.format.frozen import dataclass
from datapkg.objects.files import rename, seal, sweep_temp, sync_file, temp_path, write_atomic
from datapkg.store.index import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_COPY, _NOTE = ".arrow", ".json"


@dataclass(frozen=True)
class CachedTable:
    """A copy and the table that it was made from; it is read only if it is `whole`, unchanged since it was verified."""

    key: str
    package: str
    path: str
    rows: int
    size_bytes: int
    whole: bool


class ArrowCache:
    """A folder of copies by key; safe for threads and many processes, even if one is killed."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self._tmp = folder / "tmp"
        self._index = index

    def find(self, key: str) -> Path | None:
        """Return the copy with this key, if there is a valid one."""
        path = self.folder / f"{key}{_COPY}"
        return path if self._index.is_verified(path) else None

    @contextlib.contextmanager
    def writing(self, key: str, package: str, path: str, rows: int) -> Iterator[Path]:
        """Yield a path to write a copy to, which gets its final name when the block ends; a failed copy is deleted."""
        sweep_temp(self._tmp)
        temp, place = temp_path(self._tmp, "copy"), self.folder / f"{key}{_COPY}"
        try:
            yield temp
            with open(temp, "rb+") as file:
                seal(file)
                # Before the index says that it is verified: a power cut could leave its size without its bytes.
                sync_file(file)
            note = json.dumps({"package": package, "path": path, "rows": rows})
            # Before the copy gets its name: `list` could not tell which table a copy without a note is of.
            write_atomic(self.folder / f"{key}{_NOTE}", note.encode(), self._tmp)
            rename(temp, place)
            self._index.mark_verified([place])
        finally:
            temp.unlink(missing_ok=True)

    def list(self) -> list[CachedTable]:
        """Return all copies, ordered by package and path."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_COPY):
                    key = entry.name.removesuffix(_COPY)
                    with contextlib.suppress(OSError):
                        found.append(self._copy(key, entry.stat().st_size))
        return sorted(found, key=lambda each: (each.package, each.path, each.key))

    def _copy(self, key: str, size_bytes: int) -> CachedTable:
        note: Any = {}
        with contextlib.suppress(OSError, ValueError, RecursionError):
            note = json.loads((self.folder / f"{key}{_NOTE}").read_bytes())
        note = note if isinstance(note, dict) else {}
        rows = note.get("rows")
        return CachedTable(
            key,
            str(note.get("package", "")),
            str(note.get("path", "")),
            rows if isinstance(rows, int) else 0,
            size_bytes,
            self.find(key) is not None,
        )

    def remove(self, key: str) -> None:
        """Remove a copy; open readers keep working."""
        for suffix in (_COPY, _NOTE):
            (self.folder / f"{key}{suffix}").unlink(missing_ok=True)
