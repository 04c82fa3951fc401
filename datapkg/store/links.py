"""Read-only paths for objects, with their original file names: readers look at suffixes.

`links/<package hash>/<16 digits that stand for the node>/<file name>`; a table of several objects is a folder of them.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from datapkg.errors import DatapkgError, Refused
from datapkg.format.hashing import check_hash, hash_bytes
from datapkg.format.manifest.parsed import ArrayNode, FileNode, TableNode
from datapkg.objects.files import temp_path
from datapkg.store.verified import VerifiedObjects


class Links:
    """A folder of links to the objects of a store, in it or, where that is only read, elsewhere."""

    def __init__(self, folder: Path, objects: VerifiedObjects) -> None:
        self.folder = Path(folder)
        self.objects = objects

    def path(self, package_hash: str, node: TableNode | FileNode | ArrayNode) -> Path:
        """A path of this node's bytes, its file made where it is not there: a file, or a folder for several objects.

        Raise `ObjectNotFound`, `CorruptObject`; `Refused` where no file can be made.
        """
        folder = self.folder / check_hash(package_hash) / hash_bytes(node.path.encode())[:16]
        names = link_names(node)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        if place.pack is None:
            target = os.path.relpath(place.path, link.parent)
            if _readlink(link) != target:
                temp = temp_path(self.folder / "tmp", "link")
                temp.symlink_to(target)
                os.replace(temp, link)
        elif not self.objects.index.is_verified(link):
            self.objects.copy_to(hash, link, self.folder / "tmp")
            self.objects.index.mark_verified([link])


def link_names(node: TableNode | FileNode | ArrayNode) -> list[str]:
    """The file names under which a node's objects are linked: its original one, with the suffix of what they are."""
    own = node.file_name or node.path.rpartition("/")[2]
    if isinstance(node, FileNode):
        return [own]
    stem = PurePosixPath(own).stem or own
    if isinstance(node, ArrayNode):
        return [f"{stem}.npy"]
    if len(node.blocks) == 1:
        return [f"{stem}.parquet"]
    return [f"{stem}-{number:05}.parquet" for number in range(len(node.blocks))]


def _readlink(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None
