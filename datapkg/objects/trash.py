"""Files taken out of a home of objects, kept for a while so that an object that is needed again can be put back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.objects.files import rename, sync_folder
from datapkg.objects.pack_file import Pack
from datapkg.objects.packs import PackedObjects


class Trash:
    """The folder `trash/` of a home, laid out like the home. A move is one rename, so a kill leaves every file whole.

    The change time of a file tells when it was moved here.
    """

    def __init__(self, home: PackedObjects) -> None:
        self.folder = home.folder / "trash"
        self._home = home
        self._kept = PackedObjects(self.folder)

    def move(self, path: Path) -> None:
        """Move a file of the home here; one that is gone is no error."""
        with contextlib.suppress(FileNotFoundError):
            rename(path, self.folder / path.relative_to(self._home.folder))

    def files(self) -> Iterator[tuple[Path, list[str]]]:
        """Yield each file with the hashes of the objects in it; none for a pack that cannot be read."""
        for hash in list(self._kept.loose):
            yield self._kept.loose.path(hash), [hash]
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(self._kept.packs_folder.iterdir()):
                hashes: list[str] = []
                with contextlib.suppress(CorruptObject, FileNotFoundError):
                    hashes = [digest.hex() for digest in Pack(path).hashes()]
                yield path, hashes

    def restore(self, hashes: Iterable[str]) -> set[str]:
        """Put back the files that have those of the objects that the home lacks; return those that are nowhere."""
        missing = self._home.missing(hashes)
        for hash in missing:
            with contextlib.suppress(ObjectNotFound):
                found = self._kept.locate(hash).path
                place = self._home.folder / found.relative_to(self.folder)
                if not place.exists():  # a pack may have come back for another object already
                    # Synced as a new object is: the caller refers to it as soon as this returns.
                    rename(found, place)
                    sync_folder(place.parent)
        return self._home.missing(missing) if missing else missing

    def remove_folders(self) -> None:
        """Remove the folders here that are empty, so that `restore` has nothing to look for."""
        for folder, _, _ in os.walk(self.folder, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
