"""The manifest: one state of a package as sorted JSON Lines; the sha256 of its bytes is the package's hash.

A line is canonical if writing it again gives the same bytes, so duplicate keys, other spaces, other number forms and
other escapes need no rules of their own.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import zip_longest
from typing import Any, BinaryIO, Literal

import msgspec

from datapkg.errors import UPGRADE_HINT, DatapkgError, InvalidManifest, NewerFormat
from datapkg.format import canonical
from datapkg.format.hashing import check_bytes, hash_bytes, is_hash
from datapkg.format.manifest.missing import no_node
from datapkg.format.manifest.model import ArrayNode as ArrayNode
from datapkg.format.manifest.model import Block as Block
from datapkg.format.manifest.model import FileNode as FileNode
from datapkg.format.manifest.model import GroupNode as GroupNode
from datapkg.format.manifest.model import Kind as Kind
from datapkg.format.manifest.model import Node as Node
from datapkg.format.manifest.model import TableNode as TableNode
from datapkg.format.names import MAX_NODE_NAME_BYTES, check_node_path
from datapkg.format.texts import quoted

FORMAT = 1
MAX_LINE_BYTES = 1 << 20
MAX_NODES = 10_000_000
_CONTENT = re.compile(r"c1:[0-9a-f]{64}\Z")
_DTYPE = re.compile(r"[<>|][biufcmMSU][0-9]{1,9}(\[[0-9]{0,9}[A-Za-z]{1,2}\])?\Z")
_FILE_NAME_BAD = re.compile(r"[/\\\x00-\x1f\x7f]")


class _Head(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    datapkg: int
    meta: dict[str, Any] = {}


_AS_THEY_ARE = {str, float, bool, type(None)}
_node_decoder = msgspec.json.Decoder(Node)
_head_decoder = msgspec.json.Decoder(_Head)


def _key(node: Node) -> tuple[str, ...]:
    return node.parts


class Manifest:
    """One state of a package: metadata and nodes in order; immutable.

    `data` are its bytes, `hash` their sha256. Manifests are equal if their hashes are.
    """

    def __init__(self, data: bytes, meta: dict[str, Any], nodes: list[Node], keys: list[tuple[str, ...]]) -> None:
        self.data = data
        self.meta = meta
        self.nodes = nodes
        self._keys = keys
        self.hash = hash_bytes(data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"<Manifest sha256:{self.hash[:12]}, {self.node_count} nodes>"

    def opened(self) -> BinaryIO:
        """Return the bytes of the manifest as a stream."""
        return BytesIO(self.data)

    @property
    def node_count(self) -> int:
        """The number of nodes, without groups that are only implied."""
        return len(self.nodes)

    @classmethod
    def make(
        cls, nodes: Iterable[Node], meta: dict[str, Any] | None = None, *, like: Manifest | None = None
    ) -> Manifest:
        """Return the manifest of these nodes, given in any order; redundant group lines are omitted.

        Nodes that are equal in `like` are not encoded and checked again. Raise `InvalidInput` for metadata that JSON
        cannot represent, `InvalidManifest` for nodes that a manifest must not contain.
        """
        ordered = sorted(nodes, key=_key)
        kept = [
            node
            for node, after in zip_longest(ordered, ordered[1:])
            if node.kind != "group" or node.meta or after is None or not after.path.startswith(node.path + "/")
        ]
        known = like._lines() if like else {}
        head = head_line(meta or {})
        lines = [head]
        pairs: list[bytes | Node] = []
        for node in kept:
            before = known.get(node.path)
            if before is None or before[0] != node:
                line = node_line(node)
                lines.append(line)
                pairs.append(line[:-1])
            else:
                lines.append(before[1])
                pairs.append(before[0])
        return cls._checked(b"".join(lines), head[:-1], pairs)

    def _lines(self) -> dict[str, tuple[Node, bytes]]:
        """Return, by path, each node and its line."""
        lines = self.data.splitlines(keepends=True)[1:]
        return {node.path: (node, line) for node, line in zip(self.nodes, lines, strict=True)}

    @classmethod
    def parse(cls, data: bytes, expected: str | None = None, *, verified: bool = False) -> Manifest:
        """Parse a manifest; `verified` bytes were validated before and are only decoded.

        Raise `HashMismatch` if their hash is not `expected`, `InvalidManifest` with the number of an invalid line.
        """
        if expected is not None:
            check_bytes(data, expected, "manifest")
        if not data.endswith(b"\n"):
            raise InvalidManifest("manifest: the last line does not end in a newline; the file is cut short or empty")
        lines = data[:-1].split(b"\n")
        if len(lines) > MAX_NODES:
            raise InvalidManifest(f"manifest: more than {MAX_NODES:,} lines")
        if verified:
            nodes = [decoded(line) for line in lines[1:]]
            return cls(data, parse_head(lines[0]), nodes, [node.parts for node in nodes])
        return cls._checked(data, lines[0], lines[1:])

    @classmethod
    def _checked(cls, data: bytes, head: bytes, lines: Iterable[bytes | Node]) -> Manifest:
        """Return the manifest of these lines; those given as nodes were validated before."""
        meta = parse_head(head)
        nodes: list[Node] = []
        keys: list[tuple[str, ...]] = []
        previous: Node | None = None
        sizes: dict[str, int] = {}
        # The head is line 1.
        for number, line in enumerate(lines, start=2):
            try:
                node, key = parse_node(line) if isinstance(line, bytes) else (line, line.parts)
                check_order(previous, keys[-1] if keys else (), node, key)
                for hash, size in node.objects():
                    if sizes.setdefault(hash, size) != size:
                        raise InvalidManifest(f"object {hash} has two different sizes")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DatapkgError) as error:
                raise InvalidManifest(f"manifest, line {number}: {error}", line=number) from error
            nodes.append(node)
            keys.append(key)
            previous = node
        return cls(data, meta, nodes, keys)

    @property
    def size_bytes(self) -> int:
        """Return the size of the manifest itself in bytes."""
        return len(self.data)

    def get(self, path: str) -> Node | None:
        """Return the node at this path, or None (also for a group that is only implied)."""
        key = tuple(path.split("/"))
        at = bisect_left(self._keys, key)
        return self.nodes[at] if at < len(self._keys) and self._keys[at] == key else None

    def below(self, path: str) -> list[Node]:
        """Return the node at this path and all nodes below it, in order; for "" the whole package.

        Raise `NodeNotFound` if there is none.
        """
        if not path:
            return self.nodes
        key = tuple(path.split("/"))
        start = end = bisect_left(self._keys, key)
        while end < len(self._keys) and self._keys[end][: len(key)] == key:
            end += 1
        if start == end:
            raise no_node(self, path)
        return self.nodes[start:end]

    def entries(self, path: str = "") -> Iterator[Node]:
        """Return an iterator over the same nodes; for a long manifest, few are in memory at a time."""
        return iter(self.below(path))

    def objects(self, path: str = "") -> Mapping[str, int]:
        """Return the objects of the node at `path` and of all nodes below it: hash to size in bytes."""
        return {hash: size for node in self.entries(path) for hash, size in node.objects()}

    def size(self, path: str = "") -> int:
        """Return the bytes of these objects, each counted once."""
        return sum(self.objects(path).values())

    def kind(self, path: str) -> Kind | Literal[""]:
        """Return group, table, file or array; "" if there is no node. The package is a group."""
        if not path:
            return "group"
        key = tuple(path.split("/"))
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at][: len(key)] != key:
            return ""
        return self.nodes[at].kind if len(self._keys[at]) == len(key) else "group"

    def children(self, path: str = "") -> dict[str, Kind]:
        """Return the kind of each child of a group, by name, in order; empty for a node that is not a group."""
        depth = path.count("/") + 1 if path else 0
        found: dict[str, Kind] = {}
        for node in self.below(path):
            parts = node.parts
            if len(parts) > depth and parts[depth] not in found:
                found[parts[depth]] = node.kind if len(parts) == depth + 1 else "group"
        return found

    def named(self, path: str, attribute: str) -> list[str] | None:
        """Return the names in a group that this attribute means; None if each name must be tried."""
        return None

    def tables(self) -> list[str]:
        """Return the paths of all tables."""
        return [node.path for node in self.table_nodes()]

    def table_nodes(self) -> Iterator[TableNode]:
        """Return the nodes of all tables, in order."""
        return (node for node in self.nodes if isinstance(node, TableNode))


def head_line(meta: dict[str, Any]) -> bytes:
    """Return the first line of a manifest; raise `InvalidInput` for metadata that JSON cannot represent."""
    return canonical.encode(_Head(FORMAT, canonical.prepare(meta))) + b"\n"


def node_line(node: Node) -> bytes:
    """Return the line of a node; raise as `head_line` does."""
    return canonical.encode(prepared(node)) + b"\n"


def prepared(node: Node) -> Node:
    """Return a node ready to be encoded; raise `InvalidInput` for metadata that JSON cannot represent."""
    return msgspec.structs.replace(node, meta=canonical.prepare(node.meta, f"{node.path}: meta")) if node.meta else node


def parse_head(line: bytes) -> dict[str, Any]:
    """Return the metadata of a package, from the first line of its manifest."""
    try:
        _check_length(line)
        version = msgspec.json.decode(line)
        version = version.get("datapkg") if isinstance(version, dict) else None
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise InvalidManifest("this is not a manifest: it does not begin with a format version ('datapkg')")
        if version > FORMAT:
            raise NewerFormat(f"format {version} is newer than what this datapkg reads ({FORMAT})", hint=UPGRADE_HINT)
        head = _head_decoder.decode(line)
        head.meta = canonical.widen_integers(head.meta)
        if canonical.encode(_Head(FORMAT, canonical.prepare(head.meta))) != line:
            raise InvalidManifest("not in canonical form")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DatapkgError) as error:
        hint = error.hint if isinstance(error, DatapkgError) else ""
        kind = NewerFormat if isinstance(error, NewerFormat) else InvalidManifest
        raise kind(f"manifest, line 1: {error}", hint=hint, line=1) from error
    return head.meta


def _check_length(line: bytes) -> None:
    if len(line) > MAX_LINE_BYTES:
        raise InvalidManifest(f"the line is {len(line):,} bytes long; at most {MAX_LINE_BYTES:,} are allowed")


def decoded(line: bytes) -> Node:
    """Return the node of a line without validating it."""
    return _widened(_node_decoder.decode(line))


def decoded_lines(lines: memoryview) -> Iterator[Node]:
    """Return the nodes of many lines, decoded at once."""
    return map(_widened, _node_decoder.decode_lines(lines))


def _widened(node: Node) -> Node:
    for value in node.meta.values():  # most values need no conversion, which this finds quickly
        kind = type(value)
        if kind not in _AS_THEY_ARE and not (kind is int and abs(value) <= canonical.MAX_INTEGER):
            return msgspec.structs.replace(node, meta=canonical.widen_integers(node.meta))
    return node


def parse_node(line: bytes) -> tuple[Node, tuple[str, ...]]:
    """Return the node of a line, and its path in parts; raise a datapkg or msgspec error for an invalid line."""
    _check_length(line)
    node = decoded(line)
    if canonical.encode(prepared(node)) != line:
        raise InvalidManifest(
            "not in canonical form (keys sorted and once, no spaces, nothing that stands for nothing)"
        )
    key = check_node_path(node.path)
    check_node(node)
    return node, key


def check_order(previous: Node | None, before: tuple[str, ...], node: Node, key: tuple[str, ...]) -> None:
    """Raise `InvalidManifest` unless a node may follow the previous one; `before`, `key` are their paths in parts."""
    if previous is None:
        return
    if key == before:
        raise InvalidManifest(f"duplicate path {quoted(node.path)}")
    if key < before:
        raise InvalidManifest(f"path {quoted(node.path)} is out of order")
    if key[: len(before)] == before:
        if previous.kind != "group":
            raise InvalidManifest(f"node {quoted(node.path)} lies below a {previous.kind}")
        if not previous.meta:
            raise InvalidManifest(f"group {quoted(previous.path)} has a line, but neither metadata nor is it empty")


def check_node(node: Node) -> None:
    """Raise `InvalidManifest` for invalid fields of a node, except its path."""
    if isinstance(node, GroupNode):
        return
    _check_file_name(node.file_name)
    for hash, size in node.objects():
        if not is_hash(hash):
            raise InvalidManifest(f"{quoted(hash)} is not a hash")
        _check_count(size, "size")
    if isinstance(node, TableNode):
        _check_table(node)
    elif isinstance(node, ArrayNode):
        if not _DTYPE.match(node.dtype):
            raise InvalidManifest(f"{quoted(node.dtype)} is not a data type of an array")
        if len(node.shape) > 64:
            raise InvalidManifest("the array has more than 64 dimensions")
        for length in node.shape:
            _check_count(length, "shape")


def _check_table(node: TableNode) -> None:
    if not _CONTENT.match(node.content):
        raise InvalidManifest(f"{quoted(node.content)} is not a content hash")
    if not node.blocks:
        raise InvalidManifest("a table has at least one object")
    for block in node.blocks:
        _check_count(block.rows, "rows")
    if sum(block.rows for block in node.blocks) != node.rows:
        raise InvalidManifest(f"the rows of the objects do not add up to {node.rows}")


def _check_count(value: int, what: str) -> None:
    if not 0 <= value <= canonical.MAX_INTEGER:
        raise InvalidManifest(f"{what} {value} is not between 0 and 2^53")


def is_file_name(name: str) -> bool:
    """Return whether a node's file can have this name."""
    is_plain = name not in ("", ".", "..") and not _FILE_NAME_BAD.search(name)
    return is_plain and len(name.encode("utf-8", "surrogatepass")) <= MAX_NODE_NAME_BYTES


def _check_file_name(name: str) -> None:
    if name and not is_file_name(name):
        raise InvalidManifest(
            f"file name {quoted(name)} is not allowed: no separators, control characters, '.' or '..'"
        )
