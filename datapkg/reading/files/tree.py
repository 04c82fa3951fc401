"""A package as files: what a mount, fsspec and the open hook show.

Groups are folders. A file has its node's name, a table is `NAME.parquet`, one of several objects a folder
`NAME.parquet/` of `NAME-00000.parquet` and so on, an array `NAME.npy`. If another node has that name already, or it
would be too long for a file, a table or array has its node's name.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from datapkg.errors import CorruptObject, NodeNotFound, NotAFile, NotAFolder
from datapkg.format.manifest.parsed import ArrayNode, GroupNode, TableNode
from datapkg.format.names import MAX_NODE_NAME_BYTES, normal_form
from datapkg.format.suggestions import advice
from datapkg.format.texts import quoted
from datapkg.reading.missing.earlier_states import explain

if TYPE_CHECKING:
    from pathlib import Path

    from datapkg.format.manifest.parsed import FileNode, Node
    from datapkg.reading.source import Source

KEPT_ENTRIES = 200_000
SUFFIXES = {"table": ".parquet", "array": ".npy"}


class Entry(NamedTuple):
    """A file or folder: its name in listings, its size in bytes, its node, and its objects.

    A folder has neither size nor objects. `kind` is that of the node, `rows` those of a table or of one part of it.
    """

    name: str
    is_folder: bool
    size: int
    node_path: str
    objects: tuple[tuple[str, int], ...]
    kind: str
    rows: int | None = None


class FileTree:
    """The node at `top` of one state of a package, the whole package if empty, as read-only files and folders.

    Paths are relative to it, with `/` between names. A table or array is also found under its node's name.
    """

    def __init__(self, source: Source, top: str = "") -> None:
        self.source = source
        self.top = top.strip("/")
        self._listings: dict[str, list[Entry]] = {}
        self._groups: dict[str, Entry] = {}

    def look(self, path: str) -> Entry:
        """Return what is at a path, the root for the empty one; raise `NodeNotFound` with close names."""
        full = "/".join(part for part in (self.top, normal_form(path).strip("/")) if part)
        if entry := self._find(full):
            return entry
        raise self._nothing(full)

    def _find(self, full: str) -> Entry | None:
        return self._groups.get(full) or self._of_node(full) or self._with_suffix(full) or self._part(full)

    def _nothing(self, full: str) -> NodeNotFound:
        """Return the error for a path at which there is nothing: it names the folder that exists, and close names."""
        above, name, found = full, "", None
        while not found:  # the root is always there
            above, _, name = above.rpartition("/")
            found = self._find(above)
        where = f"{self.source.ref.package}/{above}".rstrip("/")
        if not found.is_folder:
            return NodeNotFound(f"{where} is a file, not a folder", path=full)
        # Of the whole package: `above` begins at its root, wherever the top of this tree is.
        names = [entry.name for entry in FileTree(self.source).listing(above)]
        error = NodeNotFound(f"{where} has nothing called {quoted(name)}{advice(name, names)}", path=full)
        source = self.source
        return explain(error, source.store, source.ref, source.hash, source.home, suffixes=tuple(SUFFIXES.values()))

    def listing(self, path: str) -> list[Entry]:
        """Return what is in a folder, in the order of the nodes; raise `NodeNotFound`, `NotAFolder`."""
        path = path.strip("/")
        if (found := self._listings.get(path)) is None:
            folder = self.look(path)
            if not folder.is_folder:
                raise NotAFolder(f"{self.shown(path)} is a file, not a folder", path=path)
            node = self.source.entry(folder.node_path)
            found = _parts(node) if isinstance(node, TableNode) else self._children(folder.node_path)
            self._keep(path, found)
        return list(found)

    def open(self, path: str, *, whole: bool = False) -> BinaryIO:
        """Return the bytes of a file as a seekable stream, which the caller closes; `whole` as in `Source.open`.

        Raise `NodeNotFound`, `NotAFile`; `ObjectNotFound`, `CorruptObject` as `Source.open` does.
        """
        entry = self.look(path)
        if entry.is_folder:
            raise self._not_a_file(path)
        ((hash, size),) = entry.objects
        stream = self.source.open(entry.node_path, hash, whole=whole)
        try:
            # Listings and the kernel of a mount have the size of the manifest.
            if (found := stream.seek(0, io.SEEK_END)) != size:
                difference = f"the manifest says {size:,} bytes, and the object has {found:,}"
                raise CorruptObject(f"{self.shown(path)}: {difference}; they were not used", hash=hash)
            stream.seek(0)
        except BaseException:
            stream.close()
            raise
        return stream

    def local_path(self, path: str) -> Path:
        """Return a real, read-only file with the bytes of a file here, for readers that need one.

        It may have another name, with the same suffix. Raise what `open` does, and `Refused`.
        """
        entry = self.look(path)
        if entry.is_folder:
            raise self._not_a_file(path)
        node = self.source.entry(entry.node_path)
        assert node is not None
        assert not isinstance(node, GroupNode)
        place = self.source.path(node)
        if not isinstance(node, TableNode) or len(node.blocks) == 1:
            return place
        from datapkg.store.links import link_names

        return place / link_names(node)[_number(entry.name)]

    def shown(self, path: str) -> str:
        """Return a path here as messages name it, with the package before it."""
        return "/".join(part for part in (self.source.ref.package, self.top, path.strip("/")) if part)

    def _not_a_file(self, path: str) -> NotAFile:
        return NotAFile(f"{self.shown(path)} is a folder, not a file", path=path)

    def _of_node(self, full: str) -> Entry | None:
        """Return the node with exactly this path: every group and file, and tables and arrays without suffix."""
        if full and (node := self.source.entry(full)):
            return self._entry(node)
        return self._groups.setdefault(full, _folder(full)) if self.source.kind(full) else None

    def _with_suffix(self, full: str) -> Entry | None:
        for kind, suffix in SUFFIXES.items():
            node = self.source.entry(full.removesuffix(suffix)) if full.endswith(suffix) else None
            if node and node.kind == kind and (entry := self._entry(node)).name == full.rpartition("/")[2]:
                return entry
        return None

    def _part(self, full: str) -> Entry | None:
        """Return one of the files of a table of several objects."""
        above, _, name = full.rpartition("/")
        folder = (self._of_node(above) or self._with_suffix(above)) if above else None
        node = self.source.entry(folder.node_path) if folder and folder.is_folder else None
        if not isinstance(node, TableNode) or not 0 <= (number := _number(name)) < len(node.blocks):
            return None
        return _part_of(node, number) if name == _part_name(node, number) else None

    def _entry(self, node: Node) -> Entry:
        if isinstance(node, GroupNode):
            return _folder(node.path)
        suffix = SUFFIXES.get(node.kind)
        return _shown_as(node, bool(suffix and self.source.kind(node.path + suffix)))

    def _children(self, group: str) -> list[Entry]:
        start = len(group) + 1 if group else 0
        found: dict[str, TableNode | FileNode | ArrayNode | None] = {}
        for node in self.source.manifest.below(group):
            if node.path != group:
                name, deeper, _ = node.path[start:].partition("/")
                found[name] = None if deeper or isinstance(node, GroupNode) else node
        return [
            _shown_as(node, name + SUFFIXES.get(node.kind, "/") in found)
            if node
            else _folder(f"{group}/{name}" if group else name)
            for name, node in found.items()
        ]

    def _keep(self, path: str, entries: list[Entry]) -> None:
        """Cache a listing; evict the oldest if there are too many entries."""
        self._listings[path] = entries
        for old in list(self._listings)[:-1]:
            if sum(map(len, list(self._listings.values()))) <= KEPT_ENTRIES:
                break
            self._listings.pop(old, None)


def _folder(path: str) -> Entry:
    return Entry(path.rpartition("/")[2], True, 0, path, (), "group" if path else "package")


def _shown_as(node: TableNode | FileNode | ArrayNode, is_taken: bool) -> Entry:
    """Return a node as a file or folder; `is_taken` if another node has this one's name with its suffix."""
    name = node.path.rpartition("/")[2]
    longer = name + SUFFIXES.get(node.kind, "")
    if not is_taken and len(longer.encode()) <= MAX_NODE_NAME_BYTES:
        name = longer
    if isinstance(node, TableNode):
        if len(node.blocks) > 1:
            return Entry(name, True, 0, node.path, (), "table", node.rows)
        hash, size = node.blocks[0].hash, node.blocks[0].size
        return Entry(name, False, size, node.path, ((hash, size),), "table", node.rows)
    return Entry(name, False, node.size, node.path, ((node.hash, node.size),), node.kind)


def _parts(node: TableNode) -> list[Entry]:
    return [_part_of(node, number) for number in range(len(node.blocks))]


def _part_of(node: TableNode, number: int) -> Entry:
    block = node.blocks[number]
    objects = ((block.hash, block.size),)
    return Entry(_part_name(node, number), False, block.size, node.path, objects, "table", block.rows)


def _part_name(node: TableNode, number: int) -> str:
    name = f"{node.path.rpartition('/')[2]}-{number:05}.parquet"
    return name if len(name.encode()) <= MAX_NODE_NAME_BYTES else f"part-{number:05}.parquet"


def _number(name: str) -> int:
    """Return the number at the end of the name of one part of a table, or -1."""
    digits = name.removesuffix(".parquet").rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 9 else -1
