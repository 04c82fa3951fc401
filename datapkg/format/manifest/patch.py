"""Validate and write long manifests that share most lines with an older one, without reading those lines again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import SEEK_END, BytesIO
from itertools import chain, pairwise
from mmap import mmap
from typing import Any

import msgspec

from datapkg.errors import DatapkgError, InvalidManifest
from datapkg.format import canonical
from datapkg.format.chunks import LONG_BYTES, Gap
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import (
    MAX_NODES,
    Manifest,
    Node,
    check_order,
    decoded,
    head_line,
    node_line,
    parse_node,
    prepared,
)
from datapkg.format.manifest.validate import is_right
from datapkg.format.mapped_pages import in_pieces

_HASH = re.compile(rb'"hash":"([0-9a-f]{16})')  # finds candidates; whole hashes are compared after that
_HASH_BYTES = 24
_AT_ONCE = 4096
_Lines = tuple[int, int]
"""Lines of the older manifest, from the first up to, but not including, the second number."""


def read_manifest(data: bytes | mmap, hash: str, *, verified: bool = False, older: Manifest | None = None) -> Manifest:
    """Return the manifest in these bytes, whose sha256 is known to be `hash`; a `verified` one is not validated again.

    Lines that a long one shares with an older, valid manifest are not validated again either. Raise `InvalidManifest`
    with the number of an invalid line.
    """
    if len(data) < LONG_BYTES:
        return Manifest.parse(data[:], verified=verified)
    if verified:
        return MappedManifest(data, hash)
    if isinstance(older, MappedManifest):
        return checked(data, hash, older)
    manifest = MappedManifest(data, hash)
    if data[-1:] != b"\n" or not is_right(manifest):
        Manifest.parse(data[:])  # raises with the number of the invalid line
    return manifest


def make_long(nodes: Iterable[Node], meta: dict[str, Any]) -> MappedManifest:
    """Return the manifest of very many nodes, without keeping a second copy of them; raise as `Manifest.make` does."""
    lines = BytesIO(head_line(meta))
    lines.seek(0, SEEK_END)
    some: list[Node] = []
    for node, after in pairwise(chain(_ordered(nodes), [None])):
        if node is not None and not (after is not None and _says_nothing(node, after)):
            some.append(prepared(node))
        if len(some) == _AT_ONCE or after is None:
            lines.write(canonical.encode_lines(some))
            some.clear()
    data = lines.getvalue()  # without a copy
    manifest = MappedManifest(data, hash_bytes(data))
    if not is_right(manifest):
        Manifest.parse(data)  # raises with the number of the invalid line
    return manifest


def _ordered(nodes: Iterable[Node]) -> Iterable[Node]:
    """Return nodes in the order of their paths; mostly they are, and need no list of keys."""
    nodes = nodes if isinstance(nodes, Sequence) else list(nodes)
    is_ordered = all(one.path.split("/") < other.path.split("/") for one, other in pairwise(nodes))
    return nodes if is_ordered else sorted(nodes, key=lambda node: node.parts)


def checked(data: bytes | mmap, hash: str, older: MappedManifest) -> MappedManifest:
    """Return the manifest in these bytes after validating the lines that `older` lacks; raise `InvalidManifest`."""
    if data[-1:] != b"\n":
        raise InvalidManifest("manifest: the last line does not end in a newline; the file is cut short or empty")
    manifest = MappedManifest(data, hash)
    if manifest.end > MAX_NODES:
        raise InvalidManifest(f"manifest: more than {MAX_NODES:,} lines")
    manifest.meta  # noqa: B018 - decodes and validates the first line
    sizes: dict[str, int] = {}
    changed = manifest.gaps(older)
    for gap in changed:
        _check_lines(manifest, gap, sizes)
    _check_sizes(manifest, changed, sizes)
    return manifest


def _check_lines(manifest: MappedManifest, gap: Gap, sizes: dict[str, int]) -> None:
    """Validate the lines of a gap, and the order of the line after it."""
    first, end = manifest.numbers(gap.start, gap.stop)
    previous = manifest.node(first - 1) if first > 1 else None
    for number in range(first, min(end + 1, manifest.end)):
        try:
            line = manifest.line(number)
            # The line after the gap was validated in the older manifest; only its place is new.
            node, key = parse_node(line) if number < end else (decoded(line), manifest.key(number))
            check_order(previous, previous.parts if previous else (), node, key)
            _note_sizes(node, sizes)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DatapkgError) as error:
            raise InvalidManifest(f"manifest, line {number + 1}: {error}", line=number + 1) from error
        previous = node


def _note_sizes(node: Node, sizes: dict[str, int]) -> None:
    for hash, size in node.objects():
        if sizes.setdefault(hash, size) != size:
            raise InvalidManifest(f"object {hash} has two different sizes")


def _check_sizes(manifest: MappedManifest, changed: Sequence[Gap], sizes: dict[str, int]) -> None:
    """Raise if a shared line states another size of an object than the lines that were validated."""
    wanted = {hash[:16].encode() for hash in sizes}
    view, at = manifest.view, 0
    for gap in [*changed, Gap(0, 0, len(view), len(view))]:
        if wanted and any(not wanted.isdisjoint(hashes) for hashes in _hashes(view, at, gap.start)):
            for found in _HASH.finditer(view, at, gap.start):
                if found[1] in wanted and (number := manifest.number_at(found.start())):
                    for hash, size in manifest.node(number).objects():
                        if sizes.get(hash, size) != size:
                            raise InvalidManifest(
                                f"manifest, line {number + 1}: object {hash} has two different sizes", line=number + 1
                            )
        at = gap.stop


def _hashes(view: memoryview, start: int, stop: int) -> Iterator[list[bytes]]:
    """Yield the beginnings of the hashes between two places, some at a time; those at a border may come twice."""
    for first, end in in_pieces(view[:stop], start):
        yield _HASH.findall(view, first, min(end + _HASH_BYTES, stop))


def spliced(older: MappedManifest, changes: Mapping[str, Node | None], meta: dict[str, Any]) -> MappedManifest:
    """Return the older manifest with these nodes at their paths; None removes a node.

    Redundant group lines are omitted. Raise `InvalidInput` for metadata that JSON cannot represent, `InvalidManifest`
    for nodes that a manifest must not contain.
    """
    parts = _joined(older, _pieces(older, changes))
    previous: Node | None = None
    written: list[bytes | memoryview] = [head_line(meta)]
    for part in parts:
        first, last, lines = _read(older, part)
        try:
            check_order(previous, previous.parts if previous else (), first, first.parts)
        except DatapkgError as error:
            raise InvalidManifest(f"manifest: {error}") from error
        written.append(lines)
        previous = last
    data = b"".join(written)
    return MappedManifest(data, hash_bytes(data))


def _pieces(older: MappedManifest, changes: Mapping[str, Node | None]) -> list[_Lines | Node]:
    """Return new nodes, and between them lines of the older manifest, in order."""
    pieces: list[_Lines | Node] = []
    at = 1
    for key in sorted(tuple(path.split("/")) for path in changes):
        place = older.first(key)
        if at < place:
            pieces.append((at, place))
        at = place + (place < older.end and older.key(place) == key)
        if node := changes["/".join(key)]:
            pieces.append(node)
    return [*pieces, (at, older.end)] if at < older.end else pieces


def _joined(older: MappedManifest, pieces: Sequence[_Lines | Node]) -> list[_Lines | Node]:
    """Return the same parts without group lines that became redundant because the groups now contain nodes."""
    parts: list[_Lines | Node] = []
    for piece in pieces:
        first = older.node(piece[0]) if isinstance(piece, tuple) else piece
        while parts and _says_nothing(_last(older, parts[-1]), first):
            part = parts.pop()
            if isinstance(part, tuple) and part[0] < part[1] - 1:
                parts.append((part[0], part[1] - 1))
        parts.append(piece)
    return parts


def _says_nothing(node: Node, after: Node) -> bool:
    return node.kind == "group" and not node.meta and after.path.startswith(f"{node.path}/")


def _last(older: MappedManifest, part: _Lines | Node) -> Node:
    return older.node(part[1] - 1) if isinstance(part, tuple) else part


def _read(older: MappedManifest, part: _Lines | Node) -> tuple[Node, Node, bytes | memoryview]:
    """Return the first and the last node of a part, and its lines."""
    if isinstance(part, tuple):
        return older.node(part[0]), older.node(part[1] - 1), older.lines(*part)
    line = node_line(part)
    try:
        parse_node(line[:-1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, DatapkgError) as error:
        raise InvalidManifest(f"manifest: {error}") from error
    return part, part, line
