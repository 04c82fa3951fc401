"""The binary index of a long manifest: line offsets, contents of its big groups, and attribute names.

It is created from a manifest whose every line was validated, and contains nothing that the manifest does not state. It
is a cache of this machine, so all numbers are in the machine's byte order:

    magic (8 bytes), sha256 of the manifest (32), then the `Counts` (8 each), then
    offsets     8 bytes per line: its position; one more for the end
    groups      a `GroupRecord` (8 bytes per number), by its `key`, for each group with at least LONG lines
    attributes  8 bytes of hash of a group and an attribute in it that differs from the name, in order
    places      4 bytes for each of these: the line of the node, or of the first below it
    tables      4 bytes per table: its line
    names       for each group with at least LONG direct nodes: their names, each followed by NUL
    kinds       for the same groups, one letter for each of these nodes
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from mmap import mmap
from typing import NamedTuple

import msgspec

from datapkg.format.chunks import line_offsets
from datapkg.format.manifest.parsed import Block, Kind
from datapkg.format.mapped_pages import give_back, in_pieces
from datapkg.format.names import attribute_name
from datapkg.format.object_sizes import MANY, SizesCollector

FORMAT = 1
LONG = 256
MAGIC = b"dpkgix%c%c" % (FORMAT, b"<>"[sys.byteorder == "big"])
HEAD_BYTES = 40
KINDS: dict[str, Kind] = {"g": "group", "t": "table", "f": "file", "a": "array"}
_AT_ONCE = 4096
_HASH = re.compile(rb'"hash":"([0-9a-f]{64})"')
_HASH_BYTES = 73
_DEPTHS = 128  # more than a path can be deep


class Counts(NamedTuple):
    """The size of the manifest, and of each part of its index."""

    data: int
    lines: int
    groups: int
    attributes: int
    tables: int
    names: int
    kinds: int


class GroupRecord(NamedTuple):
    """A group: its lines up to `end`, the bytes of its objects, and the positions of its names and kinds.

    Its names take `names_end - names` bytes, which is 0 for a group with few nodes.
    """

    key: int
    end: int
    size: int
    names: int
    names_end: int
    kinds: int


# Left out of garbage collection: there may be a million of them, and none is part of a cycle.
class Brief(msgspec.Struct, gc=False):
    """The fields of a line that an index needs."""

    path: str
    kind: str
    hash: str = ""
    size: int = 0
    objects: list[Block] = []

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Return hash and size of each object."""
        if self.objects:
            return ((block.hash, block.size) for block in self.objects)
        return iter(((self.hash, self.size),) if self.hash else ())


class _OpenGroup:
    """A group whose lines are being read."""

    __slots__ = ("children", "kinds", "path", "places", "size", "start")

    def __init__(self, path: str, start: int) -> None:
        self.path = path
        self.start = start
        self.size = 0
        self.children: list[str] = []
        self.kinds: list[str] = []
        self.places: list[int] = []


_decode = msgspec.json.Decoder(Brief).decode


def group_key(start: int, depth: int) -> int:
    """Return the key of a group: its first line and its depth, since nested groups may begin at one line."""
    return start * _DEPTHS + depth


def attribute_key(group: str, attribute: str) -> int:
    """Return the key of an attribute of a node in a group."""
    digest = blake2b(f"{group}\0{attribute}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def make_index(data: bytes | mmap, hash: str) -> bytes:
    """Return the index of a manifest, whose lines are known to be valid; `hash` is its sha256."""
    view, offsets, writer = memoryview(data), line_offsets(data), _IndexWriter(_repeated(data))
    count = len(offsets) - 1
    for first in range(1, count, _AT_ONCE):
        end = min(first + _AT_ONCE, count)
        for number in range(first, end):
            writer.add(number, _decode(view[offsets[number] : offsets[number + 1] - 1]))
        give_back(view, offsets[first], offsets[end])
    writer.close(0, count)
    return writer.written(offsets, bytes.fromhex(hash))


def _repeated(data: bytes | mmap) -> Mapping[str, int]:
    """Return all objects that are named more than once, and some others: metadata may look like an object."""
    found = SizesCollector()
    for start, stop in in_pieces(data):
        # What reaches into the next piece is found with this one.
        hashes = _HASH.findall(data, start, min(stop + _HASH_BYTES, len(data)))
        found.add(map(bytes.decode, hashes), repeat(0, len(hashes)))
    return found.with_repeated()[1]


class _IndexWriter:
    """Collect the index line by line, keeping the groups that contain the current line.

    Of `repeated` objects, it is remembered where they were seen last.
    """

    def __init__(self, repeated: Container[str]) -> None:
        self._repeated = repeated
        self.groups: list[GroupRecord] = []
        self.attributes, self.places = array("Q"), array("I")
        self.tables = array("I")
        self.names = bytearray()
        self.kinds = bytearray()
        self._open = [_OpenGroup("", 1)]
        self._parents: tuple[str, ...] = ()
        self._seen: dict[str, tuple[str, ...]] = {}

    def add(self, number: int, brief: Brief) -> None:
        """Add a line."""
        *parents, name = brief.path.split("/")
        path = tuple(parents)
        if path != self._parents or brief.kind == "group":
            self._enter(number, path)
        if brief.kind == "table":
            self.tables.append(number)
        group = self._open[-1]
        group.children.append(name)
        group.kinds.append(brief.kind[0])
        group.places.append(number)
        if brief.kind == "group":
            self._enter(number, (*path, name))
        for hash, size in brief.sizes():
            self._count(path, hash, size)

    def _enter(self, number: int, path: tuple[str, ...]) -> None:
        """Close the groups that end before this line, and open those that begin with it."""
        depth = common_length(self._parents, path)
        self.close(depth + 1, number)
        for name in path[depth:]:
            parent = self._open[-1]
            if not (parent.children and parent.children[-1] == name):  # it has no line of its own
                parent.children.append(name)
                parent.kinds.append("g")
                parent.places.append(number)
            start = parent.places[-1]
            self._open.append(_OpenGroup(f"{parent.path}/{name}" if parent.path else name, start))
        self._parents = path

    def _count(self, path: tuple[str, ...], hash: str, size: int) -> None:
        """Add an object; each group counts an object once."""
        self._open[-1].size += size
        if hash not in self._repeated:
            return
        # Groups that contain both lines counted the object before; sizes are added up to outer groups on closing.
        if (before := self._seen.get(hash)) is not None:
            self._open[common_length(before, path)].size -= size
        self._seen[hash] = path

    def close(self, depth: int, end: int) -> None:
        """Close the groups from this depth on, which have no line at `end` or after it."""
        while len(self._open) > depth:
            group = self._open.pop()
            if self._open:
                self._open[-1].size += group.size
            if end - group.start >= LONG or not self._open:
                self._keep(group, end)

    def _keep(self, group: _OpenGroup, end: int) -> None:
        key = group_key(group.start, len(self._open))
        at, kinds_at = len(self.names), len(self.kinds)
        if len(group.children) >= LONG:
            self.names += "".join(f"{name}\0" for name in group.children).encode()
            self.kinds += "".join(group.kinds).encode()
            for name, place in zip(group.children, group.places, strict=True):
                if (attribute := attribute_name(name)) != name:
                    self.attributes.append(attribute_key(group.path, attribute))
                    self.places.append(place)
        self.groups.append(GroupRecord(key, end, group.size, at, len(self.names), kinds_at))

    def written(self, offsets: Sequence[int], digest: bytes) -> bytes:
        """Return the bytes of the index."""
        self.groups.sort()
        groups = array("Q", [number for group in self.groups for number in group])
        # Of equal keys, those of lower lines stay first: the children of a group are in order.
        order = _order(self.attributes)
        keys, places = (
            array("Q", map(self.attributes.__getitem__, order)),
            array("I", map(self.places.__getitem__, order)),
        )
        counts = Counts(
            *(offsets[-1], len(offsets) - 1, len(self.groups), len(keys), len(self.tables)),
            *(len(self.names), len(self.kinds)),
        )
        parts = [MAGIC, digest, array("Q", counts), offsets, groups, keys, places, self.tables, self.names, self.kinds]
        return b"".join(part if isinstance(part, bytes) else bytes(part) for part in parts)


def _order(keys: array[int]) -> Sequence[int]:
    """Return the numbers of keys in order, equal ones as they are."""
    if len(keys) < MANY:
        return sorted(range(len(keys)), key=keys.__getitem__)
    import numpy as np

    order: memoryview = np.argsort(np.frombuffer(keys, np.uint64), kind="stable").data
    return order


def common_length(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """Return how many leading names two paths have in common."""
    depth = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        depth += 1
    return depth
