"""Look up nodes in a long manifest without parsing it: its lines are sorted, so a binary search finds a node.

A search decodes about twenty lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from mmap import mmap
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import msgspec

from datapkg.format.chunks import Chunk, Gap, chunks_of_lines, gaps, line_offsets, refined
from datapkg.format.manifest.index import GroupRecord
from datapkg.format.manifest.missing import no_node
from datapkg.format.manifest.parsed import Block, Kind, Manifest, Node, TableNode, decoded, decoded_lines, parse_head
from datapkg.format.mapped_pages import MappedStream, give_back, in_pieces
from datapkg.format.object_sizes import ObjectSizes, SizesCollector

_AT_ONCE = 4096
_TABLE = re.compile(rb'"kind":"table"')
"""What the canonical line of a table contains."""
_MAX_REMEMBERED = 1000
_GIVEN_BACK_AFTER = 256


class _Path(msgspec.Struct, gc=False):
    path: str


class _Sized(msgspec.Struct, gc=False):
    """The objects of a line."""

    hash: str = ""
    size: int = 0
    objects: list[Block] = []


class Run(NamedTuple):
    """The lines of a node and of all nodes below it; for a big group also its record in the index."""

    start: int
    end: int
    depth: int
    record: GroupRecord | None = None


_decode_path = msgspec.json.Decoder(_Path).decode
_decode_sizes = msgspec.json.Decoder(_Sized).decode_lines
NOTHING = Run(0, 0, 0)


class MappedManifest(Manifest):
    """A manifest in bytes that may be mapped into memory; it behaves like a parsed one."""

    def __init__(self, data: bytes | mmap, hash: str, offsets: Sequence[int] | None = None) -> None:
        """Take bytes whose every line is known to be valid, and whose sha256 is `hash`."""
        self.hash = hash
        self._data = memoryview(data)
        self._offsets = line_offsets(data) if offsets is None else offsets
        self._count = len(self._offsets) - 1
        self._lines_read = 0
        self._runs: dict[str, Run] = {}
        self._size: int | None = None
        self._objects: ObjectSizes | None = None
        self.keep_chunks: Callable[[list[Chunk]], None] | None = None
        """Is called with the chunk map when it is made, which takes half a second for a million nodes."""

    def __repr__(self) -> str:
        return f"<Manifest sha256:{self.hash[:12]}, {self.node_count} nodes>"

    @property
    def node_count(self) -> int:
        """The number of nodes, without groups that are only implied."""
        return self._count - 1

    @property
    def view(self) -> memoryview:
        """Return the bytes of the manifest without a copy."""
        return self._data

    @cached_property
    def data(self) -> bytes:  # type: ignore[override]
        """Return the bytes of the manifest."""
        whole = self._data.obj
        return whole if isinstance(whole, bytes) else bytes(self._data)

    def opened(self) -> BinaryIO:
        """Return the bytes of the manifest as a stream, which does not copy all of them."""
        return cast(BinaryIO, MappedStream(cast(mmap, self._data.obj)))

    @property
    def size_bytes(self) -> int:
        """Return the size of the manifest in bytes."""
        return len(self._data)

    @cached_property
    def meta(self) -> dict[str, Any]:  # type: ignore[override]
        """Return the metadata of the package."""
        return parse_head(self.line(0))

    @cached_property
    def nodes(self) -> list[Node]:  # type: ignore[override]
        """Return all nodes, decoded, which takes seconds, and the memory of a parsed manifest."""
        return list(self.entries())

    @cached_property
    def chunks(self) -> list[Chunk]:
        """Return the chunk map of the manifest."""
        chunks = chunks_of_lines(self._data, self._offsets)
        if self.keep_chunks:
            self.keep_chunks(chunks)
        return chunks

    def gaps(self, older: MappedManifest) -> list[Gap]:
        """Return the differences from an older manifest, each a run of whole lines."""
        return [part for gap in gaps(older.chunks, self.chunks) for part in refined(gap, older._data, self._data)]

    def get(self, path: str) -> Node | None:
        """Return the node at this path, or None (also for a group that is only implied)."""
        key = tuple(path.split("/"))
        at = self.first(key)
        return self.node(at) if at < self._count and self.key(at) == key else None

    def below(self, path: str) -> list[Node]:
        """Return the node at this path and all nodes below it, in order."""
        return list(self.entries(path)) if path else self.nodes

    def entries(self, path: str = "") -> Iterator[Node]:
        """Return an iterator over these nodes, few of which are in memory at a time."""
        run = self._run(path)
        if path and run.start == run.end:
            raise no_node(self, path)
        return self._decoded(run.start, run.end)

    def between(self, start: int, stop: int) -> Iterator[Node]:
        """Return the nodes of the lines in a byte range, such as a gap of `gaps`."""
        return self._decoded(*self.numbers(start, stop))

    def _decoded(self, first: int, end: int) -> Iterator[Node]:
        for lines in self.runs_of_lines(first, end):
            yield from decoded_lines(lines)

    def runs_of_lines(self, first: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes of these lines, some thousand at a time, and give back their pages after each time."""
        for start in range(first, end, _AT_ONCE):
            stop = min(start + _AT_ONCE, end)
            yield self.lines(start, stop)
            give_back(self._data, self._offsets[start], self._offsets[stop])

    def objects(self, path: str = "") -> Mapping[str, int]:
        """Return the objects of the node at `path` and of all nodes below it: hash to size in bytes."""
        if not path and self._objects is not None:
            return self._objects
        run = self._run(path)
        if path and run.start == run.end:
            raise no_node(self, path)
        collector = SizesCollector()
        for lines in self.runs_of_lines(run.start, run.end):
            some: list[_Sized | Block] = []
            for each in _decode_sizes(lines):
                some += [each] if each.hash else each.objects
            collector.add((each.hash for each in some), (each.size for each in some))
        found = collector.collected()
        if not path and isinstance(found, ObjectSizes):
            self._objects = found
        return found

    def size(self, path: str = "") -> int:
        """Return the bytes of these objects, each counted once."""
        if path:
            return super().size(path)
        if self._size is None:
            self._size = super().size()
        return self._size

    def kind(self, path: str) -> Kind | Literal[""]:
        """Return the kind of the node at a path; "" if there is none."""
        if not path:
            return "group"
        run = self._run(path)
        return self._kind(run.start, run.depth) if run.start < run.end else ""

    def children(self, path: str = "") -> dict[str, Kind]:
        """Return the kind of each child of a group, by name, in order."""
        run = self._run(path)
        if path and run.start == run.end:
            raise no_node(self, path)
        found: dict[str, Kind] = {}
        at = run.start
        while at < run.end:
            key = self.key(at)
            if len(key) == run.depth:  # the line of the group itself
                at += 1
                continue
            prefix = key[: run.depth + 1]
            found[prefix[-1]] = self._kind(at, len(prefix))
            at = self._after(at, prefix, run.end)
        return found

    def tables(self) -> list[str]:
        """Return the paths of all tables."""
        return [node.path for node in self.table_nodes()]

    def table_nodes(self) -> Iterator[TableNode]:
        """Return the nodes of all tables, in order; lines of other nodes are not decoded."""
        at = 0
        for first, stop in in_pieces(self._data):
            # What reaches into the next piece is found with this one; what was found with the last is not found again.
            while found := _TABLE.search(self._data, max(at, first), stop + len(_TABLE.pattern) - 1):
                number = self.number_at(found.start())
                at = self._offsets[number + 1]
                # The metadata of another node may have the same bytes, so the node decides.
                if isinstance(node := self.node(number), TableNode):
                    yield node

    def node(self, number: int) -> Node:
        """Return the node of a line."""
        return decoded(self.line(number))

    def line(self, number: int) -> bytes:
        """Return a line without its newline."""
        # Lines that are read here and there leave sixteen pages each, in the end all of the manifest.
        self._lines_read += 1
        if self._lines_read % _GIVEN_BACK_AFTER == 0:
            give_back(self._data, 0, len(self._data))
        return bytes(self._data[self._offsets[number] : self._offsets[number + 1] - 1])

    def lines(self, start: int, end: int) -> memoryview:
        """Return the bytes of lines from `start` up to, but not including, `end`."""
        return self._data[self._offsets[start] : self._offsets[end]]

    def numbers(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of node lines that overlap a byte range: the first, and the one after the last."""
        return max(1, self.number_at(start)), bisect_left(self._offsets, stop)

    def number_at(self, offset: int) -> int:
        """Return the number of the line that contains this byte."""
        return bisect_right(self._offsets, offset) - 1

    def longest_line(self) -> int:
        """Return the length of the longest line in bytes."""
        return max(stop - start for start, stop in pairwise(self._offsets)) - 1

    @property
    def end(self) -> int:
        """Return the number after that of the last line."""
        return self._count

    def key(self, number: int) -> tuple[str, ...]:
        """Return the path of a line's node, in parts."""
        return tuple(_decode_path(self.line(number)).path.split("/"))

    def first(self, key: tuple[str, ...]) -> int:
        """Return the first line whose path is not before this one."""
        # Line 0 is the head.
        return 1 + bisect_left(range(1, self._count), key, key=self.key)

    def _kind(self, number: int, depth: int) -> Kind:
        """Return the kind of the node at this depth of a line's path: the line's own, or of a group that it implies."""
        node = self.node(number)
        return node.kind if len(node.parts) == depth else "group"

    def _run(self, path: str) -> Run:
        run = self._runs.get(path)
        if run is None:
            run = self._found_run(path)
            if len(self._runs) >= _MAX_REMEMBERED:
                self._runs.clear()
            self._runs[path] = run
        return run

    def _found_run(self, path: str) -> Run:
        if not path:
            return Run(1, self._count, 0, self._record(1, 0))
        key = tuple(path.split("/"))
        start = self.first(key)
        if start == self._count or self.key(start)[: len(key)] != key:
            return NOTHING
        record = self._record(start, len(key))
        end = record.end if record else self._after(start, key, self._count)
        return Run(start, end, len(key), record)

    def _record(self, start: int, depth: int) -> GroupRecord | None:
        """Return the record of the group whose first line this is, if there is an index."""
        return None

    def _after(self, start: int, prefix: tuple[str, ...], limit: int) -> int:
        """Return the first line after `start` whose path lacks the prefix, by an exponential search."""
        depth, step, low = len(prefix), 1, start
        while low + step < limit and self.key(low + step)[:depth] == prefix:
            low += step
            step *= 2
        high = min(low + step, limit)
        between = range(low + 1, high)
        return low + 1 + bisect_left(between, True, key=lambda number: self.key(number)[:depth] != prefix)
