"""The trash of a store: files that a process freeing space has moved away and not deleted yet (`deletion`).

An object that is needed is in there while that process looks again, and for longer if it was killed. So a question that
finds an object nowhere else brings it back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.format.hashing import is_hash
from datapkg.objects.files import UNWRITABLE, rename
from datapkg.objects.pack_file import Pack, PackLocation
from datapkg.objects.packs import PackedObjects
from datapkg.store.small_files import names

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = "trash"


class StoredObjects(PackedObjects):
    """The packed objects of a store; what is asked for and is in the trash is put back."""

    def writer(self) -> StoredObjects:
        return StoredObjects(self.folder, self._named)

    def missing_whole(self, hashes: Iterable[str]) -> set[str]:
        absent = super().missing_whole(hashes)
        return super().missing_whole(absent) if absent and put_back(self, absent) else absent

    def locate(self, hash: str) -> PackLocation:
        try:
            return super().locate(hash)
        except ObjectNotFound:
            if not put_back(self, [hash]):
                raise
            return super().locate(hash)

    def places(self, hash: str, start: int = 0, stop: int | None = None) -> list[PackLocation]:
        try:
            return super().places(hash, start, stop)
        except ObjectNotFound:
            if not put_back(self, [hash]):
                raise
            return super().places(hash, start, stop)


def homes(packed: PackedObjects) -> dict[str, Callable[[str], Path]]:
    """Return where an object may be a file of its own, by the name of its folder in the trash."""
    return {"objects": packed.loose.path, "recipes": packed.recipes.path}


def put_back(packed: PackedObjects, hashes: Collection[str]) -> bool:
    """Restore the files of these objects; return whether there was one."""
    trash, is_found = packed.folder / FOLDER, False
    for kind, home in homes(packed).items():
        for name in names(trash / kind):
            if name in hashes:
                is_found |= restore(packed, trash / kind / name, home(name))
    packs = names(trash / "packs")
    digests = {bytes.fromhex(hash) for hash in hashes} if packs else set()
    for name in packs:
        # One that is deleted just now, or damaged, restores nothing.
        with contextlib.suppress(CorruptObject, FileNotFoundError):
            if Pack(trash / "packs" / name).among(digests):
                is_found |= restore(packed, trash / "packs" / name, packed.packs_folder / name)
    return is_found


def put_all_back(packed: PackedObjects) -> None:
    """Restore the files moved by a run that was killed; what is still garbage is found again."""
    trash = packed.folder / FOLDER
    for kind, home in homes(packed).items():
        for name in filter(is_hash, names(trash / kind)):
            restore(packed, trash / kind / name, home(name))
    for name in names(trash / "packs"):
        restore(packed, trash / "packs" / name, packed.packs_folder / name)


def restore(packed: PackedObjects, path: Path, home: Path) -> bool:
    """Move a file out of the trash; return False if another process has deleted or moved it.

    A file that took its name meanwhile has the same bytes. In a store that cannot be written, nothing is moved.
    """
    try:
        rename(path, home)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return False
    if home.suffix == ".pack":
        packed.look_again()
    return True
