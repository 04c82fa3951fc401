"""The inputs of stages: their identity, by content, and their files at fresh paths."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapkg.building.sources.base import FindPackage, KnownHashes
from datapkg.building.sources.file import known_hash, open_source
from datapkg.building.spec.folder_files import walk
from datapkg.building.spec.ignore_rules import left_out_by
from datapkg.building.spec.model import FileSource, StageInput
from datapkg.errors import BuildFailed, NotFound
from datapkg.format.canonical import encode, prepare
from datapkg.format.hashing import copy_hashed, hash_bytes
from datapkg.format.manifest.parsed import ArrayNode, FileNode, GroupNode, Node, TableNode
from datapkg.format.names import Ref, State
from datapkg.format.texts import quoted
from datapkg.objects.base import Readable

_PIECE_BYTES = 1 << 20
_SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "arrow": ".arrow"}


@dataclass(frozen=True)
class NodesInput:
    """Nodes of this build, of a stage's outputs or of a package: those at and below `path`, and their objects."""

    nodes: Sequence[Node]
    objects: Readable
    path: str
    form: str
    ref: str = ""

    def named(self) -> str:
        """Return what this is, exactly: the ref of a node of a package, else the hash of the content."""
        return self.ref or _named_content(self.identity())

    def identity(self) -> list[list[str]]:
        """Return what determines the files: names and content, for each node."""
        return [[name, *_content(node, self.form)] for name, node in self._named()]

    def place(self, folder: Path) -> Path:
        """Write the files below an empty folder, without the right to write them; return the path of the input."""
        named = list(self._named())
        if len(named) == 1 and not named[0][1].path.removeprefix(self.path).strip("/"):
            if isinstance(named[0][1], GroupNode):
                return folder
            path = folder / file_name(named[0][1], self.form)
            _write(named[0][1], self.objects, path, self.form)
            return path
        for name, node in named:
            path = folder / name
            if isinstance(node, GroupNode):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(node, self.objects, path, self.form)
        return folder

    def _named(self) -> Iterator[tuple[str, Node]]:
        """Yield the relative path of each file with its node; groups only if they are empty."""
        filled = {parent for node in self.nodes for parent in _parents(node.path)}
        for node in self.nodes:
            below = node.path.removeprefix(self.path).strip("/")
            if isinstance(node, GroupNode):
                if node.path not in filled:
                    yield below, node
            else:
                folder = below.rpartition("/")[0] if below else ""
                yield "/".join(filter(None, (folder, file_name(node, self.form)))), node


@dataclass(frozen=True)
class PathInput:
    """A file or folder beside the build file."""

    path: Path
    shown: str
    cache: KnownHashes

    def named(self) -> str:
        """Return the hash of the file, or one over all files of the folder."""
        return _named_content(self.identity())

    def identity(self) -> list[list[str]]:
        """Return the names and hashes of the files."""
        return [[name, known_hash(file, self.cache)[0]] for name, file in self.files()]

    def place(self, folder: Path) -> Path:
        """Copy the files below an empty folder; raise `BuildFailed` for one that changed since `identity`."""
        expected = dict(self.identity())
        for name, file in self.files():
            path = folder / (name or self.path.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_source(file.path, file.shown) as stream, path.open("xb") as target:
                # In one pass: a file that is written meanwhile would else arrive with other bytes than its hash.
                hash, _ = copy_hashed(stream, target)
            if hash != expected.get(name):
                raise BuildFailed(f"{quoted(file.shown)} changed before a stage could read it", path=file.shown)
            path.chmod(0o444)
        return folder if self.path.is_dir() else folder / self.path.name

    def files(self) -> Iterator[tuple[str, FileSource]]:
        """Yield the files with their paths in the folder, "" for the file itself."""
        if not self.path.is_dir():
            yield "", FileSource(self.path, self.shown)
            return
        for found in walk(self.path, left_out=left_out_by("")).files:
            yield found.shown, FileSource(found.path, f"{self.shown}/{found.shown}")


Input = NodesInput | PathInput


def nodes_below(nodes: Iterable[Node], path: str) -> list[Node]:
    """Return the nodes at a path and below it."""
    return [node for node in nodes if not path or node.path == path or node.path.startswith(f"{path}/")]


def package_input(given: StageInput, find_package: FindPackage) -> NodesInput:
    """Return the nodes of a package; raise `NotFound` for one that does not exist."""
    ref = Ref.parse(given.text)
    manifest, objects = find_package(ref)
    nodes = list(manifest.below(ref.path))
    if not nodes:
        raise NotFound(f"{ref} has no node to read")
    exact = Ref(ref.user, ref.name, ref.path, State("hash", manifest.hash))
    return NodesInput(nodes, objects, ref.path, given.form, str(exact))


def file_name(node: Node, form: str) -> str:
    """Return the name of the file in which a node arrives."""
    own = getattr(node, "file_name", "") or node.path.rpartition("/")[2]
    if isinstance(node, TableNode):
        return node.path.rpartition("/")[2] + _SUFFIXES[form]
    return node.path.rpartition("/")[2] + ".npy" if isinstance(node, ArrayNode) else own


def _content(node: Node, form: str) -> list[str]:
    if isinstance(node, TableNode):
        return [node.content, form]
    return [node.hash] if isinstance(node, FileNode | ArrayNode) else []


def _named_content(identity: list[list[str]]) -> str:
    """Return the hash of the only file or table, else one over the names and hashes of all."""
    if len(identity) == 1 and len(identity[0]) > 1:
        return identity[0][1]
    return hash_bytes(encode(prepare(identity)))


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _write(node: Node, objects: Readable, path: Path, form: str) -> None:
    if isinstance(node, TableNode):
        _write_table(node, objects, path, form)
    elif isinstance(node, FileNode | ArrayNode):
        _copy(node.hash, objects, path)
    path.chmod(0o444)


def _copy(hash: str, objects: Readable, path: Path) -> None:
    with objects.open(hash) as stream, path.open("xb") as target:
        shutil.copyfileobj(stream, target, _PIECE_BYTES)


def _write_table(node: TableNode, objects: Readable, path: Path, form: str) -> None:
    if form == "parquet" and len(node.blocks) == 1:
        _copy(node.blocks[0].hash, objects, path)
        return
    import pyarrow as pa

    from datapkg.tables.block_reader import open_block
    from datapkg.tables.pandas_metadata import restore_categories

    writer: Any = None
    try:
        for block in node.blocks:
            with objects.open(block.hash) as stream:
                file = open_block(stream, checked=True)
                rows: pa.Table = restore_categories(file.read(), file.schema_arrow)
            if form != "parquet":
                rows = _without_dictionaries(rows)
            writer = writer or _writer(path, rows.schema, form)
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()


def _writer(path: Path, schema: Any, form: str) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq

    if form == "csv":
        return pacsv.CSVWriter(str(path), schema)
    return pa.ipc.new_file(str(path), schema) if form == "arrow" else pq.ParquetWriter(path, schema)


def _without_dictionaries(rows: Any) -> Any:
    """Return the rows with plain columns: each block has its own categories, and a file has one schema."""
    import pyarrow as pa

    fields = [
        each.with_type(each.type.value_type) if pa.types.is_dictionary(each.type) else each for each in rows.schema
    ]
    return rows.cast(pa.schema(fields))


def place_all(inputs: Mapping[str, Input], folder: Path) -> dict[str, Path]:
    """Write all inputs, each in a folder of its own, and return their paths by name."""
    placed = {}
    for name, each in inputs.items():
        (folder / name).mkdir()
        placed[name] = each.place(folder / name)
    # Last: without the right to write a folder, nothing can be placed in it.
    for root, folders, _ in os.walk(folder):
        for name in folders:
            os.chmod(os.path.join(root, name), 0o555)
    return placed
