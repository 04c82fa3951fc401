"""The model of a package: groups, tables, files and arrays, each a line of its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import msgspec

Kind = Literal["group", "table", "file", "array"]


class Block(msgspec.Struct, frozen=True):
    """One Parquet object of a table: its hash, its rows and its size in bytes."""

    hash: str
    rows: int
    size: int


class _Node(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True
):
    path: str
    meta: dict[str, Any] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names in the node's path."""
        return tuple(self.path.split("/"))


class GroupNode(_Node, frozen=True, tag="group"):
    """A group that has metadata or is empty; every other group is implied by the paths below it."""

    kind: ClassVar[Kind] = "group"
    size = 0

    def objects(self) -> Iterator[tuple[str, int]]:
        """Return an empty iterator: a group has no objects of its own."""
        return iter(())


class TableNode(_Node, frozen=True, tag="table"):
    """A table: a sequence of Parquet objects, and the hash of its values (`content`)."""

    kind: ClassVar[Kind] = "table"
    columns: list[tuple[str, str]]
    content: str
    blocks: list[Block] = msgspec.field(name="objects")
    rows: int
    file_name: str = ""

    @property
    def size(self) -> int:
        """Return the bytes of all objects of the table."""
        return sum(block.size for block in self.blocks)

    def objects(self) -> Iterator[tuple[str, int]]:
        """Return hash and size of each object."""
        return ((block.hash, block.size) for block in self.blocks)


class FileNode(_Node, frozen=True, tag="file"):
    """A file, stored unchanged."""

    kind: ClassVar[Kind] = "file"
    hash: str
    size: int
    file_name: str = ""

    def objects(self) -> Iterator[tuple[str, int]]:
        """Return hash and size of the object."""
        return iter(((self.hash, self.size),))


class ArrayNode(_Node, frozen=True, tag="array"):
    """A numpy array, stored as one .npy object of `size` bytes."""

    kind: ClassVar[Kind] = "array"
    dtype: str
    hash: str
    shape: list[int]
    size: int
    file_name: str = ""

    def objects(self) -> Iterator[tuple[str, int]]:
        """Return hash and size of the object."""
        return iter(((self.hash, self.size),))


Node = GroupNode | TableNode | FileNode | ArrayNode
