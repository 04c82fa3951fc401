"""Files taken out of a home of objects, kept for a while so that an object that is needed again can be put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from datapkg.errors import CorruptObject, NotFound
from datapkg.format.hashing import is_hash
from datapkg.objects.blobs.base import BlobInfo
from datapkg.objects.bucket_packs import read_index
from datapkg.objects.cloud import single_key
from datapkg.objects.pack_file import Pack
from datapkg.objects.packs import PackedObjects

PREFIX = "trash/"


class Trash:
    """The keys `trash/…` of a home, laid out like the home. A move is a rename, so a kill leaves every file whole.

    The time of a file is when it was moved here. While there may be files, the folder `trash` exists, which is one
    of this machine also where the home is a bucket.
    """

    def __init__(self, home: PackedObjects) -> None:
        self.folder = home.folder / "trash"
        self._home = home
        self._packs: dict[str, Pack] = {}

    def move(self, key: str) -> None:
        """Move a file of the home here; one that is gone is not an error."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(NotFound):
            self._home.blobs.rename(key, PREFIX + key)

    def files(self) -> Iterator[tuple[BlobInfo, list[str]]]:
        """Yield each file with the hashes of the objects in it; none for a pack that cannot be read."""
        for each in self._home.blobs.list(PREFIX):
            yield each, list(self._hashes_in(each))

    def _hashes_in(self, file: BlobInfo) -> Iterator[str]:
        kind, _, name = file.key.removeprefix(PREFIX).partition("/")
        if kind == "objects" and is_hash(name.replace("/", "", 1)):
            yield name.replace("/", "", 1)
        with contextlib.suppress(CorruptObject, NotFound):
            if kind == "packs":
                yield from (digest.hex() for digest in self._pack(file).hashes())

    def _pack(self, file: BlobInfo) -> Pack:
        if file.key not in self._packs:
            self._packs[file.key] = read_index(self._home.blobs, file.key, file.size)
        return self._packs[file.key]

    def restore(self, hashes: Iterable[str]) -> set[str]:
        """Put back the files that have those of the objects that the home lacks; return those that are nowhere."""
        missing = self._home.missing(hashes)
        if not missing or not self.folder.is_dir():
            return missing
        for hash in missing:
            with contextlib.suppress(NotFound):
                self._home.blobs.rename(PREFIX + single_key(hash), single_key(hash))
        digests = {bytes.fromhex(hash) for hash in missing}
        for file in list(self._home.blobs.list(f"{PREFIX}packs/")):
            with contextlib.suppress(CorruptObject, NotFound):
                if any(map(self._pack(file).find, digests)):
                    self._home.blobs.rename(file.key, f"packs/{PurePosixPath(file.key).name}")
                    self._home.look_again()
        return self._home.missing(missing)

    def delete(self, key: str) -> None:
        """Delete a file here."""
        self._home.blobs.delete(key)
        self._packs.pop(key, None)

    def remove_folders(self) -> None:
        """Remove the folder if nothing is here, so that `restore` has nothing to look for."""
        self._home.blobs.remove_empty(PREFIX)
        if next(self._home.blobs.list(PREFIX), None) is None:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
