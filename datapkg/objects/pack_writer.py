"""Writing of a pack, in the form that `pack_file` describes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from datapkg.objects.files import naming, new_file, seal, write_all
from datapkg.objects.pack_file import MAGIC


class PackWriter:
    """A pack that is being written, in a temporary file."""

    def __init__(self, temp: Path) -> None:
        self.temp = temp
        self.file: IO[bytes] = new_file(temp, buffering=0)
        self.entries: dict[bytes, tuple[int, int]] = {}
        self.size = 0
        self._sha256 = hashlib.sha256()
        try:
            self._write(MAGIC)
        except BaseException:
            self.discard()
            raise

    def _write(self, data: bytes) -> None:
        """All of these bytes or, where that fails, none of them: what was written before may still be used."""
        with naming(self.temp):
            try:
                write_all(self.file, data)
            except BaseException:
                # A half-written object would shift the offsets of all later ones.
                self.file.seek(self.size)
                self.file.truncate()
                raise
        self._sha256.update(data)
        self.size += len(data)

    def discard(self) -> None:
        """Close and delete the temporary file."""
        self.file.close()
        self.temp.unlink(missing_ok=True)

    def add(self, bodies: Mapping[bytes, bytes]) -> None:
        """Add new objects by the 32 bytes of their hashes, in one write: all of them or, where that fails, none."""
        at = self.size
        self._write(b"".join(bodies.values()))
        for digest, data in bodies.items():
            self.entries[digest] = at, len(data)
            at += len(data)

    def finish(self) -> str:
        """Write the index and close the file; return the pack's hash."""
        rows = b"".join(
            digest + offset.to_bytes(8, "little") + size.to_bytes(8, "little")
            for digest, (offset, size) in sorted(self.entries.items())
        )
        self._write(rows + len(self.entries).to_bytes(8, "little") + MAGIC)
        # No sync here: the batch syncs all its files at once before it names them.
        seal(self.file)
        self.file.close()
        return self._sha256.hexdigest()
