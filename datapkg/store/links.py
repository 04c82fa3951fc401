"""Read-only paths for objects with their original file names, because readers look at suffixes.

Paths are `links/<package hash>/<16 digits of a hash of the node's path>/<file name>`; a table of several objects is a
folder. Files are symbolic links to objects, or copies of packed ones: a hard link would change the object's change
time, and with it the entry in the index.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from datapkg.errors import DatapkgError, Refused
from datapkg.format.hashing import check_hash, hash_bytes
from datapkg.format.manifest.parsed import ArrayNode, FileNode, TableNode
from datapkg.objects.files import temp_path
from datapkg.objects.pack_file import hash_file
from datapkg.store.verified import VerifiedObjects


class Links:
    """A folder of links to the objects of a store: inside it or, if the store is read-only, elsewhere."""

    def __init__(self, folder: Path, objects: VerifiedObjects) -> None:
        self.folder = Path(folder)
        self.objects = objects

    def path(self, package_hash: str, node: TableNode | FileNode | ArrayNode) -> Path:
        """Return a path of this node's bytes, created if missing: a file, or a folder for several objects.

        Raise `ObjectNotFound`, `CorruptObject`; `Refused` if no file can be created.
        """
        folder = self.folder / check_hash(package_hash) / hash_bytes(node.path.encode())[:16]
        names = link_names(node)
        try:
            for name, (hash, _) in zip(names, node.objects(), strict=True):
                self._link(hash, folder / name)
        except OSError as error:
            if isinstance(error, DatapkgError):
                raise
            message = f"no file can be made in {self.folder}: {error.strerror}"
            raise Refused(message, hint="set DATAPKG_HOME to a folder that can be written") from error
        return folder / names[0] if len(names) == 1 else folder

    def _link(self, hash: str, link: Path) -> None:
        place = self.objects.trusted(hash)
        # An object of an open batch gets another path when the batch ends, so it is copied too.
        if place.pack is None and not self.objects.is_unnamed(place):
            target = os.path.relpath(place.path, link.parent)
            if _readlink(link) != target:
                _make_folder(link)
                temp = temp_path(self.folder / "tmp", "link")
                temp.symlink_to(target)
                os.replace(temp, link)
        elif not _has_hash(link, hash):
            _make_folder(link)
            self.objects.copy_to(hash, link, self.folder / "tmp")


def _has_hash(copy: Path, hash: str) -> bool:
    """Return whether a copy is right, by reading it: packed objects are small, and copies are not synced."""
    try:
        return hash_file(copy) == hash
    except FileNotFoundError:
        return False


def link_names(node: TableNode | FileNode | ArrayNode) -> list[str]:
    """Return the file names for a node's objects: its original name, with the suffix of the objects' format."""
    own = node.file_name or node.path.rpartition("/")[2]
    if isinstance(node, FileNode):
        return [own]
    stem = PurePosixPath(own).stem or own
    if isinstance(node, ArrayNode):
        return [f"{stem}.npy"]
    if len(node.blocks) == 1:
        return [f"{stem}.parquet"]
    return [f"{stem}-{number:05}.parquet" for number in range(len(node.blocks))]


def _make_folder(link: Path) -> None:
    link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _readlink(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None
