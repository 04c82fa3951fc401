"""A long manifest that is not parsed: what is asked is found in its bytes, with the help of an index."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from mmap import mmap
from typing import Any, Literal, NamedTuple

import msgspec

from datapkg.format.absent import no_node
from datapkg.format.manifest import Kind, Manifest, Node, decoded, decoded_lines, parse_head
from datapkg.format.manifest_index import HEAD_BYTES, KINDS, MAGIC, Counts, GroupRecord, attribute_key, group_key
from datapkg.format.names import attribute_name

_AT_ONCE = 4096
_MAX_REMEMBERED = 1000
_NUMBER_BYTES = 8


class _Path(msgspec.Struct, gc=False):
    path: str


class _Run(NamedTuple):
    """The lines of a node and of all below it; of a big group also what the index has of it."""

    start: int
    end: int
    depth: int
    record: GroupRecord | None


_decode_path = msgspec.json.Decoder(_Path).decode
_NOTHING = _Run(0, 0, 0, None)


class IndexedManifest(Manifest):
    """A manifest in bytes that may be mapped into memory; it answers as a parsed one does."""

    def __init__(self, data: bytes | mmap, hash: str, index: bytes | mmap) -> None:
        """Raises `ValueError` for an index that is not this manifest's."""
        self.hash = hash
        self._data = memoryview(data)
        self._runs: dict[str, _Run] = {}
        view = memoryview(index)
        head = HEAD_BYTES + _NUMBER_BYTES * len(Counts._fields)
        if len(view) < head or view[:HEAD_BYTES] != MAGIC + bytes.fromhex(hash):
            raise ValueError("it has another form, or belongs to another manifest")
        counts = self._counts = Counts(*view[HEAD_BYTES:head].cast("Q"))
        group_bytes = _NUMBER_BYTES * len(GroupRecord._fields)
        widths = [(counts.lines + 1) * 8, counts.groups * group_bytes, counts.attributes * 8, counts.attributes * 4]
        widths += [counts.tables * 4, counts.names, counts.kinds]
        if head + sum(widths) != len(view) or counts.data != len(self._data):
            raise ValueError("it is cut short")
        parts = []
        for width in widths:
            parts.append(view[head : head + width])
            head += width
        self._offsets, self._groups, self._attributes = (part.cast("Q") for part in parts[:3])
        self._places, self._tables = (part.cast("I") for part in parts[3:5])
        self._names, self._kinds = parts[5:]

    def __repr__(self) -> str:
        return f"<Manifest sha256:{self.hash[:12]}, {self._counts.lines - 1} nodes>"

    @property
    def data(self) -> bytes:  # type: ignore[override]
        return bytes(self._data)

    @cached_property
    def meta(self) -> dict[str, Any]:  # type: ignore[override]
        return parse_head(self._line(0))

    @cached_property
    def nodes(self) -> list[Node]:  # type: ignore[override]
        """All nodes, decoded: that takes seconds, and the memory of a parsed manifest."""
        return list(self.entries())

    def get(self, path: str) -> Node | None:
        key = tuple(path.split("/"))
        at = self._first(key)
        return decoded(self._line(at)) if at < self._counts.lines and self._key(at) == key else None

    def below(self, path: str) -> list[Node]:
        return list(self.entries(path)) if path else self.nodes

    def entries(self, path: str = "") -> Iterator[Node]:
        run = self._run(path)
        if path and run.start == run.end:
            raise no_node(self, path)
        return self._entries(run)

    def _entries(self, run: _Run) -> Iterator[Node]:
        for start in range(run.start, run.end, _AT_ONCE):
            end = min(start + _AT_ONCE, run.end)
            yield from decoded_lines(self._data[self._offsets[start] : self._offsets[end]])

    def size(self, path: str = "") -> int:
        record = self._run(path).record
        return record.size if record else super().size(path)

    def kind(self, path: str) -> Kind | Literal[""]:
        if not path:
            return "group"
        run = self._run(path)
        return self._kind(run.start, run.depth) if run.start < run.end else ""

    def children(self, path: str = "") -> dict[str, Kind]:
        run = self._run(path)
        if path and run.start == run.end:
            raise no_node(self, path)
        if run.record and run.record.names < run.record.names_end:
            names = str(self._names[run.record.names : run.record.names_end - 1], "utf-8").split("\0")
            letters = str(self._kinds[run.record.kinds : run.record.kinds + len(names)], "ascii")
            return dict(zip(names, map(KINDS.__getitem__, letters), strict=True))
        found: dict[str, Kind] = {}
        at = run.start
        while at < run.end:
            key = self._key(at)
            if len(key) == run.depth:  # the line of the group itself
                at += 1
                continue
            prefix = key[: run.depth + 1]
            found[prefix[-1]] = self._kind(at, len(prefix))
            at = self._after(at, prefix, run.end)
        return found

    def named(self, path: str, attribute: str) -> list[str] | None:
        run = self._run(path)
        if not run.record or run.record.names == run.record.names_end:
            return None
        key, found = attribute_key(path, attribute), set()
        at = bisect_left(self._attributes, key)
        while at < len(self._attributes) and self._attributes[at] == key:
            parts = self._key(self._places[at])
            name = parts[run.depth] if len(parts) > run.depth else ""
            if "/".join(parts[: run.depth]) == path and attribute_name(name) == attribute:
                found.add(name)
            at += 1
        if attribute_name(attribute) == attribute and self.kind(f"{path}/{attribute}" if path else attribute):
            found.add(attribute)
        return sorted(found)

    def tables(self) -> list[str]:
        return [_decode_path(self._line(at)).path for at in self._tables]

    def _line(self, number: int) -> bytes:
        return bytes(self._data[self._offsets[number] : self._offsets[number + 1] - 1])

    def _key(self, number: int) -> tuple[str, ...]:
        return tuple(_decode_path(self._line(number)).path.split("/"))

    def _kind(self, number: int, depth: int) -> Kind:
        """What lies this deep at a line: the node of the line, or a group that it implies."""
        node = decoded(self._line(number))
        return node.kind if len(node.parts) == depth else "group"

    def _run(self, path: str) -> _Run:
        run = self._runs.get(path)
        if run is None:
            run = self._found_run(path)
            if len(self._runs) >= _MAX_REMEMBERED:
                self._runs.clear()
            self._runs[path] = run
        return run

    def _found_run(self, path: str) -> _Run:
        if not path:
            return _Run(1, self._counts.lines, 0, self._record(1, 0))
        key = tuple(path.split("/"))
        start = self._first(key)
        if start == self._counts.lines or self._key(start)[: len(key)] != key:
            return _NOTHING
        record = self._record(start, len(key))
        end = record.end if record else self._after(start, key, self._counts.lines)
        return _Run(start, end, len(key), record)

    def _record(self, start: int, depth: int) -> GroupRecord | None:
        key, width = group_key(start, depth), len(GroupRecord._fields)
        at = bisect_left(range(self._counts.groups), key, key=lambda number: self._groups[number * width])
        if at < self._counts.groups and self._groups[at * width] == key:
            return GroupRecord(*self._groups[at * width : (at + 1) * width])
        return None

    def _first(self, key: tuple[str, ...]) -> int:
        """The first line whose path is this one or comes after it."""
        return 1 + bisect_left(range(1, self._counts.lines), key, key=self._key)

    def _after(self, start: int, prefix: tuple[str, ...], limit: int) -> int:
        """The first line after `start` whose path does not begin so: near ones are tried first."""
        depth, step, low = len(prefix), 1, start
        while low + step < limit and self._key(low + step)[:depth] == prefix:
            low += step
            step *= 2
        high = min(low + step, limit)
        between = range(low + 1, high)
        return low + 1 + bisect_left(between, True, key=lambda number: self._key(number)[:depth] != prefix)
